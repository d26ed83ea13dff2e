"""What no comparison of the arms can see: a ceiling on the canary alone, and a cause that both share.

Rule: nothing here turns a canary back. A rate that is too high in itself may be nobody's fault, so
the canary is held at its lowest weight for as long as that is so, and the comparison goes on (ADR 0071).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TypeAlias

from app.domain.catalog.policy import Guardrail, OnRegression, Policy
from app.domain.evidence.estimates import BAD, JUDGED, drawn_by_coin, outcomes
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.recent import Lately, far_above, log_e_far_above, of_canary, of_stable, total
from app.domain.guardrails.finding import Cause, Finding, Hold, Verdict
from app.domain.guardrails.phrases import percent, sure
from app.domain.stats.eprocess import BETTER, log_e_tilt
from app.domain.stats.rate import concentration_for, rate_bounds

Judged: TypeAlias = Sequence[tuple[Guardrail, Finding]]

# Stable's own trouble is claimed seldom in vain; that the canary shares it needs less proof.
ALPHA_STABLE = 0.001
ALPHA_CANARY = 0.05
# The bound that a ceiling is held against is tightest near so many recent answers of the canary.
_CONCENTRATION = concentration_for(200.0, 0.01)


def reason_to_hold(evidence: Evidence, policy: Policy, judged: Judged) -> Hold | None:
    """The gravest reason there is, if any: the ceiling, a guardrail that holds, a cause from outside."""
    return above_ceiling(evidence, policy) or held_by_guardrail(judged) or shared_cause(evidence)


def above_ceiling(evidence: Evidence, policy: Policy) -> Hold | None:
    """R3: of late more of the canary's answers are bad than ever may be, whatever stable does.

    The lower bound of `rate_bounds` at alpha_rollback, over the recent stretches, lies above the ceiling.
    """
    ceiling = policy.error_ceiling
    bad, answers = total(evidence.lately.stretches, of_canary)
    if ceiling is None or bad <= ceiling * answers:
        return None
    least, _ = rate_bounds(bad, answers, policy.alpha_rollback, _CONCENTRATION)
    if least <= ceiling:
        return None
    return Hold(
        Cause.CEILING,
        f"at least {percent(least)} of its answers are bad of late, {sure(policy.alpha_rollback)}, "
        f"and never more than {percent(ceiling)} may be",
    )


def held_by_guardrail(judged: Judged) -> Hold | None:
    """A live guardrail that holds has proof that the canary is worse, or one that turns back has it from one source."""
    for guardrail, finding in judged:
        if finding.held_because is not None and not guardrail.dry_run:
            return Hold(guardrail.metric, finding.held_because)
        holds = guardrail.on_regression is OnRegression.HOLD and not guardrail.dry_run
        if holds and finding.verdict is Verdict.REGRESSED:
            return Hold(guardrail.metric, finding.sentence.rstrip("."))
    return None


def shared_cause(evidence: Evidence) -> Hold | None:
    """Stable is far above what is usual for it, and so is the canary: both got worse together."""
    worse = troubled_stable(evidence.lately)
    if worse is None or not is_canary_troubled(evidence.lately, worse.limit):
        return None
    return Hold(
        Cause.EXTERNAL,
        f"{evidence.stable} and {evidence.canary} got worse together: {percent(worse.rate)} of {evidence.stable}'s "
        f"answers are bad of late, usually {percent(worse.usual)}, so the cause lies outside",
    )


@dataclass(frozen=True, slots=True)
class Trouble:
    """Stable far above its usual rate of bad answers: now, usually, and where "far above" begins."""

    rate: float
    usual: float
    limit: float


def troubled_stable(lately: Lately) -> Trouble | None:
    """Stable's trouble by itself, tested at `ALPHA_STABLE`; None too while nobody knows what is usual.

    Hypothesis refuted: "stable's rate is at most `far_above(usual)`", by `log_e_far_above`.
    """
    if lately.usual_rate is None:
        return None
    limit = far_above(lately.usual_rate)
    if log_e_far_above(lately.stretches, of_stable, limit) < log(1.0 / ALPHA_STABLE):
        return None
    newest = lately.stretches[-3:]
    bad, answers = total(newest, of_stable)
    return Trouble(bad / answers, lately.usual_rate, limit)


def is_canary_troubled(lately: Lately, limit: float) -> bool:
    """Whether the canary is beyond the limit too, tested at `ALPHA_CANARY`."""
    return log_e_far_above(lately.stretches, of_canary, limit) >= log(1.0 / ALPHA_CANARY)


def way_forward(evidence: Evidence, policy: Policy) -> str | None:
    """Why promotion need not wait for coverage: stable is in trouble, and the canary is proven better.

    Refuted must be "a bad answer is at least as likely from the canary", at alpha_promotion.
    """
    worse = troubled_stable(evidence.lately)
    if worse is None or is_canary_troubled(evidence.lately, worse.limit):
        return None
    if log_e_tilt(outcomes(drawn_by_coin(evidence), BAD, JUDGED), excesses=BETTER) < log(1.0 / policy.alpha_promotion):
        return None
    return (
        f"{evidence.stable} itself got worse, {percent(worse.rate)} of its answers are bad of late, "
        f"usually {percent(worse.usual)}, and {evidence.canary} is proven better"
    )
