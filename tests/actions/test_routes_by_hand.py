"""Routes by hand: weights always a distribution, always with a reason, never during a rollout; mirrors stay."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fakes.probe import ProbeBook

from app.actions.context import Means
from app.actions.rollouts import order, start_rollout
from app.actions.routes import RouteChange, change_route
from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.routing import FULL_BP, Mirror, Route, Weights
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.rollout import PromotionOrdered
from app.errors import InvalidInput, RolloutActive, StaleGeneration, TargetUnhealthy, UnknownVersion
from app.store.rollouts import audit, decisions
from app.store.rollouts.decisions import Decision
from app.store.routing import routes

FRAUD, V1, V2, V3 = ModelName("fraud"), VersionName("v1"), VersionName("v2"), VersionName("v3")


async def shifted(means: Means, weights_bp: Weights, reason: str = "a test", *, force: bool = False) -> Decision:
    return await changed(means, RouteChange(weights_bp), reason, force=force)


async def changed(means: Means, change: RouteChange, reason: str = "a test", *, force: bool = False) -> Decision:
    return await change_route(means, FRAUD, change, actor="ann", reason=reason, force=force)


async def routed(means: Means) -> Route:
    async with means.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
    assert route is not None
    return route


async def test_a_change_is_a_generation_a_decision_and_an_audit_entry(fraud: Means) -> None:
    decision = await shifted(fraud, {V1: 9_000, V2: 1_000})
    async with fraud.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
        assert await decisions.decision(tx, decision.id) == decision
        entry, *_ = await audit.entries(tx, model=FRAUD)
    assert route is not None
    assert (route.generation, route.stable, route.weights_bp) == (2, V1, {V1: 9_000, V2: 1_000})
    assert (decision.weights_before, decision.weights_after) == ({V1: FULL_BP}, {V1: 9_000, V2: 1_000})
    assert (entry.decision_id, entry.actor, entry.reason) == (decision.id, "ann", "a test")


async def test_a_version_with_all_traffic_is_stable_whatever_it_was(fraud: Means) -> None:
    await shifted(fraud, {V2: FULL_BP})
    async with fraud.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
    assert route is not None
    assert (route.stable, route.weights_bp) == (V2, {V2: FULL_BP})


@pytest.mark.parametrize("reason", ["", "   ", "\n", "x" * 501])
async def test_no_reason_no_change(fraud: Means, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await shifted(fraud, {V1: FULL_BP}, reason)
    assert refused.value.field == "/reason"


async def test_weights_that_are_no_distribution_are_refused(fraud: Means) -> None:
    with pytest.raises(InvalidInput):
        await shifted(fraud, {V1: 9_000})
    with pytest.raises(UnknownVersion):
        await shifted(fraud, {V1: 9_000, VersionName("v9"): 1_000})


async def test_a_version_that_does_not_answer_gets_no_traffic_unless_forced(fraud: Means, probes: ProbeBook) -> None:
    probes.dead.add(V2)
    with pytest.raises(TargetUnhealthy):
        await shifted(fraud, {V1: 9_000, V2: 1_000})
    await shifted(fraud, {V1: 9_000, V2: 1_000}, force=True)


async def test_weights_are_not_set_by_hand_while_a_rollout_runs(fraud: Means) -> None:
    await start_rollout(fraud, FRAUD, V2, DEFAULT_POLICY, actor="ann", reason="new")
    with pytest.raises(RolloutActive):
        await shifted(fraud, {V1: FULL_BP})


async def test_of_changes_at_once_one_wins_per_generation(fraud: Means) -> None:
    tried = await asyncio.gather(
        *(shifted(fraud, {V1: FULL_BP - n, V2: n}) for n in range(1, 9)), return_exceptions=True
    )
    won = [each for each in tried if isinstance(each, Decision)]
    assert won
    assert all(isinstance(each, Decision | StaleGeneration) for each in tried)
    async with fraud.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
        history = await routes.generations(tx, FRAUD, 1)
    assert route is not None
    assert route.generation == 1 + len(won)
    assert [each.generation for each in history] == list(range(1, route.generation + 1))
    assert [each.at for each in history] == sorted(each.at for each in history)


async def test_live_says_what_was_in_force_at_any_time(fraud: Means) -> None:
    before = datetime.now(UTC) - timedelta(days=1)
    first = await shifted(fraud, {V1: 9_000, V2: 1_000})
    second = await shifted(fraud, {V1: 5_000, V2: 5_000})
    async with fraud.database.transaction() as tx:
        assert await routes.live(tx, FRAUD, before) is None
        for at, generation in ((first.at, 2), (second.at - timedelta(microseconds=1), 2), (second.at, 3)):
            live = await routes.live(tx, FRAUD, at)
            assert live is not None
            assert live.generation == generation
        assert await decisions.of_generation(tx, FRAUD, 3) == second


async def test_a_mirror_is_set_and_ended_without_touching_a_weight_and_each_is_a_generation(fraud: Means) -> None:
    await shifted(fraud, {V1: 9_000, V2: 1_000})
    before = await routed(fraud)
    made = await changed(fraud, RouteChange(mirror=Mirror(V2, 2_500)))
    assert await routed(fraud) == replace(before, generation=3, mirror=Mirror(V2, 2_500))
    assert (made.action, made.generation_after, made.weights_after) == ("set_mirror", 3, before.weights_bp)
    assert made.sentence == "Changed the route of fraud by order: copies of 25 % of the requests go to v2."
    ended = await changed(fraud, RouteChange(ends_mirror=True))
    assert await routed(fraud) == replace(before, generation=4)
    assert (ended.action, ended.sentence) == (
        "end_mirror",
        "Changed the route of fraud by order: v2 gets no more copies.",
    )
    async with fraud.database.transaction() as tx:
        entry, *_ = await audit.entries(tx, model=FRAUD)
    assert (entry.action, entry.decision_id) == ("end_mirror", ended.id)


async def test_weights_and_mirror_change_together_in_one_generation(fraud: Means) -> None:
    decision = await changed(fraud, RouteChange({V1: 5_000, V2: 5_000}, Mirror(V3, 100)))
    route = await routed(fraud)
    assert (route.generation, route.weights_bp, route.mirror) == (2, {V1: 5_000, V2: 5_000}, Mirror(V3, 100))
    assert decision.action == "set_weights"
    assert "weights v1 50 %, v2 50 %; copies of 1 % of the requests go to v3" in decision.sentence


async def test_a_mirror_stays_while_weights_change_and_ends_when_its_version_becomes_stable(fraud: Means) -> None:
    await changed(fraud, RouteChange(mirror=Mirror(V2, 100)))
    await shifted(fraud, {V1: 5_000, V2: 5_000})
    assert (await routed(fraud)).mirror == Mirror(V2, 100)
    decision = await shifted(fraud, {V2: FULL_BP})
    assert ((await routed(fraud)).stable, (await routed(fraud)).mirror) == (V2, None)
    assert "v2 gets no more copies" in decision.sentence


async def test_a_mirror_stays_through_a_rollout_and_ends_with_the_promotion_of_its_version(fraud: Means) -> None:
    for canary, left in ((V2, Mirror(V3, 100)), (V3, None)):
        await changed(fraud, RouteChange(mirror=Mirror(V3, 100)))
        rollout, _ = await start_rollout(fraud, FRAUD, canary, DEFAULT_POLICY, actor="ann", reason="new")
        assert (await routed(fraud)).mirror == Mirror(V3, 100)
        decision = await order(fraud, rollout.id, PromotionOrdered(), actor="ann", reason="now")
        assert (await routed(fraud)).mirror == left
        assert decision.sentence.endswith("it gets no more copies.") is (left is None)


async def test_no_mirror_is_set_while_a_rollout_runs_or_on_stable_or_on_nobody(fraud: Means) -> None:
    with pytest.raises(InvalidInput) as refused:
        await changed(fraud, RouteChange(mirror=Mirror(V1, 100)))
    assert refused.value.field == "/mirror/version"
    with pytest.raises(UnknownVersion):
        await changed(fraud, RouteChange(mirror=Mirror(VersionName("v9"), 100)))
    with pytest.raises(InvalidInput):
        await changed(fraud, RouteChange())
    await start_rollout(fraud, FRAUD, V2, DEFAULT_POLICY, actor="ann", reason="new")
    with pytest.raises(RolloutActive):
        await changed(fraud, RouteChange(mirror=Mirror(V3, 100)))


async def test_a_mirror_need_not_answer_its_probe(fraud: Means, probes: ProbeBook) -> None:
    probes.dead.add(V2)
    await changed(fraud, RouteChange(mirror=Mirror(V2, 100)))
    assert (await routed(fraud)).mirror == Mirror(V2, 100)
