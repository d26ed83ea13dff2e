"""A rollback calls back what the version answered: with its rollout's generations, in the order of commits."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.actions.context import Means
from app.actions.models import register_model, register_version
from app.actions.recalls import DRAIN, call_back_by_order, tell_recall
from app.actions.rollouts import order, record_assessment, start_rollout
from app.actions.standby import record_watch
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.evaluation import Sight, judge
from app.domain.rollout.rollout import Aborted, Event, PromotionOrdered, RollbackOrdered, Rollout
from app.domain.standby.monitor import EndedBy, WatchStep
from app.errors import InvalidInput, StaleGeneration, UnknownRecall, UnknownVersion
from app.store.evidence import tallies
from app.store.rollouts import audit, recalls, rollouts, standbys
from app.store.rollouts.decisions import Decision
from app.store.rollouts.recalls import Place, Recall, RecallId
from app.store.routing import routes

FRAUD, V1, V2, V3 = ModelName("fraud"), VersionName("v1"), VersionName("v2"), VersionName("v3")
QUICK = replace(DEFAULT_POLICY, warmup_s=0.0)
BOOT = "0" * 32


async def started(means: Means, model: ModelName = FRAUD) -> Rollout:
    rollout, _ = await start_rollout(means, model, V2, QUICK, actor="ann", reason="new")
    return rollout


async def exposed(means: Means, model: ModelName = FRAUD) -> Rollout:
    """A canary with its first traffic."""
    rollout = await started(means, model)
    async with means.database.transaction() as tx:
        seen = await rollouts.claim(tx, rollout.id)
        assert seen is not None
        sight = Sight(seen.rollout, canary_ready=True)
        await record_assessment(means, tx, seen, sight, judge(sight, seen.at).transition)
    return rollout


async def ordered(means: Means, rollout: Rollout, event: Event) -> Decision:
    return await order(means, rollout.id, event, actor="ann", reason="a test")


async def all_recalls(means: Means) -> tuple[Recall, ...]:
    async with means.database.transaction() as tx:
        return await recalls.made(tx)


async def generation(means: Means) -> int:
    async with means.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
    assert route is not None
    return route.generation


async def answer(
    means: Means, second: int, generation_: int, version: VersionName = V2, *, labelled: bool = False, key: str = "k"
) -> str:
    """One stored answer; returns its exchange."""
    exchange = uuid4()
    values = {
        "exchange": exchange,
        "second": second,
        "version": version,
        "generation": generation_,
        "key": key,
        "predictions": json.dumps([0.5, "late"]),
    }
    async with means.database.transaction() as tx:
        await tx.execute(
            text(
                """
                INSERT INTO answers (exchange, second, model, version, generation, sampled, request_id, client_key,
                                     status, predictions, scores, slices)
                VALUES (:exchange, :second, 'fraud', :version, :generation, true, 'r', :key, 200,
                        CAST(:predictions AS jsonb), '[0.25]', '{"carrier": "AA"}')
                """
            ),
            values,
        )
        if labelled:
            await tx.execute(
                text(
                    """
                    INSERT INTO labels (exchange, metric, source, revision, second, model, version, generation, label,
                                        slices, received_at)
                    VALUES (:exchange, 'accuracy', 's', 0, :second, 'fraud', :version, :generation, '1', '{}', now())
                    """
                ),
                {name: values[name] for name in ("exchange", "second", "version", "generation")},
            )
    return exchange.hex


async def test_a_rollback_of_an_exposed_canary_calls_back_its_rollout(fraud: Means) -> None:
    rollout = await exposed(fraud)
    decision = await ordered(fraud, rollout, RollbackOrdered())
    (recall,) = await all_recalls(fraud)
    assert (recall.model, recall.version, recall.decision_id) == (FRAUD, V2, decision.id)
    assert recall.reason == f"{decision.sentence} a test"
    assert (recall.since_generation, recall.until_generation) == (2, decision.generation_before)
    async with fraud.database.transaction() as tx:
        began = (await rollouts.rollout(tx, rollout.id)).rollout.first_exposed_at
        assert await recalls.recall(tx, recall.id) == recall
        assert await recalls.of_decision(tx, decision.id) == recall
    assert began is not None
    assert recall.since_s == int(began.timestamp())
    assert recall.until_s == int((recall.at + DRAIN).timestamp())


async def test_who_never_had_traffic_and_who_is_aborted_is_not_called_back(fraud: Means) -> None:
    await ordered(fraud, await started(fraud), RollbackOrdered())
    rollout = await exposed(fraud)
    await ordered(fraud, rollout, Aborted())
    await ordered(fraud, rollout, RollbackOrdered())
    assert await all_recalls(fraud) == ()


async def test_a_second_rollback_of_the_same_rollout_calls_nothing_back_again(fraud: Means) -> None:
    rollout = await exposed(fraud)
    for _ in range(2):
        await ordered(fraud, rollout, RollbackOrdered())
    assert len(await all_recalls(fraud)) == 1


@pytest.mark.parametrize("by_engine", [True, False])
async def test_a_promoted_version_that_is_turned_back_is_called_back(fraud: Means, by_engine: bool) -> None:
    rollout = await started(fraud)
    await ordered(fraud, rollout, PromotionOrdered())
    if by_engine:
        async with fraud.database.transaction() as tx:
            seen = await standbys.latest(tx, FRAUD)
            assert seen is not None
            step = WatchStep(seen.watch, EndedBy.DECAY, "Turned v2 back: v1 would be better today.")
            await record_watch(fraud, tx, seen, step)
    else:
        await ordered(fraud, rollout, RollbackOrdered())
    (recall,) = await all_recalls(fraud)
    assert (recall.version, recall.since_generation, recall.until_generation) == (V2, 2, 3)
    assert recall.since_s == int(rollout.started_at.timestamp())


async def test_a_rollback_that_is_not_committed_calls_nothing_back(fraud: Means) -> None:
    rollout = await exposed(fraud)
    async with fraud.database.transaction() as tx:
        seen = await rollouts.rollout(tx, rollout.id)
    sight = Sight(seen.rollout, braked=True)
    await ordered(fraud, rollout, RollbackOrdered())
    with pytest.raises(StaleGeneration):
        async with fraud.database.transaction() as tx:
            await record_assessment(fraud, tx, seen, sight, judge(sight, seen.at).transition)
    assert len(await all_recalls(fraud)) == 1


async def test_the_list_holds_what_the_rollout_answered_and_nothing_else(fraud: Means) -> None:
    rollout = await exposed(fraud)
    running = await generation(fraud)
    now = int(rollout.started_at.timestamp())
    wanted = [
        await answer(fraud, now + 1, running, labelled=True),
        await answer(fraud, now + 1, 0, key="an operator chose it"),
        await answer(fraud, now + 3, running),
    ]
    await answer(fraud, now + 1, running, V1)
    await answer(fraud, now + 1, running - 2)
    await answer(fraud, now - 3_600, running)
    await ordered(fraud, rollout, RollbackOrdered())
    late = await answer(fraud, now + 60, running, key="its replica had not heard")
    await answer(fraud, now + 60, await generation(fraud), key="of the next rollout")
    (recall,) = await all_recalls(fraud)
    async with fraud.database.transaction() as tx:
        listed = await recalls.answers(tx, recall, limit=10)
        counted = await recalls.counted(tx, recall)
    assert {each.exchange for each in listed} == {*wanted, late}
    assert [each.second for each in listed] == sorted(each.second for each in listed)
    assert counted.listed == 4
    first = next(each for each in listed if each.exchange == wanted[0])
    assert (first.is_labelled, first.predictions, first.scores, first.slices) == (
        True,
        (0.5, "late"),
        (0.25,),
        {"carrier": "AA"},
    )
    assert sum(each.is_labelled for each in listed) == 1


async def test_pages_of_any_size_give_the_same_list(fraud: Means) -> None:
    rollout = await exposed(fraud)
    running, now = await generation(fraud), int(rollout.started_at.timestamp())
    for second in (1, 1, 1, 2, 3, 3, 3):
        await answer(fraud, now + second, running)
    await ordered(fraud, rollout, RollbackOrdered())
    (recall,) = await all_recalls(fraud)
    async with fraud.database.transaction() as tx:
        whole = await recalls.answers(tx, recall, limit=100)
        for size in (1, 2, 3, 7):
            read: list[recalls.RecalledAnswer] = []
            after: Place | None = None
            while page := await recalls.answers(tx, recall, limit=size, after=after):
                read += page
                after = page[-1].place
            assert tuple(read) == whole
    assert len(whole) == 7


async def test_what_was_given_is_counted_from_the_tallies_of_the_rollout(fraud: Means) -> None:
    rollout = await exposed(fraud)
    running, now = await generation(fraud), int(rollout.started_at.timestamp())
    tally = Tally(10, {Outcome.OK: 5, Outcome.CLIENT_ERROR: 1, Outcome.UPSTREAM_ERROR: 2, Outcome.TIMEOUT: 1}, 3)
    async with fraud.database.transaction() as tx:
        rows = [
            TallyRow(TallyKey(now + 1, FRAUD, generation_, version), tally, 1)
            for generation_, version in ((running, V2), (1, V2), (running, V1))
        ]
        await tallies.upsert(tx, BOOT, rows)
    await ordered(fraud, rollout, RollbackOrdered())
    (recall,) = await all_recalls(fraud)
    async with fraud.database.transaction() as tx:
        assert await recalls.counted(tx, recall) == (9, 3, 0)


# ------------------------------------------------------------------ by order


async def called(means: Means, version: VersionName = V2, **span: object) -> Recall:
    asked = {"since": None, "until": None, **span}
    return await call_back_by_order(means, FRAUD, version, actor="ann", reason="a wrong feature", **asked)  # type: ignore[arg-type]


async def test_a_person_calls_back_from_the_first_traffic_until_now_and_the_audit_knows(fraud: Means) -> None:
    rollout = await exposed(fraud)
    await ordered(fraud, rollout, Aborted())
    recall = await called(fraud)
    async with fraud.database.transaction() as tx:
        first = (await rollouts.rollout(tx, rollout.id)).rollout.first_exposed_at
        entry, *_ = await audit.entries(tx, model=FRAUD)
    assert first is not None
    assert (recall.since_s, recall.until_s) == (int(first.timestamp()), int(recall.at.timestamp()))
    assert (recall.decision_id, recall.since_generation) == (None, None)
    assert (entry.action, entry.actor, entry.version, entry.reason) == ("recall", "ann", V2, "a wrong feature")


async def test_a_recall_by_order_must_name_a_version_and_a_time_that_can_be(fraud: Means) -> None:
    with pytest.raises(UnknownVersion):
        await called(fraud, VersionName("v9"))
    with pytest.raises(InvalidInput) as refused:
        await called(fraud, V3)
    assert refused.value.field == "/since"
    recall = await called(fraud, V1)
    with pytest.raises(InvalidInput):
        await called(fraud, V1, since=recall.at, until=recall.at - timedelta(seconds=2))
    assert len(await all_recalls(fraud)) == 1


@pytest.mark.parametrize("unknown", ["nonsense", "", "0198c0de-0000-7000-8000-000000000000"])
async def test_an_unknown_recall_is_not_found(fraud: Means, unknown: str) -> None:
    with pytest.raises(UnknownRecall):
        async with fraud.database.transaction() as tx:
            await recalls.recall(tx, RecallId(unknown))


# ------------------------------------------------------------------ as events


async def test_who_reads_on_from_the_last_id_misses_none_though_they_are_made_at_once(means: Means) -> None:
    models = [ModelName(f"model-{number}") for number in range(6)]
    running = []
    for model in models:
        await register_model(means, Model(model), actor="ann")
        for name in (V1, V2):
            await register_version(means, Version(model, name, ("http://127.0.0.1:9000",)), actor="ann")
        running.append(await exposed(means, model))
    read: list[Recall] = []

    async def poll() -> None:
        while len(read) < len(models):
            async with means.database.transaction() as tx:
                read.extend(await recalls.made(tx, limit=2, after=read[-1].id if read else None))

    await asyncio.gather(
        asyncio.wait_for(poll(), 30),
        *(ordered(means, rollout, RollbackOrdered()) for rollout in running),
    )
    assert sorted(recall.model for recall in read) == models
    assert [UUID(recall.id) for recall in read] == sorted(UUID(recall.id) for recall in read)


async def test_a_recall_is_told_once_it_is_committed_and_what_calls_nothing_back_is_not(fraud: Means) -> None:
    rollout = await exposed(fraud)
    with capture_logs() as logs:
        await tell_recall(fraud, await ordered(fraud, rollout, RollbackOrdered()))
        await tell_recall(fraud, await ordered(fraud, await exposed(fraud), Aborted()))
    (recall,) = await all_recalls(fraud)
    told = [log for log in logs if log["event"] == "recall.opened"]
    assert [(log["recall"], log["model"], log["version"]) for log in told] == [(recall.id, "fraud", "v2")]
