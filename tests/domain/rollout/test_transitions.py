"""The state machine: what it refuses, what it never does, and one walk to every end."""

from dataclasses import replace
from math import log

import pytest
from domain.walking import CANARY, NOON, POLICY, STABLE, Walk, held, look, saw

from app.domain.catalog.models import ModelName
from app.domain.catalog.policy import Metric, OnDeadline
from app.domain.evidence.tally import Tally
from app.domain.guardrails.finding import Assessment, Cause, Finding, Verdict
from app.domain.rollout.rollout import (
    TERMINAL,
    Aborted,
    Action,
    Assessed,
    BrakeClosed,
    BrakeOpened,
    Decayed,
    MakeStable,
    Paused,
    Phase,
    PromotionOrdered,
    Resumed,
    RollbackOrdered,
    RolloutId,
    ShiftWeight,
    Started,
    begin,
)
from app.domain.rollout.transitions import ACCEPTS
from app.domain.stats.planning import rungs
from app.errors import InvalidInput


def test_a_good_canary_walks_all_the_way_to_promoted() -> None:
    walk = Walk().to_ramp()
    assert walk.did(ShiftWeight(1))
    for rung in rungs(POLICY.max_weight_bp)[1:]:
        walk.take(look())
        assert walk.did(ShiftWeight(rung))
        assert walk.action == Action.ADVANCE
    walk.take(look(saw(verdict=Verdict.HEALTHY)))
    assert walk.phases[-2:] == [Phase.BAKING, Phase.PROMOTED]
    assert walk.did(MakeStable(CANARY, POLICY.standby_bp))
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
        assert str(walk.last.resolution.trigger) == "errors"


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
    assert str(walk.last.resolution.trigger) == "brake"


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
    assert str(walk.last.resolution.trigger) == "deadline"


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
    assert all(set(ACCEPTS[phase]) == {RollbackOrdered} for phase in TERMINAL - {Phase.PROMOTED})
    assert set(ACCEPTS[Phase.PROMOTED]) == {RollbackOrdered, Decayed}
    assert all({Assessed, Aborted} <= set(ACCEPTS[phase]) for phase in set(Phase) - TERMINAL - {Phase.PENDING})


def test_each_terminal_phase_has_its_walk() -> None:
    promoted = Walk().to_ramp().take(look(saw(verdict=Verdict.HEALTHY)))
    rolled_back = Walk().to_ramp().take(look(saw(log(150))))
    aborted = Walk().take(Started(), Aborted())
    assert {walk.rollout.phase for walk in (promoted, rolled_back, aborted)} == TERMINAL


@pytest.mark.parametrize("by", ["ceiling", "latency"])
def test_a_hold_takes_the_lowest_weight_in_every_phase_with_traffic_and_gives_it_back(by: str) -> None:
    ways = {
        Phase.RAMPING: Walk().to_ramp().take(*[look()] * 4),
        Phase.PAUSED: Walk().to_ramp().take(*[look()] * 4).take(Paused()),
        Phase.EXPIRED: Walk().to_ramp().take(*[look()] * 4).take(look(), after=3_600.0),
    }
    for phase, walk in ways.items():
        assert (walk.rollout.phase, walk.rollout.weight_bp) == (phase, 20)
        walk.take(look(held(by)))
        assert (walk.rollout.phase, walk.rollout.weight_bp, walk.rollout.frozen_by) == (Phase.FROZEN, 1, by)
        assert walk.last.resolution is not None
        assert str(walk.last.resolution.trigger) == by
        assert walk.last.resolution.sentence == "Holding v2 at 0.01 %: it answers too badly of late."
        walk.take(look(held(by)))
        assert walk.rollout.phase is Phase.FROZEN
        assert walk.last.resolution is None
        walk.take(look())
        assert (walk.rollout.phase, walk.action) == (phase, Action.THAW)


def test_a_cause_from_outside_holds_what_moves_and_leaves_a_pause_to_its_person() -> None:
    walk = Walk().to_ramp().take(*[look()] * 4).take(look(held("external")))
    assert (walk.rollout.phase, walk.rollout.weight_bp, walk.rollout.frozen_by) == (Phase.FROZEN, 1, "external")
    assert walk.take(look()).rollout.phase is Phase.RAMPING
    paused = Walk().to_ramp().take(*[look()] * 4).take(Paused(), look(held("external")))
    assert (paused.rollout.phase, paused.rollout.weight_bp) == (Phase.PAUSED, 20)


def test_a_rollout_paused_before_its_first_exchange_has_nothing_to_hold() -> None:
    walk = Walk().take(Started(), Paused(), look(held("ceiling")))
    assert (walk.rollout.phase, walk.rollout.weight_bp) == (Phase.PAUSED, 0)


def test_a_frozen_canary_goes_lower_when_a_hold_comes_and_its_time_does_not_begin_again() -> None:
    walk = Walk().to_ramp().take(*[look()] * 6).take(look(saw(log(12))))
    assert (walk.rollout.weight_bp, walk.rollout.frozen_by) == (50, "suspicion")
    until = walk.rollout.phase_deadline
    walk.take(look(held("ceiling", saw(log(12)))))
    assert (walk.rollout.phase, walk.rollout.weight_bp, walk.rollout.frozen_by) == (Phase.FROZEN, 1, "ceiling")
    assert walk.rollout.phase_deadline == until
    walk.take(look(saw(log(12))))
    assert walk.rollout.frozen_by == "suspicion"
    assert walk.take(look()).rollout.phase is Phase.RAMPING


def test_a_closing_brake_does_not_thaw_what_a_hold_keeps() -> None:
    walk = Walk().to_ramp().take(BrakeOpened(), look(held("latency")), BrakeClosed())
    assert walk.rollout.phase is Phase.FROZEN
    assert walk.take(look()).rollout.phase is Phase.RAMPING


def test_a_stable_that_is_the_worse_one_need_not_be_covered() -> None:
    policy = replace(POLICY, coverage_s=600.0)
    proven = saw(verdict=Verdict.HEALTHY)
    forward = replace(proven, forward="v1 itself got worse, and v2 is proven better")
    assert Walk(policy).to_ramp().take(look(proven)).rollout.phase is Phase.RAMPING
    walk = Walk(policy).to_ramp().take(look(forward))
    assert walk.rollout.phase is Phase.PROMOTED
    assert walk.last.resolution is not None
    assert walk.last.resolution.sentence.endswith("; v1 itself got worse, and v2 is proven better.")


def test_a_promotion_says_what_it_does_not_know() -> None:
    seen = replace(saw(verdict=Verdict.HEALTHY), unverified=(Metric("timeouts"), Metric("latency")))
    walk = Walk().to_ramp().take(look(seen))
    assert walk.last.resolution is not None
    assert walk.last.resolution.sentence.endswith("by more than its margin; timeouts and latency unverified.")


LENIENT = replace(POLICY, on_deadline=OnDeadline.PROMOTE_IF_BELOW, deadline_margin=0.02)


def test_the_deadline_lets_a_bounded_canary_through_and_calls_it_not_proven() -> None:
    walk = Walk(LENIENT).to_ramp().take(look(saw(bound=0.019)), after=3_600.0)
    assert (walk.rollout.phase, walk.last.effects) == (Phase.PROMOTED, (MakeStable(CANARY, LENIENT.standby_bp),))
    assert walk.last.resolution is not None
    assert str(walk.last.resolution.trigger) == "deadline"
    assert walk.last.resolution.sentence == (
        "Promoted v2 because its time was over, not proven: at most 1.9 points more of its answers are bad "
        "than v1's, and the policy lets 2 points through."
    )


@pytest.mark.parametrize("seen", [saw(bound=0.02), saw(log_e=log(4), bound=0.001)])
def test_the_deadline_does_not_let_through_what_is_not_bounded_or_suspicious(seen: Assessment) -> None:
    assert Walk(LENIENT).to_ramp().take(look(seen), after=3_600.0).rollout.phase is Phase.EXPIRED


def test_the_deadline_lets_nobody_through_who_is_held() -> None:
    for walk in (Walk(LENIENT).to_ramp().take(Paused()), Walk(LENIENT).to_ramp().take(BrakeOpened())):
        assert walk.take(look(saw(bound=0.0)), after=3_700.0).rollout.phase is Phase.EXPIRED


def test_counts_that_cannot_be_end_the_judging_with_their_own_name() -> None:
    finding = Finding(
        Cause.COUNTS, Verdict.INVALID, None, None, "The counts of v2 and v1 cannot be: a count is negative."
    )
    walk = Walk().to_ramp().take(look(Assessment(Verdict.INVALID, (finding,), 0.0, finding.trigger)))
    assert (walk.rollout.phase, walk.rollout.weight_bp) == (Phase.INVALID, 0)
    assert walk.last.resolution is not None
    assert str(walk.last.resolution.trigger) == "counts"


def test_little_traffic_does_not_expose_more_than_the_worst_canary_may_cost() -> None:
    unknown = look(saw(per_s=0.01, bound=1.0))
    walk = Walk().to_ramp().take(*[unknown] * 20)
    assert walk.rollout.weight_bp == 2_000
    assert walk.take(*[look(saw(per_s=0.01, bound=0.4))] * 2).rollout.weight_bp == 5_000
    thrifty = Walk(replace(POLICY, max_extra_bad=2.0)).to_ramp().take(*[unknown] * 20)
    assert thrifty.rollout.weight_bp == 100


def test_an_expired_rollout_that_never_had_traffic_has_nothing_to_brake() -> None:
    walk = Walk().take(Started(), Paused()).take(look(), after=600.0)
    assert (walk.rollout.phase, walk.rollout.weight_bp) == (Phase.EXPIRED, 0)
    assert walk.take(BrakeOpened()).rollout.phase is Phase.EXPIRED


def test_a_decayed_version_gives_its_place_back_to_the_standby_with_the_figures_that_say_so() -> None:
    walk = Walk().to_ramp().take(PromotionOrdered(), Decayed("Turned v2 back: v1 would be better.", {"log_m": 16.0}))
    assert (walk.rollout.phase, walk.last.effects) == (Phase.ROLLED_BACK, (MakeStable(STABLE),))
    assert walk.last.resolution is not None
    assert (walk.last.resolution.trigger, walk.last.resolution.numbers["watch"]) == ("decay", {"log_m": 16.0})


@pytest.mark.parametrize(
    "walk", [Walk(replace(POLICY, watch_s=0.0)), Walk(POLICY, per_caller=True)], ids=["no watch", "callers keep theirs"]
)
def test_without_a_watch_and_where_callers_keep_their_version_a_promotion_leaves_no_standby(walk: Walk) -> None:
    walk.to_ramp().take(PromotionOrdered())
    assert walk.did(MakeStable(CANARY))
