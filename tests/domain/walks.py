"""Every phase, and every event in it: what the state machine answers, one line each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from math import log

from domain.walking import NOON, POLICY, Walk, held, look, saw

from app.domain.catalog.policy import Metric, OnDeadline, Policy
from app.domain.guardrails.finding import Cause, Trigger, Verdict
from app.domain.rollout.rollout import (
    Aborted,
    Assessed,
    BrakeClosed,
    BrakeOpened,
    Effect,
    Event,
    Paused,
    PromotionOrdered,
    Resumed,
    RollbackOrdered,
    Rollout,
    ShiftWeight,
    Started,
    Transition,
)
from app.domain.rollout.transitions import advance
from app.errors import IllegalTransition

SUSPICIOUS, PROVEN, EXACTLY_FREEZE, EXACTLY_THAW = log(20.0), log(200.0), log(10.0), log(3.0)

EVENTS: Mapping[str, Event] = {
    "started": Started(),
    "paused": Paused(),
    "resumed": Resumed(),
    "promotion ordered": PromotionOrdered(),
    "rollback ordered": RollbackOrdered(),
    "aborted": Aborted(),
    "brake opened": BrakeOpened(),
    "brake closed": BrakeClosed(),
    "nothing special seen": look(),
    "no traffic seen": look(saw(per_s=0.0)),
    "a wide bound seen": look(saw(bound=0.3, per_s=10_000.0)),
    "a bound of all seen": look(saw(bound=1.0, per_s=50.0)),
    "just suspicious": look(saw(EXACTLY_FREEZE)),
    "less than suspicious": look(saw(log(9.9))),
    "just not cleared": look(saw(EXACTLY_THAW)),
    "cleared": look(saw(log(2.9))),
    "suspicious": look(saw(SUSPICIOUS)),
    "suspicious of latency": look(replace(saw(SUSPICIOUS), trigger=Trigger(Cause.SPLIT))),
    "worse": look(replace(saw(PROVEN), stable_answers=2_345)),
    "not worse": look(saw(0.0, Verdict.HEALTHY)),
    "not worse, late in the day": look(
        replace(saw(0.0, Verdict.HEALTHY), unverified=(Metric("latency"), Metric("timeouts")))
    ),
    "not worse, and stable is ill": look(replace(saw(0.0, Verdict.HEALTHY), forward="v1 itself got worse")),
    "counts that cannot be": look(saw(0.0, Verdict.INVALID)),
    "worse, of counts that cannot be": look(saw(PROVEN, Verdict.INVALID)),
    "above its ceiling": look(held("ceiling")),
    "above its ceiling and suspicious": look(held("ceiling", saw(SUSPICIOUS))),
    "a cause outside": look(held("external")),
    "held by errors": look(held("errors")),
    "read through long ago": look(replace(saw(), read_through_s=int(NOON.timestamp()) - 1_000)),
    "read through now": look(replace(saw(bound=0.02, per_s=500.0), read_through_s=int(NOON.timestamp()) + 30)),
    "not ready": Assessed(saw(), canary_ready=False),
    "readiness unknown": Assessed(saw()),
}

STRICT = replace(POLICY, on_deadline=OnDeadline.ROLLBACK, coverage_s=900.0)
LENIENT = replace(POLICY, on_deadline=OnDeadline.PROMOTE_IF_BELOW, deadline_margin=0.01)
NARROW = replace(POLICY, max_weight_bp=1)


def _ramped(policy: Policy = POLICY, steps: int = 4) -> Walk:
    return Walk(policy).to_ramp().take(*[look()] * steps)


def _baked(policy: Policy = POLICY) -> Walk:
    return _ramped(policy, 14)


STATES: Mapping[str, Callable[[], Walk]] = {
    "pending": Walk,
    "warming": lambda: Walk().take(Started()),
    "warming behind a brake": lambda: Walk().take(Started(), BrakeOpened()),
    "ramping": _ramped,
    "ramping, strict": lambda: _ramped(STRICT),
    "ramping, lenient": lambda: _ramped(LENIENT),
    "baking": _baked,
    "baking, narrow": lambda: Walk(NARROW).to_ramp(),
    "baking, lenient": lambda: _baked(LENIENT),
    "baking, covered for long": lambda: _baked(STRICT).take(look(), after=1_000.0),
    "paused while warming": lambda: Walk().take(Started(), Paused()),
    "paused": lambda: _ramped().take(Paused()),
    "paused, strict": lambda: _ramped(STRICT).take(Paused()),
    "paused at the top": lambda: _baked().take(Paused()),
    "frozen": lambda: _ramped().take(look(saw(SUSPICIOUS))),
    "frozen at the top": lambda: _baked().take(look(saw(SUSPICIOUS))),
    "frozen at the bottom": lambda: Walk().to_ramp().take(look(saw(SUSPICIOUS))),
    "frozen a rung above the bottom": lambda: _ramped(steps=2).take(look(saw(SUSPICIOUS))),
    "frozen by a brake": lambda: _ramped().take(BrakeOpened()),
    "frozen by a brake, suspicious": lambda: _ramped().take(look(saw(SUSPICIOUS)), BrakeOpened()),
    "frozen by a brake when paused": lambda: _ramped().take(Paused(), BrakeOpened()),
    "frozen by a ceiling": lambda: _baked().take(look(held("ceiling"))),
    "frozen by a cause outside": lambda: _ramped().take(look(held("external"))),
    "frozen late": lambda: _ramped().take(look(), after=3_300.0).take(look(saw(SUSPICIOUS))),
    "frozen, lenient": lambda: _ramped(LENIENT).take(look(saw(SUSPICIOUS))),
    "invalid": lambda: _ramped().take(look(saw(0.0, Verdict.INVALID))),
    "expired": lambda: _ramped().take(look(), after=3_600.0),
    "expired behind a brake": lambda: _ramped().take(look(), after=3_600.0).take(BrakeOpened()),
    "promoted": lambda: _ramped().take(PromotionOrdered()),
    "turned back": lambda: _ramped().take(RollbackOrdered()),
    "aborted": lambda: Walk().take(Aborted()),
}
# Seconds from the event before: one second, and around the limits of warm-up, brake, hold and rollout.
LATER = (1.0, 10.0, 600.0, 3_600.0)


def _effect(effect: Effect) -> str:
    return f"weight {effect.canary_weight_bp}" if isinstance(effect, ShiftWeight) else f"stable {effect.version}"


def _changes(before: Rollout, after: Rollout, now: datetime) -> Iterator[str]:
    """Every field that is another now; instants in seconds from now."""
    for name in (field.name for field in fields(Rollout)):
        value = getattr(after, name)
        if value != getattr(before, name):
            yield f"{name} {(value - now).total_seconds():g} s" if isinstance(value, datetime) else f"{name} {value}"


def told(before: Rollout, made: Transition, now: datetime) -> str:
    """What a transition changes and says, in one line."""
    said = [*_changes(before, made.rollout, now), *map(_effect, made.effects)]
    why = made.resolution
    if why is not None:
        look_or_not = "of a look" if "log_e" in why.numbers else "of no look"
        said.append(f"{why.action} by {why.trigger}: {why.sentence} [at {why.numbers.get('weight_bp')}, {look_or_not}]")
    return "; ".join(said) or "nothing"


def answers(state: str) -> dict[str, list[str]]:
    """What a rollout in this state answers, and the events it answers so; later ones where the answer is another."""
    walk = STATES[state]()
    given: dict[str, list[str]] = {}
    for name, event in EVENTS.items():
        before = ""
        for after in LATER:
            now = walk.now + timedelta(seconds=after)
            try:
                answer = told(walk.rollout, advance(walk.rollout, event, now), now)
            except IllegalTransition:
                answer = "refused"
            if answer != before:
                given.setdefault(answer, []).append(f"{name}, {after:g} s later")
            before = answer
    return given
