"""A look goes by its sight and the clock alone, and hears the brake before the evidence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from domain.counts import arm

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.evidence import EpochCounts
from app.domain.evidence.tally import Tally
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.evaluation import Sight, judge
from app.domain.rollout.rollout import Action, Phase, Rollout, RolloutId, Started, begin
from app.domain.rollout.transitions import advance

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
FAILING = {1: EpochCounts(arm(30, 30), arm(900))}


def warming() -> Rollout:
    policy = replace(DEFAULT_POLICY, warmup_s=0.0)
    pending = begin(RolloutId("r1"), ModelName("fraud"), VersionName("v1"), VersionName("v2"), policy, Tally(), NOON)
    return advance(pending, Started(), NOON).rollout


def ramping() -> Rollout:
    return judge(Sight(warming(), canary_ready=True), NOON).transition.rollout


def failing(rollout: Rollout) -> Rollout:
    """The same with evidence that turns it back."""
    return replace(rollout, evidence=replace(rollout.evidence, by_weight=FAILING))


def test_the_same_sight_at_the_same_time_is_judged_the_same() -> None:
    sight = Sight(failing(ramping()))
    assert judge(sight, NOON) == judge(sight, NOON)
    assert judge(sight, NOON).transition.rollout.phase is Phase.ROLLED_BACK


def test_only_a_canary_that_answers_its_probe_is_exposed() -> None:
    for ready in (None, False):
        assert judge(Sight(warming(), canary_ready=ready), NOON).transition.rollout == warming()
    assert ramping().phase is Phase.RAMPING


def test_what_the_brake_decides_is_not_decided_again_by_evidence() -> None:
    made = judge(Sight(failing(ramping()), braked=True), NOON).transition
    assert made.resolution is not None
    assert (made.rollout.phase, made.resolution.trigger) == (Phase.FROZEN, "brake")


def test_a_brake_that_is_still_open_leaves_the_word_to_evidence() -> None:
    frozen = judge(Sight(ramping(), braked=True), NOON).transition.rollout
    soon = NOON + timedelta(seconds=2)
    quiet = judge(Sight(frozen, braked=True), soon).transition
    assert (quiet.rollout.phase, quiet.resolution) == (Phase.FROZEN, None)
    loud = judge(Sight(failing(frozen), braked=True), soon).transition
    assert (loud.rollout.phase, loud.rollout.brake_open_since) == (Phase.ROLLED_BACK, NOON)


def test_a_brake_that_closed_is_heard_once() -> None:
    frozen = judge(Sight(ramping(), braked=True), NOON).transition.rollout
    thawed = judge(Sight(frozen), NOON).transition
    assert thawed.resolution is not None
    assert (thawed.resolution.action, thawed.rollout.phase) == (Action.THAW, Phase.RAMPING)
    assert thawed.rollout.brake_open_since is None


def test_a_brake_that_closes_on_a_canary_without_traffic_lets_it_be_exposed() -> None:
    braked = judge(Sight(warming(), braked=True), NOON).transition.rollout
    assert (braked.phase, braked.brake_open_since) == (Phase.WARMING, NOON)
    exposed = judge(Sight(braked, canary_ready=True), NOON).transition.rollout
    assert (exposed.phase, exposed.brake_open_since) == (Phase.RAMPING, None)
