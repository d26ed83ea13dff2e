"""Rollouts through Postgres: one at a time, races decided by the generation, rollback before promotion."""

import asyncio
import time
import uuid
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace

import pytest
from fakes.probe import ProbeBook

from app.actions.context import ENGINE, Means
from app.actions.rollouts import order, record_assessment, start_rollout
from app.actions.routes import RouteChange, change_route
from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.routing import FULL_BP, Route, Weights
from app.domain.evidence.evidence import absorb
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, Watermark
from app.domain.guardrails.assess import assess
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.evaluation import Sight, judge
from app.domain.rollout.rollout import (
    Aborted,
    Action,
    Assessed,
    Event,
    Paused,
    Phase,
    PromotionOrdered,
    Resumed,
    RollbackOrdered,
    Rollout,
    RolloutId,
)
from app.domain.rollout.transitions import advance
from app.errors import (
    IllegalTransition,
    InvalidInput,
    RolloutActive,
    StaleGeneration,
    TargetUnhealthy,
    TurnbackError,
    UnknownRollout,
    UnknownVersion,
)
from app.store.evidence import tallies
from app.store.pg.codec import as_json
from app.store.pg.database import Transaction
from app.store.rollouts import decisions, rollouts
from app.store.rollouts.decisions import Decision
from app.store.rollouts.rollouts import Seen
from app.store.routing import replicas, routes

FRAUD, V1, V2, V3 = ModelName("fraud"), VersionName("v1"), VersionName("v2"), VersionName("v3")
QUICK = replace(DEFAULT_POLICY, warmup_s=0.0)


async def started(means: Means, canary: VersionName = V2) -> Rollout:
    rollout, _ = await start_rollout(means, FRAUD, canary, QUICK, actor="ann", reason="a new build")
    return rollout


async def ordered(means: Means, rollout: Rollout, event: Event, *, force: bool = False) -> Decision:
    return await order(means, rollout.id, event, actor="ann", reason="a test", force=force)


async def routed(means: Means) -> Route:
    async with means.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
    assert route is not None
    return route


async def ticked(means: Means, rollout: Rollout) -> Decision | None:
    """One tick of the engine without new evidence; the canary answers."""
    async with means.database.transaction() as tx:
        seen = await rollouts.claim(tx, rollout.id)
        assert seen is not None
        sight = Sight(seen.rollout, canary_ready=True)
        return await record_assessment(means, tx, seen, sight, judge(sight, seen.at).transition)


async def record_braked(means: Means, tx: Transaction, seen: Seen, judged: Rollout) -> Decision | None:
    """One tick while a replica refuses the canary."""
    sight = Sight(judged, braked=True)
    return await record_assessment(means, tx, seen, sight, judge(sight, seen.at).transition)


async def test_a_start_changes_no_weight_but_is_a_generation_with_its_decision(fraud: Means) -> None:
    rollout, decision = await start_rollout(fraud, FRAUD, V2, QUICK, actor="ann", reason="a new build")
    route = await routed(fraud)
    assert (rollout.phase, rollout.weight_bp) == (Phase.WARMING, 0)
    assert (route.generation, route.weights_bp) == (2, {V1: FULL_BP})
    assert (decision.action, decision.reason, decision.rollout_id) == ("start", "a new build", rollout.id)
    async with fraud.database.transaction() as tx:
        seen = await rollouts.rollout(tx, rollout.id)
        assert await decisions.decision(tx, decision.id) == decision
    assert (seen.rollout, seen.generation, seen.started_generation) == (rollout, 2, 2)
    assert decision.evidence["policy"] == as_json(QUICK)


async def test_a_start_knows_what_stable_did_in_the_hour_before(fraud: Means) -> None:
    now = int(time.time())
    boot = str(uuid.uuid4())
    bad = Tally(1_000, {Outcome.OK: 900, Outcome.UPSTREAM_ERROR: 100}, 0, {300: 1_000})
    async with fraud.database.transaction() as tx:
        for second in (now - 10, now - 7_200):
            await tallies.upsert(tx, boot, [TallyRow(TallyKey(second, FRAUD, 1, V1), bad, 1)])
    rollout = await started(fraud)
    assert rollout.evidence.error_reference == pytest.approx(0.1)
    assert (await routed(fraud)).latency_horizon_ms == rollout.evidence.latency_horizon_ms


async def test_the_latency_horizon_is_the_longest_first_byte_timeout_until_thresholds_exist(fraud: Means) -> None:
    await started(fraud)
    assert (await routed(fraud)).latency_horizon_ms == 30_000


@pytest.mark.parametrize(("canary", "error"), [(V1, InvalidInput), (VersionName("v9"), UnknownVersion)])
async def test_a_canary_must_be_another_registered_version(
    fraud: Means, canary: VersionName, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await started(fraud, canary)


async def test_every_start_makes_a_salt_of_its_own_and_no_step_another(fraud: Means) -> None:
    salts = [(await routed(fraud)).salt]
    for canary in (V2, V3):
        rollout = await started(fraud, canary)
        start = await routed(fraud)
        assert start.salted_at == start.generation
        await ticked(fraud, rollout)
        await ordered(fraud, rollout, Paused())
        await ordered(fraud, rollout, Resumed())
        running = await routed(fraud)
        assert running.weights_bp[canary] > 0
        assert (running.salt, running.salted_at) == (start.salt, start.generation)
        await ordered(fraud, rollout, RollbackOrdered())
        assert ((await routed(fraud)).salt, (await routed(fraud)).salted_at) == (start.salt, 0)
        salts.append(start.salt)
    assert {len(salt) for salt in salts} == {16}
    assert len(set(salts)) == len(salts)


async def test_a_stable_that_does_not_answer_is_no_way_back_so_nothing_starts(fraud: Means, probes: ProbeBook) -> None:
    probes.dead.add(V1)
    with pytest.raises(TargetUnhealthy):
        await started(fraud)


async def test_of_two_starts_at_once_one_runs_and_the_other_hears_so(fraud: Means) -> None:
    for _ in range(5):
        tried = await asyncio.gather(started(fraud, V2), started(fraud, V3), return_exceptions=True)
        won = [each for each in tried if isinstance(each, Rollout)]
        assert len(won) == 1, tried
        assert sum(isinstance(each, RolloutActive | StaleGeneration) for each in tried) == 1
        with pytest.raises(RolloutActive):
            await started(fraud, V3)
        await ordered(fraud, won[0], Aborted())


@pytest.mark.parametrize(
    ("event", "phase", "action", "weights_bp"),
    [
        (PromotionOrdered(), Phase.PROMOTED, "promote", {V2: 9_900, V1: 100}),
        (RollbackOrdered(), Phase.ROLLED_BACK, "roll_back", {V1: FULL_BP}),
        (Aborted(), Phase.ABORTED, "abort", {V1: FULL_BP}),
    ],
)
async def test_an_order_ends_a_rollout(
    fraud: Means, event: Event, phase: Phase, action: str, weights_bp: Weights
) -> None:
    rollout = await started(fraud)
    await ticked(fraud, rollout)
    assert (await routed(fraud)).weights_bp[V2] > 0
    decision = await ordered(fraud, rollout, event)
    route = await routed(fraud)
    assert (decision.action, decision.actor, decision.trigger) == (action, "ann", "operator")
    assert (route.stable, route.weights_bp) == (next(iter(weights_bp)), weights_bp)
    async with fraud.database.transaction() as tx:
        assert (await rollouts.rollout(tx, rollout.id)).rollout.phase is phase
        assert await rollouts.active(tx) == ([], {})
    assert (await started(fraud, V3)).phase is Phase.WARMING


async def test_a_pause_holds_the_weight_and_a_resume_goes_on(fraud: Means) -> None:
    rollout = await started(fraud)
    await ticked(fraud, rollout)
    weights = (await routed(fraud)).weights_bp
    await ordered(fraud, rollout, Paused())
    assert await ticked(fraud, rollout) is None
    assert (await routed(fraud)).weights_bp == weights
    await ordered(fraud, rollout, Resumed())
    async with fraud.database.transaction() as tx:
        made = await decisions.made(tx, model=FRAUD)
    assert [decision.action for decision in made] == ["resume", "pause", "advance", "start", "register"]
    assert made[2].actor == ENGINE


async def test_an_illegal_order_changes_nothing(fraud: Means) -> None:
    rollout = await started(fraud)
    before = await routed(fraud)
    with pytest.raises(IllegalTransition):
        await ordered(fraud, rollout, Resumed())
    assert await routed(fraud) == before


@pytest.mark.parametrize("unknown", ["nonsense", "", "0198c0de-0000-7000-8000-000000000000"])
async def test_an_unknown_rollout_is_not_found(fraud: Means, unknown: str) -> None:
    with pytest.raises(UnknownRollout):
        await order(fraud, RolloutId(unknown), Paused(), actor="ann", reason="a test")


async def test_traffic_does_not_return_to_a_dead_stable_unless_forced(fraud: Means, probes: ProbeBook) -> None:
    rollout = await started(fraud)
    await ticked(fraud, rollout)
    probes.dead.add(V1)
    with pytest.raises(TargetUnhealthy):
        await ordered(fraud, rollout, RollbackOrdered())
    assert (await routed(fraud)).weights_bp[V2] > 0
    await ordered(fraud, rollout, RollbackOrdered(), force=True)
    assert (await routed(fraud)).weights_bp == {V1: FULL_BP}


async def test_a_dead_canary_is_not_promoted(fraud: Means, probes: ProbeBook) -> None:
    rollout = await started(fraud)
    probes.dead.add(V2)
    with pytest.raises(TargetUnhealthy):
        await ordered(fraud, rollout, PromotionOrdered())


async def test_a_promotion_can_be_turned_back_until_something_newer_happens(fraud: Means) -> None:
    rollout = await started(fraud)
    await ordered(fraud, rollout, PromotionOrdered())
    assert (await routed(fraud)).stable == V2
    await ordered(fraud, rollout, RollbackOrdered())
    assert (await routed(fraud)).weights_bp == {V1: FULL_BP}
    again = await started(fraud)
    await ordered(fraud, again, PromotionOrdered())
    newer = await started(fraud, V3)
    with pytest.raises(IllegalTransition):
        await ordered(fraud, again, RollbackOrdered())
    await ordered(fraud, newer, Aborted())


async def test_turning_back_an_old_rollout_does_not_touch_the_running_one(fraud: Means) -> None:
    old = await started(fraud)
    await ordered(fraud, old, RollbackOrdered())
    running = await started(fraud, V3)
    await ticked(fraud, running)
    before = await routed(fraud)
    await ordered(fraud, old, RollbackOrdered())
    assert await routed(fraud) == replace(before, generation=before.generation + 1)
    await ordered(fraud, running, Paused())


async def outcome(change: Awaitable[Decision]) -> Decision | TurnbackError:
    try:
        return await change
    except TurnbackError as refused:
        return refused


@pytest.mark.parametrize("round_", range(8))
async def test_a_rollback_that_races_a_promotion_and_a_pause_always_happens(fraud: Means, round_: int) -> None:
    rollout = await started(fraud)
    await ticked(fraud, rollout)
    rivals: list[Event] = [PromotionOrdered(), RollbackOrdered(), Paused()]
    rivals = rivals[round_ % 3 :] + rivals[: round_ % 3]
    outcomes = await asyncio.gather(*(outcome(ordered(fraud, rollout, rival)) for rival in rivals))
    rollback = outcomes[rivals.index(RollbackOrdered())]
    assert isinstance(rollback, Decision), rollback
    assert all(isinstance(each, Decision | StaleGeneration | IllegalTransition) for each in outcomes)
    route = await routed(fraud)
    async with fraud.database.transaction() as tx:
        history = [each.generation for each in await routes.generations(tx, FRAUD, 1)]
        made = sorted(each.generation_after for each in await decisions.made(tx, model=FRAUD))
        ended = (await rollouts.rollout(tx, rollout.id)).rollout
    assert history == made == list(range(1, route.generation + 1))
    # A promotion may come after the rollback was read, never after it was written.
    assert (route.weights_bp, ended.phase) == ({V1: FULL_BP}, Phase.ROLLED_BACK)


@pytest.mark.parametrize("round_", range(4))
async def test_a_persons_pause_happens_though_the_engine_decides_at_the_same_moment(fraud: Means, round_: int) -> None:
    rollout = await started(fraud)
    await ticked(fraud, rollout)

    async def engine() -> None:
        with suppress(StaleGeneration):
            async with fraud.database.transaction() as tx:
                seen = await rollouts.rollout(tx, rollout.id)
                if seen.rollout.phase is not Phase.PAUSED:
                    await record_braked(fraud, tx, seen, seen.rollout)

    _, paused = await asyncio.gather(engine(), ordered(fraud, rollout, Paused()))
    assert paused.action == Action.PAUSE
    async with fraud.database.transaction() as tx:
        assert (await rollouts.rollout(tx, rollout.id)).rollout.phase is Phase.PAUSED


async def test_a_tick_that_read_before_a_person_acted_is_dropped(fraud: Means) -> None:
    rollout = await started(fraud)
    async with fraud.database.transaction() as tx:
        seen = await rollouts.rollout(tx, rollout.id)
    await ordered(fraud, rollout, RollbackOrdered())
    quiet = advance(seen.rollout, Assessed(assess(seen.rollout.evidence, QUICK)), seen.at)
    loud = advance(seen.rollout, Assessed(assess(seen.rollout.evidence, QUICK), canary_ready=True), seen.at)
    for stale in (replace(quiet, resolution=None, effects=()), loud):
        with pytest.raises(StaleGeneration):
            async with fraud.database.transaction() as tx:
                await record_assessment(fraud, tx, seen, Sight(seen.rollout), stale)
    async with fraud.database.transaction() as tx:
        assert (await rollouts.rollout(tx, rollout.id)).rollout.phase is Phase.ROLLED_BACK


async def test_the_engine_does_not_turn_back_to_a_dead_stable_and_saves_nothing(
    fraud: Means, probes: ProbeBook
) -> None:
    rollout = await started(fraud)
    await ticked(fraud, rollout)
    probes.dead.add(V1)
    async with fraud.database.transaction() as tx:
        seen = await rollouts.rollout(tx, rollout.id)
    back = advance(seen.rollout, RollbackOrdered(), seen.at)
    with pytest.raises(TargetUnhealthy):
        async with fraud.database.transaction() as tx:
            await record_assessment(fraud, tx, seen, Sight(seen.rollout), back)
    async with fraud.database.transaction() as tx:
        assert (await rollouts.rollout(tx, rollout.id)).rollout == seen.rollout


async def test_only_one_process_judges_a_rollout_at_a_time(fraud: Means) -> None:
    rollout = await started(fraud)
    async with fraud.database.transaction() as tx, fraud.database.transaction() as other:
        assert await rollouts.claim(tx, rollout.id) is not None
        assert await rollouts.claim(other, rollout.id) is None
    async with fraud.database.transaction() as tx:
        assert await rollouts.claim(tx, rollout.id) is not None


async def test_evidence_that_was_read_comes_back_bit_for_bit(fraud: Means) -> None:
    rollout = await started(fraud)
    await ticked(fraud, rollout)
    boot, now = str(uuid.uuid4()), rollout.evidence.started_s
    generation = (await routed(fraud)).generation
    rows = [
        TallyRow(TallyKey(now + n, FRAUD, generation, arm), Tally(7, {Outcome.OK: 6, Outcome.TIMEOUT: 1}, 0, {9: 7}), 1)
        for n in range(3)
        for arm in (V1, V2)
    ]
    mature = Watermark(now + 2, now + 1)
    async with fraud.database.transaction() as tx:
        await tallies.upsert(tx, boot, rows)
        await replicas.beat(tx, boot, "proxy", mature, 1, [replicas.Brake(FRAUD, V2)])
        assert await replicas.open_brakes(tx) == {(FRAUD, V2)}
        seen = await rollouts.rollout(tx, rollout.id)
        read = await tallies.mature(tx, FRAUD, (V1, V2), now - 1, mature)
        weights = await routes.canary_weights(tx, FRAUD, V2, seen.started_generation)
        evidence = absorb(seen.rollout.evidence, read, weights, mature)
        judged = replace(seen.rollout, evidence=evidence)
        assert await record_braked(fraud, tx, seen, judged) is not None
    async with fraud.database.transaction() as tx:
        again = (await rollouts.rollout(tx, rollout.id)).rollout
    assert again.evidence == evidence
    assert again.phase is Phase.FROZEN
    assert again.evidence.by_weight[(await weights_of(fraud, generation))].canary.drawn == 21


async def weights_of(means: Means, generation: int) -> int:
    async with means.database.transaction() as tx:
        return (await routes.canary_weights(tx, FRAUD, V2, generation))[generation]


async def test_a_hand_set_split_ends_where_a_rollout_begins(fraud: Means) -> None:
    await change_route(fraud, FRAUD, RouteChange({V1: 5_000, V3: 5_000}), actor="ann", reason="half")
    await started(fraud)
    assert (await routed(fraud)).weights_bp == {V1: FULL_BP}
