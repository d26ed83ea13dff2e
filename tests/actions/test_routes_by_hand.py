"""Weights by hand: always a distribution, always with a reason, never during a rollout."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from fakes.probe import ProbeBook

from app.actions.means import Means
from app.actions.rollouts import start_rollout
from app.actions.weights import set_weights
from app.domain.catalog import ModelName, VersionName
from app.domain.policy import Policy
from app.domain.routing import FULL_BP, Weights
from app.errors import InvalidInput, RolloutActive, StaleGeneration, TargetUnhealthy, UnknownVersion
from app.store import audit, decisions, routes
from app.store.decisions import Decision

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")


async def shifted(means: Means, weights_bp: Weights, reason: str = "a test", *, force: bool = False) -> Decision:
    return await set_weights(means, FRAUD, weights_bp, actor="ann", reason=reason, force=force)


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
    await start_rollout(fraud, FRAUD, V2, Policy(), actor="ann", reason="new")
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
