"""What one look at the evidence does, phase by phase.

Rule: the rules of a phase are tried in the order of `RULES` and the first that applies
decides; rollback comes before everything, in every phase that has traffic.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from math import log
from typing import TypeAlias

from app.domain.catalog.routing import FULL_BP
from app.domain.guardrails.errors import exposure_guardrail
from app.domain.guardrails.finding import Assessment, Cause, Verdict
from app.domain.guardrails.labels import waits_s
from app.domain.guardrails.registry import log_limit
from app.domain.rollout import moves, wording
from app.domain.rollout.rollout import Assessed, Phase, Rollout, Transition
from app.domain.stats.harm import bad_until
from app.domain.stats.planning import admissible_bp, rung_above, rung_below, rungs

TICK_S = 1.0
# The fastest an outcome is judged after its draw: the rest of its second.
LEAST_MATURITY_S = 1.0
# A weight goes down only when the budget admits less than this share of it: rates are noisy.
STEP_DOWN_BELOW = 0.5
# No weight needs so many failures of a canary that always fails.
_MOST_FAILURES = 1_000

Rule: TypeAlias = Callable[[Rollout, Assessed, datetime], Transition | None]


def look(rollout: Rollout, event: Assessed, now: datetime) -> Transition:
    """Apply the phase's first rule that has something to say."""
    for rule in RULES[rollout.phase]:
        transition = rule(rollout, event, now)
        if transition is not None:
            return transition
    return Transition(rollout)


def _turn_back(rollout: Rollout, event: Assessed, now: datetime) -> Transition | None:
    """R1."""
    seen = event.assessment
    if seen.verdict is not Verdict.REGRESSED:
        return None
    return moves.roll_back(rollout, now, seen.trigger, wording.turned_back(rollout, seen), seen)


def _hold(rollout: Rollout, event: Assessed, now: datetime) -> Transition | None:
    """R3, and a guardrail that holds: harm that does not turn back."""
    hold = event.assessment.hold
    if hold is None or hold.by == Cause.EXTERNAL or rollout.weight_bp == 0:
        return None
    return moves.hold(rollout, now, event.assessment, hold)


def _wait_for_outside(rollout: Rollout, event: Assessed, now: datetime) -> Transition | None:
    """Both arms got worse together."""
    hold = event.assessment.hold
    if hold is None or hold.by != Cause.EXTERNAL:
        return None
    return moves.hold(rollout, now, event.assessment, hold)


def _distrust(rollout: Rollout, event: Assessed, now: datetime) -> Transition | None:
    """R4."""
    if event.assessment.verdict is not Verdict.INVALID:
        return None
    return moves.invalidate(rollout, now, event.assessment)


def _freeze(rollout: Rollout, event: Assessed, now: datetime) -> Transition | None:
    """R5."""
    if event.assessment.log_e < log(rollout.policy.freeze_at):
        return None
    return moves.freeze(rollout, now, event.assessment)


def _promote(rollout: Rollout, event: Assessed, now: datetime) -> Transition | None:
    """R7."""
    seen = event.assessment
    if seen.verdict is not Verdict.HEALTHY or not (_covered(rollout, now) or seen.forward):
        return None
    return moves.promote(rollout, now, Cause.POLICY, wording.promoted(rollout, seen), seen)


def _covered(rollout: Rollout, now: datetime) -> bool:
    exposed_at = rollout.first_exposed_at
    return exposed_at is not None and (now - exposed_at).total_seconds() >= rollout.policy.coverage_s


def _expire(rollout: Rollout, event: Assessed, now: datetime) -> Transition | None:
    """R8."""
    if rollout.phase_deadline is None or now < rollout.phase_deadline:
        return None
    return moves.at_deadline(rollout, now, event.assessment)


def _lower(rollout: Rollout, event: Assessed, now: datetime) -> Transition | None:
    """Frozen already, and now there is a reason for the lowest weight; who froze it last is who thaws it."""
    hold = event.assessment.hold
    if hold is None or hold.by == rollout.frozen_by:
        return None
    if rollout.weight_bp > rungs(rollout.policy.max_weight_bp)[0]:
        return moves.hold(rollout, now, event.assessment, hold)
    return Transition(replace(rollout, frozen_by=hold.by))


def _thaw(rollout: Rollout, event: Assessed, now: datetime) -> Transition | None:
    """Back from R3 and R5."""
    suspicion = event.assessment.log_e
    if event.assessment.hold is not None:
        return None
    if rollout.frozen_by != Cause.SUSPICION and suspicion >= log(rollout.policy.freeze_at):
        # The brake's closing must not thaw what evidence holds by now.
        return Transition(replace(rollout, frozen_by=Cause.SUSPICION))
    if rollout.brake_open_since is not None or suspicion >= log(rollout.policy.thaw_below):
        return None
    why = f"evidence against it fell to {wording.evidence_text(event.assessment)}"
    return moves.thaw(rollout, now, Cause.POLICY, why)


def _expose(rollout: Rollout, event: Assessed, now: datetime) -> Transition | None:
    """Out of the warm-up: the first exchanges."""
    warm = (now - rollout.phase_since).total_seconds() >= rollout.policy.warmup_s
    if not warm or event.canary_ready is not True or rollout.brake_open_since is not None:
        return None
    weight_bp = rungs(rollout.policy.max_weight_bp)[0]
    sentence = f"{rollout.canary} answers its probe and gets its first {wording.weight_text(weight_bp)} of the traffic."
    return moves.shift(replace(rollout, first_exposed_at=now), now, weight_bp, sentence, event.assessment)


def _step(rollout: Rollout, event: Assessed, now: datetime) -> Transition | None:
    """R6: one rung at most, up while the budget admits it, down when it no longer does."""
    seen = event.assessment
    weight_bp = _affordable(rollout, seen, now)
    if weight_bp == rollout.weight_bp:
        return None
    return moves.shift(rollout, now, weight_bp, wording.moved(rollout, seen, weight_bp), seen)


def _affordable(rollout: Rollout, seen: Assessment, now: datetime) -> int:
    most = rollout.policy.max_weight_bp
    above = rung_above(rollout.weight_bp, most)
    if above <= _admitted(rollout, seen, _unseen_s(seen, now)) and _bears(rollout, seen, above):
        # Without any traffic the rate is unknown, and what is unknown is not exposed.
        steady = seen.log_e < log(rollout.policy.thaw_below) and seen.exchanges_per_s > 0.0
        return above if steady else rollout.weight_bp
    if _admitted(rollout, seen, TICK_S + LEAST_MATURITY_S) < STEP_DOWN_BELOW * rollout.weight_bp:
        return rung_below(rollout.weight_bp, most)
    return rollout.weight_bp


def _admitted(rollout: Rollout, seen: Assessment, unseen_s: float) -> float:
    policy = rollout.policy
    by_errors = admissible_bp(policy.max_extra_bad, seen.exchanges_per_s, unseen_s, seen.excess_bound)
    waits = waits_s(rollout.evidence, policy)
    if not waits:
        return by_errors
    # What labels will say of answers that wait for them nobody knows; only their number can be bounded.
    return min(by_errors, admissible_bp(policy.max_unlabelled, seen.exchanges_per_s, waits + unseen_s, 1.0))


def _bears(rollout: Rollout, seen: Assessment, weight_bp: int) -> bool:  # ADR 0073
    """Whether the worst canary that the data leave open is turned back within the budget at this weight.

    One that always fails is known sooner at a low weight; at little traffic nothing else bounds its harm.
    """
    policy = rollout.policy
    limit = log_limit(policy, exposure_guardrail(policy))
    failures = bad_until((), rollout.evidence.error_reference, weight_bp / FULL_BP, limit, _MOST_FAILURES)
    return failures is not None and failures * seen.excess_bound <= policy.max_extra_bad


def _unseen_s(seen: Assessment, now: datetime) -> float:
    """Seconds whose draws cannot be judged before the next look."""
    # A clock that was set back leaves what was read ahead of it: as unknown as what lags behind.
    behind = LEAST_MATURITY_S if seen.read_through_s is None else abs(now.timestamp() - seen.read_through_s)
    return TICK_S + max(LEAST_MATURITY_S, behind)


_GUARDED: tuple[Rule, ...] = (_turn_back, _hold, _distrust)
_MOVING: tuple[Rule, ...] = (*_GUARDED, _freeze, _wait_for_outside, _promote, _expire, _step)
RULES: Mapping[Phase, tuple[Rule, ...]] = {
    Phase.PENDING: (_expire,),
    Phase.WARMING: (_expose, _expire),
    Phase.RAMPING: _MOVING,
    Phase.BAKING: _MOVING,
    Phase.PAUSED: (*_GUARDED, _expire),
    Phase.FROZEN: (_turn_back, _distrust, _expire, _lower, _thaw),
    Phase.INVALID: (_expire,),
    Phase.EXPIRED: (*_GUARDED, _expire),
}
