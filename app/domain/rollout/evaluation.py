"""One look, whole: what the evidence says, what the brake says, and what follows from both.

Rule: `Sight` and the clock are all that a judgement goes by, so a stored sight can be judged again.
"""

from dataclasses import dataclass
from datetime import datetime

from app.domain.guardrails.assess import assess
from app.domain.guardrails.finding import Assessment
from app.domain.rollout.rollout import Assessed, BrakeClosed, BrakeOpened, Event, Rollout, Transition
from app.domain.rollout.transitions import advance


@dataclass(frozen=True, slots=True)
class Sight:  # ADR 0085
    """What one look sees.

    Attributes:
        rollout: As it was before the look, its evidence read up to now.
        braked: Whether a replica keeps its traffic away from the canary.
        canary_ready: The last probe's answer, None when none was made.
    """

    rollout: Rollout
    braked: bool = False
    canary_ready: bool | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one look makes of what it sees."""

    assessment: Assessment
    transition: Transition


def judge(sight: Sight, now: datetime) -> Judgement:
    """Assess the evidence and let the rollout go on. Raises: IllegalTransition: it has ended."""
    assessment = assess(sight.rollout.evidence, sight.rollout.policy)
    return Judgement(assessment, _advanced(sight, Assessed(assessment, sight.canary_ready), now))


def _advanced(sight: Sight, assessed: Assessed, now: datetime) -> Transition:
    """The brake first: what it decides is not decided again by evidence in the same look."""
    event = _of_brake(sight)
    if event is None:
        return advance(sight.rollout, assessed, now)
    by_brake = advance(sight.rollout, event, now)
    if by_brake.resolution is not None or by_brake.effects:
        return by_brake
    return advance(by_brake.rollout, assessed, now)


def _of_brake(sight: Sight) -> Event | None:
    if sight.braked:
        return BrakeOpened()
    return None if sight.rollout.brake_open_since is None else BrakeClosed()
