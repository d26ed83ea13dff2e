"""The rollout state machine.

Rule: `ACCEPTS` is the whole map, phase and event to the phases that may follow; what it does
not name is refused and changes nothing. A rollback is accepted in every phase.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from app.domain.guardrails.finding import Cause
from app.domain.rollout import moves
from app.domain.rollout.rollout import (
    TERMINAL,
    Aborted,
    Action,
    Assessed,
    BrakeClosed,
    BrakeOpened,
    Decayed,
    Event,
    Paused,
    Phase,
    PromotionOrdered,
    Resolution,
    Resumed,
    RollbackOrdered,
    Rollout,
    Started,
    Transition,
    later,
)
from app.domain.rollout.rules import look
from app.domain.rollout.wording import account, weight_text
from app.errors import IllegalTransition

# A brake that stays open for so long is a canary that cannot be reached, or that answers far worse.
BRAKE_PATIENCE_S = 10.0

_Map: TypeAlias = Mapping[type[Event], frozenset[Phase]]


def _to(*phases: Phase) -> frozenset[Phase]:
    return frozenset(phases)


_P = Phase
_HELD_OUTCOMES = (_P.ROLLED_BACK, _P.INVALID, _P.EXPIRED)
_BACK: _Map = {RollbackOrdered: _to(_P.ROLLED_BACK)}
_ENDS: _Map = {**_BACK, Aborted: _to(_P.ABORTED)}
_ORDERS: _Map = {**_ENDS, PromotionOrdered: _to(_P.PROMOTED)}
_MOVING: _Map = {
    **_ORDERS,
    Assessed: _to(_P.RAMPING, _P.BAKING, _P.FROZEN, _P.PROMOTED, *_HELD_OUTCOMES),
    Paused: _to(_P.PAUSED),
    BrakeOpened: _to(_P.FROZEN),
}

ACCEPTS: Mapping[Phase, _Map] = MappingProxyType(
    {
        _P.PENDING: {
            **_ENDS,
            Started: _to(_P.WARMING),
            Assessed: _to(_P.PENDING, _P.ABORTED),
            BrakeOpened: _to(_P.PENDING),
            BrakeClosed: _to(_P.PENDING),
        },
        _P.WARMING: {
            **_ORDERS,
            Assessed: _to(_P.WARMING, _P.RAMPING, _P.BAKING, _P.ROLLED_BACK),
            Paused: _to(_P.PAUSED),
            BrakeOpened: _to(_P.WARMING),
            BrakeClosed: _to(_P.WARMING),
        },
        _P.RAMPING: {**_MOVING, BrakeClosed: _to(_P.RAMPING)},
        _P.BAKING: {**_MOVING, BrakeClosed: _to(_P.BAKING)},
        _P.PAUSED: {
            **_ORDERS,
            Assessed: _to(_P.PAUSED, _P.FROZEN, *_HELD_OUTCOMES),
            Resumed: _to(_P.WARMING, _P.RAMPING, _P.BAKING),
            BrakeOpened: _to(_P.PAUSED, _P.FROZEN),
            BrakeClosed: _to(_P.PAUSED),
        },
        _P.FROZEN: {
            **_ORDERS,
            Assessed: _to(_P.FROZEN, _P.RAMPING, _P.BAKING, _P.PAUSED, *_HELD_OUTCOMES),
            Paused: _to(_P.PAUSED),
            Resumed: _to(_P.RAMPING, _P.BAKING),
            BrakeOpened: _to(_P.FROZEN, _P.ROLLED_BACK),
            BrakeClosed: _to(_P.FROZEN, _P.RAMPING, _P.BAKING, _P.PAUSED, _P.EXPIRED),
        },
        _P.INVALID: {
            **_ORDERS,
            Assessed: _to(_P.INVALID, _P.ROLLED_BACK),
            BrakeOpened: _to(_P.INVALID),
            BrakeClosed: _to(_P.INVALID),
        },
        _P.EXPIRED: {
            **_ORDERS,
            Assessed: _to(_P.EXPIRED, _P.FROZEN, _P.ROLLED_BACK, _P.INVALID),
            Resumed: _to(_P.WARMING, _P.RAMPING, _P.BAKING),
            BrakeOpened: _to(_P.EXPIRED, _P.FROZEN),
            BrakeClosed: _to(_P.EXPIRED),
        },
        _P.PROMOTED: {**_BACK, Decayed: _to(_P.ROLLED_BACK)},
        _P.ROLLED_BACK: _BACK,
        _P.ABORTED: {RollbackOrdered: _to(_P.ABORTED)},
    }
)


def advance(rollout: Rollout, event: Event, now: datetime) -> Transition:
    """What the event makes of the rollout.

    Args:
        rollout: Never changed; its `evidence` is already the one that was assessed.
        event: What happened.
        now: Database time, with a time zone.

    Raises:
        IllegalTransition: The phase does not accept the event.
    """
    if type(event) not in ACCEPTS[rollout.phase]:
        raise IllegalTransition(rollout.phase, type(event).__name__)
    return _HANDLERS[type(event)](rollout, event, now)


def _started(rollout: Rollout, _: Started, now: datetime) -> Transition:
    sentence = f"Started the rollout of {rollout.canary}: {rollout.stable} keeps all traffic while it warms up."
    return Transition(moves.enter(rollout, Phase.WARMING, now), (), _ordered(Action.START, rollout, sentence))


def _paused(rollout: Rollout, _: Paused, now: datetime) -> Transition:
    paused = moves.enter(replace(rollout, held_from=rollout.phase), Phase.PAUSED, now)
    sentence = f"Paused {rollout.canary} at {weight_text(rollout.weight_bp)}; its guardrails go on."
    return Transition(paused, (), _ordered(Action.PAUSE, rollout, sentence))


def _resumed(rollout: Rollout, _: Resumed, now: datetime) -> Transition:
    phase = moves.moving(rollout) if rollout.weight_bp else Phase.WARMING
    decide_by = rollout.decide_by
    if decide_by <= now:
        decide_by = later(now, rollout.policy.deadline_s)
    resumed = moves.enter(replace(rollout, decide_by=decide_by), phase, now)
    sentence = f"Resumed {rollout.canary} at {weight_text(rollout.weight_bp)}."
    return Transition(resumed, (), _ordered(Action.RESUME, rollout, sentence))


def _promotion_ordered(rollout: Rollout, _: PromotionOrdered, now: datetime) -> Transition:
    sentence = f"Promoted {rollout.canary} by order; not proven."
    return moves.promote(rollout, now, Cause.OPERATOR, sentence)


def _rollback_ordered(rollout: Rollout, _: RollbackOrdered, now: datetime) -> Transition:
    if rollout.phase in TERMINAL - {Phase.PROMOTED}:
        sentence = f"{rollout.canary} had been turned back already; nothing changed."
        return Transition(rollout, (), _ordered(Action.ROLL_BACK, rollout, sentence))
    return moves.roll_back(rollout, now, Cause.OPERATOR, f"Turned {rollout.canary} back by order.")


def _decayed(rollout: Rollout, event: Decayed, now: datetime) -> Transition:
    numbers = {**account(rollout), "watch": event.numbers}
    return moves.end(
        rollout, Phase.ROLLED_BACK, now, Resolution(Action.ROLL_BACK, Cause.DECAY, event.sentence, numbers)
    )


def _aborted(rollout: Rollout, _: Aborted, now: datetime) -> Transition:
    sentence = f"Ended the rollout of {rollout.canary} by order, without a verdict."
    return moves.end(rollout, Phase.ABORTED, now, _ordered(Action.ABORT, rollout, sentence))


def _ordered(action: Action, rollout: Rollout, sentence: str) -> Resolution:
    return Resolution(action, Cause.OPERATOR, sentence, account(rollout))


def _brake_opened(rollout: Rollout, _: BrakeOpened, now: datetime) -> Transition:
    since = rollout.brake_open_since or now
    marked = replace(rollout, brake_open_since=since)
    if rollout.weight_bp == 0:
        return Transition(marked)
    if rollout.phase is not Phase.FROZEN:
        return moves.freeze_for_brake(rollout, now)
    open_s = (now - since).total_seconds()
    if open_s < BRAKE_PATIENCE_S:
        return Transition(marked)
    sentence = f"Turned {rollout.canary} back: a replica kept its traffic away from it for {open_s:.0f} s."
    return moves.roll_back(rollout, now, Cause.BRAKE, sentence)


def _brake_closed(rollout: Rollout, _: BrakeClosed, now: datetime) -> Transition:
    closed = replace(rollout, brake_open_since=None)
    if rollout.phase is Phase.FROZEN and rollout.frozen_by == Cause.BRAKE:
        return moves.thaw(closed, now, Cause.BRAKE, "no replica keeps its traffic away any more")
    return Transition(closed)


_HANDLERS: Mapping[type[Event], Callable[[Rollout, Any, datetime], Transition]] = MappingProxyType(
    {
        Started: _started,
        Assessed: look,
        Paused: _paused,
        Resumed: _resumed,
        PromotionOrdered: _promotion_ordered,
        RollbackOrdered: _rollback_ordered,
        Aborted: _aborted,
        Decayed: _decayed,
        BrakeOpened: _brake_opened,
        BrakeClosed: _brake_closed,
    }
)
