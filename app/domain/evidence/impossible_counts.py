"""Whether counts could have happened at all; what could not have voids the comparison.

Rule: what is unsound is never added up and never explained away: the rollout becomes INVALID (ADR 0072).
"""

from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.evidence import ArmCounts, Evidence
from app.domain.evidence.tally import MOST_COUNTED, are_counts


def flaw_of(evidence: Evidence) -> str | None:
    """What is wrong with all that was counted, None if nothing is."""
    if evidence.flaw is not None:
        return evidence.flaw
    if not 0.0 < evidence.error_reference < 1.0:
        return "stable's rate before the start is none"
    if not all(0 <= weight_bp <= FULL_BP for weight_bp in evidence.by_weight):
        return "a weight is not between nothing and everything"
    levels = len(evidence.thresholds)
    arms = (arm for epoch in evidence.by_weight.values() for arm in (epoch.canary, epoch.stable))
    return next((flaw for arm in arms if (flaw := _flaw_of_arm(arm, levels)) is not None), None)


def _flaw_of_arm(arm: ArmCounts, levels: int) -> str | None:
    if _is_sound(arm, levels):
        return None
    if not are_counts((arm.drawn, *arm.outcomes.values(), arm.timed, arm.awaited, *arm.slow)):
        return "a count is negative, or no number at all"
    if not arm.ended <= arm.drawn:
        return "more answers were counted than were drawn"
    return "more answers were slow than were timed"


def _is_sound(arm: ArmCounts, levels: int) -> bool:
    """The whole rule in few steps: every look asks it of every arm. NaN fails each comparison and every sum."""
    return (
        min(arm.outcomes.values(), default=0) >= 0
        and arm.ended <= arm.drawn <= MOST_COUNTED
        and 0 <= arm.timed <= MOST_COUNTED
        and 0 <= arm.awaited <= MOST_COUNTED
        and (not arm.slow or _are_slow(arm.slow, arm.timed, levels))
    )


def _are_slow(slow: tuple[int, ...], timed: int, levels: int) -> bool:
    return len(slow) >= levels and min(slow) >= 0 and max(slow) <= timed and sum(slow) >= 0
