"""A promotion leaves a standby; it ends by time, rollback, another rollout or hand-set weights, and says by which."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.probe import ProbeBook

from app.actions.context import ENGINE, Means
from app.actions.models import register_model, register_version
from app.actions.rollouts import order, start_rollout
from app.actions.routes import RouteChange, change_route
from app.actions.standby import record_watch
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.policy import Policy
from app.domain.catalog.routing import FULL_BP, Mirror, Route
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.rollout import Phase, PromotionOrdered, RollbackOrdered, Rollout
from app.domain.standby.monitor import EndedBy, WatchStep, judged
from app.errors import RolloutActive, StaleGeneration, TargetUnhealthy
from app.store.rollouts import decisions, rollouts, standbys
from app.store.rollouts.decisions import Decision
from app.store.rollouts.standbys import Watched
from app.store.routing import routes

FRAUD, V1, V2, V3 = ModelName("fraud"), VersionName("v1"), VersionName("v2"), VersionName("v3")
QUICK = replace(DEFAULT_POLICY, warmup_s=0.0)


async def promoted(means: Means, canary: VersionName = V2, policy: Policy = QUICK) -> Rollout:
    rollout, _ = await start_rollout(means, FRAUD, canary, policy, actor="ann", reason="a new build")
    await order(means, rollout.id, PromotionOrdered(), actor="ann", reason="now")
    return rollout


async def routed(means: Means) -> Route:
    async with means.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
    assert route is not None
    return route


async def watched(means: Means) -> Watched:
    async with means.database.transaction() as tx:
        found = await standbys.latest(tx, FRAUD)
    assert found is not None
    return found


async def recorded(means: Means, seen: Watched, step: WatchStep) -> Decision | None:
    async with means.database.transaction() as tx:
        return await record_watch(means, tx, seen, step)


async def test_a_promotion_leaves_the_version_before_a_little_traffic_and_a_watch(fraud: Means) -> None:
    rollout = await promoted(fraud, policy=replace(QUICK, standby_bp=250, watch_s=3_600.0))
    route, found = await routed(fraud), await watched(fraud)
    assert (route.stable, route.weights_bp) == (V2, {V2: 9_750, V1: 250})
    assert (found.watch.rollout_id, found.watch.stable, found.watch.standby) == (rollout.id, V2, V1)
    assert (found.began, found.generation, found.ended_by) == (route.generation, route.generation, None)
    assert found.watch.until - found.watch.started_at == timedelta(hours=1)


async def test_a_policy_without_a_watch_leaves_no_standby(fraud: Means) -> None:
    await promoted(fraud, policy=replace(QUICK, watch_s=0.0))
    assert (await routed(fraud)).weights_bp == {V2: FULL_BP}
    async with fraud.database.transaction() as tx:
        assert await standbys.latest(tx, FRAUD) is None


async def test_callers_that_keep_their_version_are_not_moved_back_by_a_standby(means: Means) -> None:
    await register_model(means, Model(FRAUD, sticky_header="x-user"), actor="ann")
    for name in (V1, V2):
        await register_version(means, Version(FRAUD, name, ("http://127.0.0.1:9000",)), actor="ann")
    await promoted(means)
    assert (await routed(means)).weights_bp == {V2: FULL_BP}


async def test_a_rollback_by_a_person_makes_the_standby_stable_and_ends_the_watch(fraud: Means) -> None:
    rollout = await promoted(fraud)
    decision = await order(fraud, rollout.id, RollbackOrdered(), actor="ann", reason="wrong after all")
    assert (await routed(fraud)).weights_bp == {V1: FULL_BP}
    found = await watched(fraud)
    assert (found.ended_by, found.ended_at) == (EndedBy.ROLLBACK, decision.at)


async def test_another_rollout_ends_the_hold_back_in_its_own_generation(fraud: Means) -> None:
    await promoted(fraud)
    before = await routed(fraud)
    newer, decision = await start_rollout(fraud, FRAUD, V3, QUICK, actor="ann", reason="next")
    route = await routed(fraud)
    assert (route.stable, route.weights_bp, route.generation) == (V2, {V2: FULL_BP}, before.generation + 1)
    assert (decision.weights_before, decision.weights_after) == ({V2: 9_900, V1: 100}, {V2: FULL_BP})
    assert (await watched(fraud)).ended_by is EndedBy.ROLLOUT
    await order(fraud, newer.id, PromotionOrdered(), actor="ann", reason="now")
    assert (await routed(fraud)).weights_bp == {V3: 9_900, V2: 100}
    assert ((await watched(fraud)).watch.standby, (await watched(fraud)).ended_by) == (V2, None)


async def test_the_standby_itself_can_be_the_next_canary(fraud: Means) -> None:
    await promoted(fraud)
    await start_rollout(fraud, FRAUD, V1, QUICK, actor="ann", reason="back, step by step")
    assert (await routed(fraud)).weights_bp == {V2: FULL_BP}


async def test_weights_by_hand_end_the_watch_and_a_mirror_does_not(fraud: Means) -> None:
    await promoted(fraud)
    await change_route(fraud, FRAUD, RouteChange(mirror=Mirror(V3, 100)), actor="ann", reason="copies")
    found = await watched(fraud)
    assert (found.ended_by, found.generation) == (None, found.began + 1)
    await change_route(fraud, FRAUD, RouteChange({V2: FULL_BP}), actor="ann", reason="all of it")
    assert (await watched(fraud)).ended_by is EndedBy.ROUTE


async def test_when_its_time_is_over_all_weight_goes_to_stable_by_a_decision_of_its_own(fraud: Means) -> None:
    rollout = await promoted(fraud)
    seen = await watched(fraud)
    decision = await recorded(fraud, seen, judged(seen.watch, seen.watch.until))
    assert decision is not None
    assert (decision.action, decision.actor, decision.trigger) == ("end_watch", ENGINE, "policy")
    assert decision.rollout_id == rollout.id
    assert (await routed(fraud)).weights_bp == {V2: FULL_BP}
    assert (await watched(fraud)).ended_by is EndedBy.TIME
    async with fraud.database.transaction() as tx:
        assert (await rollouts.rollout(tx, rollout.id)).rollout.phase is Phase.PROMOTED
        assert await standbys.listed(tx) == ()
    await order(fraud, rollout.id, RollbackOrdered(), actor="ann", reason="as late as that")
    assert (await routed(fraud)).weights_bp == {V1: FULL_BP}


def decayed(seen: Watched) -> WatchStep:
    return WatchStep(seen.watch, EndedBy.DECAY, "Turned v2 back: v1 would be better today.", None, {"log_m": 20.0})


async def test_a_decay_is_one_decision_that_makes_the_standby_stable(fraud: Means) -> None:
    rollout = await promoted(fraud)
    seen = await watched(fraud)
    decision = await recorded(fraud, seen, decayed(seen))
    assert decision is not None
    assert (decision.action, decision.actor, decision.trigger) == ("roll_back", ENGINE, "decay")
    assert (decision.weights_after, decision.generation_after) == ({V1: FULL_BP}, seen.generation + 1)
    assert decision.sentence == "Turned v2 back: v1 would be better today."
    async with fraud.database.transaction() as tx:
        assert (await rollouts.rollout(tx, rollout.id)).rollout.phase is Phase.ROLLED_BACK
        assert await decisions.decision(tx, decision.id) == decision
    assert (await watched(fraud)).ended_by is EndedBy.DECAY


async def test_a_decay_does_not_turn_back_to_a_dead_standby_and_saves_nothing(fraud: Means, probes: ProbeBook) -> None:
    await promoted(fraud)
    seen = await watched(fraud)
    probes.dead.add(V1)
    with pytest.raises(TargetUnhealthy):
        await recorded(fraud, seen, decayed(seen))
    assert (await routed(fraud)).stable == V2
    assert (await watched(fraud)).ended_by is None


@pytest.mark.parametrize("by", [EndedBy.DECAY, EndedBy.TIME, None])
async def test_a_look_that_read_before_a_person_acted_is_dropped(fraud: Means, by: EndedBy | None) -> None:
    rollout = await promoted(fraud)
    seen = await watched(fraud)
    await order(fraud, rollout.id, RollbackOrdered(), actor="ann", reason="quicker")
    after = await routed(fraud)
    with pytest.raises(StaleGeneration):
        await recorded(fraud, seen, WatchStep(seen.watch, by, "Too late."))
    assert await routed(fraud) == after
    assert (await watched(fraud)).ended_by is EndedBy.ROLLBACK


@pytest.mark.parametrize("round_", range(4))
async def test_of_an_end_by_time_a_rollback_and_a_start_at_once_the_route_and_the_watch_tell_one_story(
    fraud: Means, round_: int
) -> None:
    rollout = await promoted(fraud)
    seen = await watched(fraud)
    over = judged(seen.watch, seen.watch.until)
    rivals = [
        recorded(fraud, seen, over),
        order(fraud, rollout.id, RollbackOrdered(), actor="ann", reason="now"),
        start_rollout(fraud, FRAUD, V3, QUICK, actor="ann", reason="next"),
    ]
    outcomes = await asyncio.gather(*rivals[round_ % 3 :], *rivals[: round_ % 3], return_exceptions=True)
    failed = [each for each in outcomes if isinstance(each, BaseException)]
    assert all(isinstance(each, StaleGeneration | RolloutActive) or "superseded" in str(each) for each in failed)
    assert len(failed) < 3
    found = await watched(fraud)
    assert found.ended_by in {EndedBy.TIME, EndedBy.ROLLBACK, EndedBy.ROLLOUT}
    assert list((await routed(fraud)).weights_bp.values()) == [FULL_BP]
    async with fraud.database.transaction() as tx:
        made = sorted(each.generation_after for each in await decisions.made(tx, model=FRAUD))
    assert made == list(range(1, (await routed(fraud)).generation + 1))


async def test_only_one_process_looks_at_a_watch_at_a_time(fraud: Means) -> None:
    rollout = await promoted(fraud)
    async with fraud.database.transaction() as tx, fraud.database.transaction() as other:
        assert await standbys.claim(tx, rollout.id) is not None
        assert await standbys.claim(other, rollout.id) is None
