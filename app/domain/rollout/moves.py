"""Moving a rollout: each function makes one transition, with its deadline, effects and sentence."""

from dataclasses import replace
from datetime import datetime
from math import log

from app.domain.catalog.policy import Metric, OnDeadline
from app.domain.catalog.routing import FULL_BP
from app.domain.guardrails.finding import Assessment, Cause, Hold, Trigger, Verdict
from app.domain.rollout import wording
from app.domain.rollout.rollout import (
    TERMINAL,
    Action,
    Effect,
    MakeStable,
    Phase,
    Resolution,
    Rollout,
    ShiftWeight,
    Transition,
    later,
)
from app.domain.rollout.wording import account, span_text, weight_text
from app.domain.stats.planning import rung_below, rungs

# A canary that does not answer its probe for so long after the warm-up never will.
READY_WITHIN_S = 600.0


def enter(rollout: Rollout, phase: Phase, now: datetime) -> Rollout:
    """The rollout in another phase, with the deadline the phase has."""
    return replace(
        rollout,
        phase=phase,
        phase_since=now,
        phase_deadline=_deadline(rollout, phase, now),
        held_from=rollout.held_from if phase in {Phase.PAUSED, Phase.FROZEN} else None,
        frozen_by=rollout.frozen_by if phase is Phase.FROZEN else None,
    )


def _deadline(rollout: Rollout, phase: Phase, now: datetime) -> datetime | None:
    """Every phase that is not terminal ends some day; what happens then is in `at_deadline`."""
    policy = rollout.policy
    hold = later(now, policy.hold_s)
    if phase in TERMINAL:
        return None
    if phase is Phase.WARMING:
        return later(now, policy.warmup_s + READY_WITHIN_S)
    if phase in {Phase.RAMPING, Phase.BAKING}:
        return rollout.decide_by
    if phase is Phase.FROZEN and rollout.decide_by > now:
        return min(hold, rollout.decide_by)
    return hold


def at_deadline(rollout: Rollout, now: datetime, seen: Assessment | None = None) -> Transition:
    """The stated outcome of each phase's deadline."""
    if rollout.phase is Phase.PENDING:
        sentence = f"Dropped the rollout of {rollout.canary}: nobody started it."
        return end(rollout, Phase.ABORTED, now, Resolution(Action.ABORT, Cause.DEADLINE, sentence))
    spent = span_text((now - rollout.phase_since).total_seconds())
    if rollout.phase is Phase.WARMING:
        return roll_back(
            rollout, now, Cause.DEADLINE, f"Turned {rollout.canary} back: it was not ready within {spent}.", seen
        )
    if rollout.phase in {Phase.EXPIRED, Phase.INVALID}:
        why = f"Turned {rollout.canary} back: {rollout.phase} for {spent} and nobody decided."
        return roll_back(rollout, now, Cause.DEADLINE, why, seen)
    if rollout.policy.on_deadline is OnDeadline.ROLLBACK:
        why = f"Turned {rollout.canary} back: not proven when its time was over."
        return roll_back(rollout, now, Cause.DEADLINE, why, seen)
    if seen is not None and _is_let_through(rollout, seen):
        return promote(rollout, now, Cause.DEADLINE, wording.let_through(rollout, seen), seen)
    sentence = (
        f"The time for {rollout.canary} is over and it is not proven: "
        f"it stays at {weight_text(rollout.weight_bp)} until somebody decides."
    )
    expired = enter(rollout, Phase.EXPIRED, now)
    return Transition(expired, (), Resolution(Action.EXPIRE, Cause.DEADLINE, sentence, account(rollout, seen)))


def _is_let_through(rollout: Rollout, seen: Assessment) -> bool:
    """Whether the policy lets it through unproven: its excess is bounded, and nothing speaks against it."""
    policy = rollout.policy
    if policy.deadline_margin is None or rollout.phase not in {Phase.RAMPING, Phase.BAKING}:
        return False
    return seen.excess_bound < policy.deadline_margin and seen.log_e < log(policy.thaw_below) and seen.hold is None


def end(rollout: Rollout, phase: Phase, now: datetime, resolution: Resolution) -> Transition:
    """Into ROLLED_BACK or ABORTED: all traffic back to stable."""
    effects: tuple[Effect, ...] = (ShiftWeight(0),)
    if rollout.phase is Phase.PROMOTED:
        effects = (MakeStable(rollout.stable),)
    return Transition(replace(enter(rollout, phase, now), weight_bp=0), effects, resolution)


def roll_back(
    rollout: Rollout, now: datetime, trigger: Trigger | Cause, sentence: str, seen: Assessment | None = None
) -> Transition:
    """Turn the canary back."""
    resolution = Resolution(Action.ROLL_BACK, trigger, sentence, account(rollout, seen))
    return end(rollout, Phase.ROLLED_BACK, now, resolution)


def promote(
    rollout: Rollout, now: datetime, trigger: Trigger | Cause, sentence: str, seen: Assessment | None = None
) -> Transition:
    """Make the canary stable; what was stable stays beside it as standby for as long as the policy says."""
    resolution = Resolution(Action.PROMOTE, trigger, sentence, account(rollout, seen))
    promoted = replace(enter(rollout, Phase.PROMOTED, now), weight_bp=FULL_BP)
    return Transition(promoted, (MakeStable(rollout.canary, _standby_bp(rollout)),), resolution)


def _standby_bp(rollout: Rollout) -> int:
    """Nothing where callers keep their version: some would be moved back, and each tells of a version only once."""
    is_watched = rollout.policy.watch_s > 0.0 and not rollout.evidence.per_caller
    return rollout.policy.standby_bp if is_watched else 0


def invalidate(rollout: Rollout, now: datetime, seen: Assessment) -> Transition:
    """Stop trusting the evidence; without it nothing guards the canary, so it gets no traffic."""
    finding = next(finding for finding in seen.findings if finding.verdict is Verdict.INVALID)
    sentence = f"Stopped judging {rollout.canary}: {finding.sentence}"
    resolution = Resolution(Action.INVALIDATE, finding.trigger, sentence, account(rollout, seen))
    return Transition(replace(enter(rollout, Phase.INVALID, now), weight_bp=0), (ShiftWeight(0),), resolution)


def freeze(rollout: Rollout, now: datetime, seen: Assessment) -> Transition:
    """Suspicion: one rung down and stay there; the evidence goes on growing."""
    weight_bp = rung_below(rollout.weight_bp, rollout.policy.max_weight_bp)
    sentence = wording.frozen(rollout, seen, weight_bp)
    resolution = Resolution(Action.FREEZE, seen.trigger, sentence, account(rollout, seen))
    return _held(rollout, now, Cause.SUSPICION, weight_bp, resolution)


def hold(rollout: Rollout, now: datetime, seen: Assessment, why: Hold) -> Transition:
    """Something that does not turn back asks for the lowest weight, for as long as it is so."""
    weight_bp = min(rollout.weight_bp, rungs(rollout.policy.max_weight_bp)[0])
    sentence = wording.held(rollout, why, weight_bp)
    resolution = Resolution(Action.FREEZE, Trigger(why.by), sentence, account(rollout, seen))
    return _held(rollout, now, why.by, weight_bp, resolution)


def freeze_for_brake(rollout: Rollout, now: datetime) -> Transition:
    """A replica's brake is open: the lowest weight until it is no more."""
    weight_bp = min(rollout.weight_bp, rungs(rollout.policy.max_weight_bp)[0])
    sentence = f"Holding {rollout.canary} at {weight_text(weight_bp)}: a replica keeps its traffic away from it."
    resolution = Resolution(Action.FREEZE, Cause.BRAKE, sentence, account(rollout))
    return _held(replace(rollout, brake_open_since=now), now, Cause.BRAKE, weight_bp, resolution)


def _held(
    rollout: Rollout, now: datetime, frozen_by: Metric | Cause, weight_bp: int, resolution: Resolution
) -> Transition:
    if rollout.phase is Phase.FROZEN:
        # Held for one more reason; its time does not begin again.
        frozen = replace(rollout, frozen_by=frozen_by, weight_bp=weight_bp)
    else:
        held = replace(rollout, held_from=rollout.phase, frozen_by=frozen_by)
        frozen = replace(enter(held, Phase.FROZEN, now), weight_bp=weight_bp)
    return Transition(frozen, _shift(rollout, weight_bp), resolution)


def thaw(rollout: Rollout, now: datetime, trigger: Trigger | Cause, why: str) -> Transition:
    """Go on from where the freeze came, at the weight it has."""
    phase = moving(rollout)
    if rollout.held_from in {Phase.PAUSED, Phase.EXPIRED}:
        phase = rollout.held_from
    sentence = f"{rollout.canary} goes on: {why}."
    resolution = Resolution(Action.THAW, trigger, sentence, account(rollout))
    return Transition(enter(rollout, phase, now), (), resolution)


def moving(rollout: Rollout) -> Phase:
    """The phase of a rollout whose weight is free to move."""
    return Phase.BAKING if rollout.weight_bp >= rollout.policy.max_weight_bp else Phase.RAMPING


def shift(rollout: Rollout, now: datetime, weight_bp: int, sentence: str, seen: Assessment) -> Transition:
    """Another weight on the ladder; at the highest the rollout bakes."""
    moved = replace(rollout, weight_bp=weight_bp)
    phase = moving(moved)
    if phase is not rollout.phase:
        moved = enter(moved, phase, now)
    action = Action.ADVANCE if weight_bp > rollout.weight_bp else Action.STEP_DOWN
    resolution = Resolution(action, Cause.POLICY, sentence, account(rollout, seen))
    return Transition(moved, _shift(rollout, weight_bp), resolution)


def _shift(rollout: Rollout, weight_bp: int) -> tuple[Effect, ...]:
    return () if weight_bp == rollout.weight_bp else (ShiftWeight(weight_bp),)
