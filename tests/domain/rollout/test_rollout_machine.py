"""Any events in any order: a small model says beforehand which phase and weight come out."""

import json
from collections import Counter
from dataclasses import replace
from math import log
from typing import Any

import pytest
from domain.rollout.rollout_model import Model, Sight
from domain.walking import CANARY, NOON, POLICY, Walk, held, saw
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.domain.catalog.policy import OnDeadline
from app.domain.guardrails.finding import Verdict
from app.domain.rollout.rollout import (
    TERMINAL,
    Aborted,
    Assessed,
    BrakeClosed,
    BrakeOpened,
    Event,
    MakeStable,
    Paused,
    Phase,
    PromotionOrdered,
    Resumed,
    RollbackOrdered,
    ShiftWeight,
    Started,
)
from app.domain.rollout.transitions import ACCEPTS
from app.errors import IllegalTransition

ORDERS: dict[str, Event] = {
    "start": Started(),
    "pause": Paused(),
    "resume": Resumed(),
    "promote": PromotionOrdered(),
    "rollback": RollbackOrdered(),
    "abort": Aborted(),
    "brake": BrakeOpened(),
    "release": BrakeClosed(),
}
ENDINGS = ("promote", "rollback", "abort")
MARGIN = 0.01
# How often each phase was stood in, over all examples of a run.
STOOD_IN: Counter[Phase] = Counter()


class AnyRollout(RuleBasedStateMachine):
    """Any events in any order."""

    @initialize(
        most=st.sampled_from([1, 7, 100, 5_000]),
        on_deadline=st.sampled_from(OnDeadline),
        climbed=st.sampled_from([None, None, 0, 3, 20, 20]),
    )
    def start(self, most: int, on_deadline: OnDeadline, climbed: int | None) -> None:
        margin = MARGIN if on_deadline is OnDeadline.PROMOTE_IF_BELOW else None
        policy = replace(POLICY, max_weight_bp=most, on_deadline=on_deadline, deadline_margin=margin)
        self.walk = Walk(policy)
        self.model = Model(most, on_deadline, MARGIN, policy.hold_s, policy.deadline_s)
        self.routed_bp = 0
        if climbed is not None:
            self.order("start", 1.0)
            self.a_look(0.0, None, True, 5.0, 0.001, None)
            for _ in range(climbed):
                self.a_look(0.0, None, True, 1.0, 0.001, None)

    @precondition(lambda self: self.walk.rollout.phase in TERMINAL)
    @rule(
        most=st.sampled_from([1, 7, 100, 5_000]),
        on_deadline=st.sampled_from(OnDeadline),
        climbed=st.sampled_from([None, None, 0, 3, 20, 20]),
    )
    def another_begins(self, most: int, on_deadline: OnDeadline, climbed: int | None) -> None:
        self.start(most, on_deadline, climbed)

    def order(self, name: str, after: float) -> None:
        now = self._now() + after
        self._send(ORDERS[name], after, self.model.order(name, now))

    def a_look(
        self, log_e: float, verdict: Verdict | None, ready: bool | None, after: float, bound: float, by: str | None
    ) -> None:
        seen = saw(log_e, verdict, bound=bound)
        seen = seen if by is None else held(by, seen)
        now = self._now() + after
        taken = self.model.look(Sight(log_e, seen.verdict, ready is True, bound, by), now)
        self._send(Assessed(seen, ready), after, taken)

    def _now(self) -> float:
        return (self.walk.now - NOON).total_seconds()

    def _send(self, event: Event, after: float, taken: bool) -> None:
        walk, before = self.walk, self.walk.rollout
        assert (type(event) in ACCEPTS[before.phase]) is taken, (before.phase, event)
        if not taken:
            with pytest.raises(IllegalTransition):
                walk.take(event, after=after)
            assert walk.rollout == before
            return
        walk.take(event, after=after)
        assert walk.rollout.phase in ACCEPTS[before.phase][type(event)], (before.phase, event)
        for effect in walk.last.effects:
            match effect:
                case ShiftWeight(weight_bp):
                    self.routed_bp = weight_bp
                case MakeStable(version):
                    self.routed_bp = 10_000 if version == CANARY else 0
        if walk.last.resolution is None:
            assert (walk.last.effects, walk.rollout.phase) == ((), before.phase)

    @rule(
        name=st.sampled_from([name for name in ORDERS if name not in ENDINGS]), after=st.sampled_from([0.0, 1.0, 9.0])
    )
    def something_happens(self, name: str, after: float) -> None:
        self.order(name, after)

    @rule(name=st.sampled_from(ENDINGS), sure=st.integers(0, 19))
    def a_person_ends_it(self, name: str, sure: int) -> None:
        if sure == 0 or self.walk.rollout.phase in TERMINAL:
            self.order(name, 1.0)

    @rule(
        log_e=st.sampled_from([-3.0, *[0.0] * 12, log(4), log(4), log(12), log(12), log(99), log(101)]),
        verdict=st.sampled_from([*[None] * 12, Verdict.HEALTHY, Verdict.INVALID, Verdict.NO_EVENTS]),
        ready=st.sampled_from([True, True, None, False]),
        after=st.sampled_from([*[1.0] * 9, 6.0, 700.0, 4_000.0]),
        bound=st.sampled_from([0.0, 0.001, 1.0]),
        by=st.sampled_from([*[None] * 9, "ceiling", "external", "latency"]),
    )
    def the_tick_looks(
        self, log_e: float, verdict: Verdict | None, ready: bool | None, after: float, bound: float, by: str | None
    ) -> None:
        if verdict is Verdict.HEALTHY:
            log_e = min(log_e, 0.0)
        self.a_look(log_e, verdict, ready, after, bound, by)

    @precondition(lambda self: hasattr(self, "walk"))
    @invariant()
    def the_model_says_the_same(self) -> None:
        rollout, model = self.walk.rollout, self.model
        STOOD_IN[rollout.phase] += 1
        assert (rollout.phase, rollout.weight_bp) == (model.phase, model.weight), model
        assert rollout.weight_bp == self.routed_bp
        assert (rollout.phase_deadline is None) is (rollout.phase in TERMINAL)
        if rollout.phase_deadline is not None:
            assert (rollout.phase_deadline - NOON).total_seconds() == model.deadline
        if rollout.phase is Phase.FROZEN:
            assert rollout.frozen_by == model.frozen_by

    @precondition(lambda self: hasattr(self, "walk"))
    @invariant()
    def every_decision_is_a_sentence_with_json_behind_it(self) -> None:
        resolution = self.walk.last.resolution
        if resolution is not None:
            assert resolution.sentence.endswith(".")
            numbers: Any = json.loads(json.dumps(resolution.numbers, allow_nan=False))
            assert numbers == resolution.numbers


def test_the_engine_does_what_the_model_says_and_every_phase_is_reached() -> None:
    STOOD_IN.clear()
    # The same examples every time: whether a phase is reached must not depend on luck.
    repeatable = settings(max_examples=150, stateful_step_count=50, deadline=None, derandomize=True)
    run_state_machine_as_test(AnyRollout, settings=repeatable)
    assert set(STOOD_IN) == set(Phase), dict(STOOD_IN)
