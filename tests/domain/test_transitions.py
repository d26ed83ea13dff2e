"""The state machine: what it refuses, what it never does, and one walk to every end."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import log
from typing import Any

import pytest
from hypothesis import event as note
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.domain.catalog import ModelName, VersionName
from app.domain.finding import Assessment, Finding, Verdict
from app.domain.planner import rungs
from app.domain.rollout import (
    TERMINAL,
    Aborted,
    Action,
    Assessed,
    BrakeClosed,
    BrakeOpened,
    Effect,
    Event,
    MakeStable,
    OnDeadline,
    Paused,
    Phase,
    Policy,
    PromotionOrdered,
    Resumed,
    RollbackOrdered,
    Rollout,
    RolloutId,
    ShiftWeight,
    Started,
    Transition,
    begin,
)
from app.domain.tally import Tally
from app.domain.transitions import ACCEPTS, advance
from app.errors import IllegalTransition, InvalidInput

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
STABLE, CANARY = VersionName("v1"), VersionName("v2")
POLICY = Policy(warmup_s=5.0, deadline_s=3_600.0, hold_s=600.0)


def pending(policy: Policy = POLICY) -> Rollout:
    return begin(RolloutId("r1"), ModelName("fraud"), STABLE, CANARY, policy, Tally(), NOON)


def saw(log_e: float = 0.0, verdict: Verdict | None = None, per_s: float = 10.0, bound: float = 0.001) -> Assessment:
    """An assessment as `analysis.assess` would give it for this evidence."""
    if verdict is None:
        verdict = Verdict.INCONCLUSIVE_HEALTHY
        if log_e >= log(10):
            verdict = Verdict.REGRESSED if log_e >= log(100) else Verdict.INCONCLUSIVE_WORSE
    findings = (
        Finding("errors", verdict, log_e, None, "Error rate 2.00 % for v2, 1.00 % for v1."),
        Finding("split", Verdict.HEALTHY, 0.0, None, "v2 was drawn 5 times where 5 were expected."),
    )
    return Assessment(verdict, findings, log_e, excess_bound=bound, exchanges_per_s=per_s, canary_answers=1_000)


def look(seen: Assessment | None = None) -> Assessed:
    return Assessed(seen or saw(), canary_ready=True)


class Walk:
    """A rollout that is led somewhere, one event after the other."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.now = NOON
        self.rollout = pending(policy)
        self.last = Transition(self.rollout)
        self.phases = [self.rollout.phase]

    def take(self, *events: Event, after: float = 1.0) -> "Walk":
        for event in events:
            self.now += timedelta(seconds=after)
            self.last = advance(self.rollout, event, self.now)
            self.rollout = self.last.rollout
            self.phases.append(self.rollout.phase)
        return self

    def to_ramp(self) -> "Walk":
        return self.take(Started()).take(look(), after=5.0)

    def did(self, *effects: Effect) -> bool:
        return self.last.effects == effects

    @property
    def action(self) -> Action | None:
        return self.last.resolution.action if self.last.resolution else None


def test_a_good_canary_walks_all_the_way_to_promoted() -> None:
    walk = Walk().to_ramp()
    assert walk.did(ShiftWeight(1))
    for rung in rungs(POLICY.max_weight_bp)[1:]:
        walk.take(look())
        assert walk.did(ShiftWeight(rung))
        assert walk.action == Action.ADVANCE
    walk.take(look(saw(verdict=Verdict.HEALTHY)))
    assert walk.phases[-2:] == [Phase.BAKING, Phase.PROMOTED]
    assert walk.did(MakeStable(CANARY))
    walk.take(RollbackOrdered())
    assert walk.rollout.phase is Phase.ROLLED_BACK
    assert walk.did(MakeStable(STABLE))


def test_a_bad_canary_is_turned_back_by_evidence_in_every_phase_with_traffic() -> None:
    ways: dict[Phase, Walk] = {
        Phase.RAMPING: Walk().to_ramp(),
        Phase.BAKING: Walk(replace(POLICY, max_weight_bp=1)).to_ramp(),
        Phase.PAUSED: Walk().to_ramp().take(Paused()),
        Phase.FROZEN: Walk().to_ramp().take(look(saw(log(20)))),
        Phase.EXPIRED: Walk().to_ramp().take(look(), after=3_600.0),
    }
    for phase, walk in ways.items():
        assert walk.rollout.phase is phase
        walk.take(look(saw(log(150))))
        assert walk.rollout.phase is Phase.ROLLED_BACK, phase
        assert walk.last.effects == (ShiftWeight(0),)
        assert walk.last.resolution is not None
        assert walk.last.resolution.trigger == "errors"


def test_a_person_ends_a_rollout_without_a_verdict() -> None:
    walk = Walk().to_ramp().take(Aborted())
    assert (walk.rollout.phase, walk.last.effects) == (Phase.ABORTED, (ShiftWeight(0),))


def test_suspicion_takes_one_rung_and_gives_it_back_only_below_three() -> None:
    walk = Walk().to_ramp().take(look(), look(), look())
    assert walk.rollout.weight_bp == 10
    walk.take(look(saw(log(12))))
    assert (walk.rollout.phase, walk.rollout.weight_bp, walk.action) == (Phase.FROZEN, 5, Action.FREEZE)
    walk.take(look(saw(log(50))), look(saw(log(4))))
    assert (walk.rollout.phase, walk.rollout.weight_bp) == (Phase.FROZEN, 5)
    walk.take(look(saw(log(2.9))))
    assert (walk.rollout.phase, walk.rollout.weight_bp, walk.action) == (Phase.RAMPING, 5, Action.THAW)


def test_a_brake_that_closes_in_time_thaws_and_one_that_stays_open_turns_back() -> None:
    walk = Walk().to_ramp().take(look(), look(), BrakeOpened())
    assert (walk.rollout.phase, walk.rollout.weight_bp) == (Phase.FROZEN, 1)
    walk.take(look(), BrakeClosed())
    assert (walk.rollout.phase, walk.action) == (Phase.RAMPING, Action.THAW)
    walk.take(BrakeOpened(), *[BrakeOpened()] * 10)
    assert walk.phases[-2:] == [Phase.FROZEN, Phase.ROLLED_BACK]
    assert walk.last.resolution is not None
    assert walk.last.resolution.trigger == "brake"


def test_a_closing_brake_does_not_thaw_what_evidence_holds() -> None:
    walk = Walk().to_ramp().take(BrakeOpened(), look(saw(log(20))), BrakeClosed())
    assert walk.rollout.phase is Phase.FROZEN
    assert walk.take(look(saw(0.0))).rollout.phase is Phase.RAMPING


def test_a_brake_releases_a_paused_rollout_into_its_pause() -> None:
    walk = Walk().to_ramp().take(Paused(), BrakeOpened())
    assert walk.rollout.phase is Phase.FROZEN
    assert walk.take(BrakeClosed()).rollout.phase is Phase.PAUSED
    assert walk.take(Resumed()).rollout.phase is Phase.RAMPING


def test_a_split_that_the_coin_cannot_explain_takes_all_traffic_away() -> None:
    walk = Walk().to_ramp().take(look(saw(verdict=Verdict.INVALID)))
    assert (walk.rollout.phase, walk.last.effects) == (Phase.INVALID, (ShiftWeight(0),))
    assert walk.take(look(), after=600.0).rollout.phase is Phase.ROLLED_BACK


def test_a_canary_gets_traffic_only_when_it_is_warm_and_ready() -> None:
    walk = Walk().take(Started()).take(look(), after=4.0)
    assert walk.rollout.phase is Phase.WARMING
    for not_ready in (None, False):
        walk.take(Assessed(saw(), canary_ready=not_ready), after=30.0)
        assert (walk.rollout.phase, walk.last.effects) == (Phase.WARMING, ())
    assert walk.take(look()).rollout.phase is Phase.RAMPING


def test_a_canary_that_never_gets_ready_is_turned_back() -> None:
    walk = Walk().take(Started()).take(Assessed(saw(), canary_ready=False), after=605.0)
    assert walk.rollout.phase is Phase.ROLLED_BACK
    assert walk.last.resolution is not None
    assert walk.last.resolution.trigger == "deadline"


def test_a_rollout_that_nobody_starts_is_dropped() -> None:
    assert Walk().take(look(), after=61.0).rollout.phase is Phase.ABORTED


def test_an_undecided_rollout_expires_holds_its_weight_and_is_turned_back_when_nobody_decides() -> None:
    walk = Walk().to_ramp().take(look(), look(), look()).take(look(), after=3_600.0)
    assert (walk.rollout.phase, walk.rollout.weight_bp, walk.last.effects) == (Phase.EXPIRED, 10, ())
    again = Walk().to_ramp().take(look(), after=3_600.0).take(Resumed()).take(look(), after=3_000.0)
    assert again.rollout.phase is Phase.RAMPING
    assert walk.take(look(), after=600.0).rollout.phase is Phase.ROLLED_BACK


def test_the_deadline_turns_back_where_the_policy_says_so() -> None:
    walk = Walk(replace(POLICY, on_deadline=OnDeadline.ROLLBACK)).to_ramp().take(look(), after=3_600.0)
    assert walk.rollout.phase is Phase.ROLLED_BACK


def test_promotion_waits_for_coverage() -> None:
    walk = Walk(replace(POLICY, coverage_s=60.0)).to_ramp().take(look(saw(verdict=Verdict.HEALTHY)), after=30.0)
    assert walk.rollout.phase is Phase.RAMPING
    assert walk.take(look(saw(verdict=Verdict.HEALTHY)), after=31.0).rollout.phase is Phase.PROMOTED


@pytest.mark.parametrize("seen", [saw(per_s=0.0), saw(log_e=log(4)), saw(bound=1.0, per_s=1e6)])
def test_the_weight_stays_without_traffic_under_suspicion_and_beyond_the_budget(seen: Assessment) -> None:
    assert Walk().to_ramp().take(look(seen)).rollout.weight_bp == 1


def test_the_weight_stays_while_the_replicas_are_silent_about_the_last_minutes() -> None:
    walk = Walk().to_ramp()
    silent = replace(saw(bound=0.5, per_s=1_000.0), read_through_s=int(walk.now.timestamp()) - 300)
    assert walk.take(look(silent)).rollout.weight_bp == 1
    fresh = replace(silent, read_through_s=int(walk.now.timestamp()))
    assert walk.take(look(fresh)).rollout.weight_bp == 2


def test_a_surge_of_traffic_takes_weight_away() -> None:
    walk = Walk().to_ramp().take(*[look()] * 6)
    assert walk.rollout.weight_bp == 100
    walk.take(look(saw(bound=0.5, per_s=2_000.0)))
    assert (walk.rollout.weight_bp, walk.action) == (50, Action.STEP_DOWN)


def test_a_person_promotes_what_is_not_proven_and_the_decision_says_so() -> None:
    walk = Walk().to_ramp().take(PromotionOrdered())
    assert walk.rollout.phase is Phase.PROMOTED
    assert walk.last.resolution is not None
    assert "not proven" in walk.last.resolution.sentence


def test_a_rollback_of_what_is_back_already_changes_nothing_and_says_so() -> None:
    walk = Walk().to_ramp().take(RollbackOrdered())
    before = walk.rollout
    assert walk.take(RollbackOrdered()).rollout == before
    assert walk.last.effects == ()
    assert walk.action is Action.ROLL_BACK


def test_stable_is_not_its_own_canary() -> None:
    with pytest.raises(InvalidInput, match="/canary"):
        begin(RolloutId("r1"), ModelName("fraud"), STABLE, STABLE, POLICY, Tally(), NOON)


def test_every_phase_takes_a_rollback_and_every_open_phase_has_a_deadline_or_ends() -> None:
    assert set(ACCEPTS) == set(Phase)
    assert all(RollbackOrdered in ACCEPTS[phase] for phase in Phase)
    assert all(set(ACCEPTS[phase]) == {RollbackOrdered} for phase in TERMINAL)
    assert all({Assessed, Aborted} <= set(ACCEPTS[phase]) for phase in set(Phase) - TERMINAL - {Phase.PENDING})


EVENTS: tuple[Event, ...] = (
    Started(),
    Paused(),
    Resumed(),
    PromotionOrdered(),
    RollbackOrdered(),
    Aborted(),
    BrakeOpened(),
    BrakeClosed(),
)
ORDERS_THAT_END = (PromotionOrdered, RollbackOrdered, Aborted)


class AnyRollout(RuleBasedStateMachine):
    """Any events in any order."""

    @initialize(
        most=st.sampled_from([1, 7, 100, 5_000]),
        on_deadline=st.sampled_from(OnDeadline),
        looks=st.sampled_from([None, None, 0, 3, 20, 20]),
    )
    def start(self, most: int, on_deadline: OnDeadline, looks: int | None) -> None:
        self.walk = Walk(replace(POLICY, max_weight_bp=most, on_deadline=on_deadline))
        if looks is not None:
            self.walk.to_ramp().take(*[look()] * looks)
        self.routed_bp = self.walk.rollout.weight_bp
        self.ended_as: Phase | None = None

    def _send(self, event: Event, after: float) -> None:
        walk = self.walk
        before = walk.rollout
        accepted = ACCEPTS[before.phase].get(type(event))
        if accepted is None:
            with pytest.raises(IllegalTransition):
                walk.take(event, after=after)
            assert walk.rollout == before
            return
        walk.take(event, after=after)
        assert walk.rollout.phase in accepted, (before.phase, event)
        for effect in walk.last.effects:
            match effect:
                case ShiftWeight(weight_bp):
                    self.routed_bp = weight_bp
                case MakeStable(version):
                    self.routed_bp = 10_000 if version == CANARY else 0
        if walk.last.resolution is None:
            assert (walk.last.effects, walk.rollout.phase) == ((), before.phase)

    @rule(
        event=st.sampled_from([e for e in EVENTS if not isinstance(e, ORDERS_THAT_END)]),
        after=st.sampled_from([0.0, 1.0, 9.0]),
    )
    def something_happens(self, event: Event, after: float) -> None:
        self._send(event, after)

    @rule(event=st.sampled_from([PromotionOrdered(), RollbackOrdered(), Aborted()]), sure=st.integers(0, 19))
    def a_person_ends_it(self, event: Event, sure: int) -> None:
        if sure == 0 or self.walk.rollout.phase in TERMINAL:
            self._send(event, 1.0)

    @rule(
        log_e=st.sampled_from([-3.0, 0.0, 0.0, 0.0, 0.0, log(4), log(12), log(12), log(99), log(101)]),
        verdict=st.sampled_from([*[None] * 12, Verdict.HEALTHY, Verdict.INVALID, Verdict.NO_EVENTS]),
        ready=st.sampled_from([True, True, None, False]),
        after=st.sampled_from([*[1.0] * 9, 6.0, 700.0, 4_000.0]),
        bound=st.sampled_from([0.0, 0.001, 1.0]),
    )
    def the_tick_looks(
        self, log_e: float, verdict: Verdict | None, ready: bool | None, after: float, bound: float
    ) -> None:
        if verdict is Verdict.HEALTHY:
            log_e = min(log_e, 0.0)
        self._send(Assessed(saw(log_e, verdict, bound=bound), ready), after)

    @precondition(lambda self: hasattr(self, "walk"))
    @invariant()
    def the_weight_is_legal_and_routed(self) -> None:
        rollout = self.walk.rollout
        legal = {0, *rungs(rollout.policy.max_weight_bp)}
        if rollout.phase is Phase.PROMOTED:
            legal = {10_000}
        assert rollout.weight_bp in legal
        assert rollout.weight_bp == self.routed_bp
        if rollout.phase in {Phase.PENDING, Phase.WARMING, Phase.INVALID, Phase.ROLLED_BACK, Phase.ABORTED}:
            assert rollout.weight_bp == 0

    @precondition(lambda self: hasattr(self, "walk"))
    @invariant()
    def only_terminal_phases_have_no_deadline_and_they_absorb(self) -> None:
        rollout = self.walk.rollout
        note(str(rollout.phase))
        assert (rollout.phase_deadline is None) is (rollout.phase in TERMINAL)
        if self.ended_as is not None and self.ended_as is not Phase.PROMOTED:
            assert rollout.phase is self.ended_as
        if rollout.phase in TERMINAL:
            self.ended_as = rollout.phase

    @precondition(lambda self: hasattr(self, "walk"))
    @invariant()
    def every_decision_is_a_sentence_with_json_behind_it(self) -> None:
        resolution = self.walk.last.resolution
        if resolution is not None:
            assert resolution.sentence.endswith(".")
            numbers: Any = json.loads(json.dumps(resolution.numbers, allow_nan=False))
            assert numbers == resolution.numbers


AnyRollout.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnyRollout = AnyRollout.TestCase
