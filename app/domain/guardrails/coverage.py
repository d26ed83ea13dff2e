"""Whether both arms' answers were read, or labelled, alike: what is missing selectively is no comparison.

Rule: a count that the coin alone decides is tested as the split is. In doubt it makes harm count for less, never
for more; where it is proven uneven, nothing is proven not worse.
"""

from collections.abc import Iterable
from math import log
from typing import NamedTuple

from app.domain.catalog.declarations import Missing
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.cohort import Cohort
from app.domain.guardrails.split import SPLIT_DOUBT, SPLIT_LIMIT
from app.domain.stats.eprocess import Outcomes, log_e_split


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
