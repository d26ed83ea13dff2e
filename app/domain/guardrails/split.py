"""Whether the coin's split is fair: of draws and answers, of what was read of them, and of their labels.

Rule: a test of trust, not of harm. In doubt it makes harm count for less, never for more; where it is proven uneven,
nothing is proven not worse: what is missing selectively is no comparison.
"""

from collections.abc import Iterable
from math import log
from typing import NamedTuple

from app.domain.catalog.declarations import Missing
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.cohort import Cohort
from app.domain.evidence.estimates import DRAWN, ENDED, counted_together, drawn_by_coin
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.memo import once_per_evidence
from app.domain.guardrails.finding import Cause, Finding, Verdict
from app.domain.stats.eprocess import SPLIT_RATIOS, Outcomes, log_e_split, log_weighted_mean
from app.domain.stats.eprocess_batch import log_e_tilt_of_many

SPLIT_LIMIT = 1_000.0
SPLIT_DOUBT = 10.0


def if_split_is_trusted(evidence: Evidence, with_good: list[float]) -> list[float]:
    """Evidence of good and bad answers together, at most 1 while the coin does not seem fair.

    Draws that are missing must not pass for good answers that are missing; and what only gets smaller stays fair.
    """
    if _split_log_e(evidence) < log(SPLIT_DOUBT):
        return with_good
    return [min(log_e, 0.0) for log_e in with_good]


@once_per_evidence
def _split_log_e(evidence: Evidence) -> float:
    drawn_e, ended_e = log_e_tilt_of_many(counted_together(drawn_by_coin(evidence), (DRAWN, ENDED)), SPLIT_RATIOS)
    return log_weighted_mean([(0.5, drawn_e), (0.5, ended_e)])


def judge_split(evidence: Evidence) -> Finding:
    """Whether the arms were drawn, and answered, in the coin's proportion. A test of trust, not of harm."""
    epochs = drawn_by_coin(evidence)
    log_e = _split_log_e(evidence)
    drawn = sum(epoch.canary.drawn + epoch.stable.drawn for epoch in epochs.values())
    verdict = Verdict.HEALTHY if drawn else Verdict.NO_EVENTS
    if log_e >= log(SPLIT_LIMIT):
        verdict = Verdict.INVALID
    promised = sum((e.canary.drawn + e.stable.drawn) * bp / FULL_BP for bp, e in epochs.items())
    seen = sum(epoch.canary.drawn for epoch in epochs.values())
    void = verdict is Verdict.INVALID
    ending = "which the weights cannot explain: the comparison is void" if void else "as the weights promised"
    sentence = f"{evidence.canary} was drawn {seen:,} times where {promised:,.0f} were expected, {ending}."
    return Finding(Cause.SPLIT, verdict, log_e, None, sentence, {"canary_drawn": seen, "canary_promised": promised})


class Covered(NamedTuple):
    """How many of both arms' exchanges something is known of, at one weight in (0, FULL_BP) basis points."""

    weight_bp: int
    canary: int
    stable: int


class Coverage(NamedTuple):
    """What an uneven coverage does to evidence.

    Attributes:
        log_e: Evidence that more is known of one arm than the coin explains, either way.
    """

    log_e: float

    @property
    def is_uneven(self) -> bool:
        """Whether so much is proven."""
        return self.log_e >= log(SPLIT_LIMIT)

    def harm(self, log_e: float) -> float:
        """Evidence of harm, at most 1 while the coverage is in doubt."""
        return log_e if self.log_e < log(SPLIT_DOUBT) else min(log_e, 0.0)

    def proof(self, log_e: float) -> float:
        """Evidence of no harm, at most 1 where the coverage is uneven."""
        return min(log_e, 0.0) if self.is_uneven else log_e


def labelled_alike(cohort: Cohort) -> Coverage:
    """Whether labels come for both arms as the coin says.

    Where a missing label counts as bad every exchange counts, and how many are missing is the outcome itself.
    """
    if cohort.metric.missing is Missing.BAD:
        return coverage_of(())
    return coverage_of(
        Covered(weight_bp, epoch.canary.labelled, epoch.stable.labelled)
        for weight_bp, epoch in sorted(cohort.by_weight.items())
        if 0 < weight_bp < FULL_BP
    )


def coverage_of(epochs: Iterable[Covered]) -> Coverage:
    """The coverage of counts at their weights. Raises: ValueError: as `eprocess.log_e_split`."""
    return Coverage(log_e_split(Outcomes(weight_bp / FULL_BP, canary, stable) for weight_bp, canary, stable in epochs))
