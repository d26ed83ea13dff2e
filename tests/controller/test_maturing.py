"""Labels in Postgres become a decision: not before their horizon, and with the sentence a person reads."""

import asyncio
import json
import secrets
import uuid
from dataclasses import replace

import pytest
from fakes.probe import ProbeBook
from sqlalchemy import text

from app.actions.context import Means
from app.actions.models import register_model, register_version
from app.actions.rollouts import start_rollout
from app.controller.look import Looker
from app.domain.catalog.declarations import Feedback, QualityKind, QualityMetric
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.policy import Policy
from app.domain.evidence.cohort import GRACE_S
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, Watermark
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.rollout.rollout import Phase, Rollout
from app.errors import InvalidInput
from app.store.evidence import tallies
from app.store.pg.database import Database
from app.store.rollouts import decisions, rollouts
from app.store.routing import replicas, routes

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")
BOOT = "0" * 32
THUMBS = QualityMetric("thumbs", QualityKind.EVENT, horizon_s=1.0)
POLICY = replace(DEFAULT_POLICY, warmup_s=0.0, guardrails=(guardrail("errors"), guardrail("labels")))

_LABELS = text(
    """
    INSERT INTO labels
        (exchange, metric, source, revision, second, model, version, generation, label, slices, received_at)
    SELECT gen_random_uuid(), 'thumbs', :source, 1, :second, 'fraud', :version, :generation,
           CAST(:label AS jsonb), '{}', to_timestamp(:second)
    FROM generate_series(1, :count)
    """
)


class World:
    """One model whose labels the test makes up."""

    def __init__(self, database: Database) -> None:
        self.database = database

        async def accept(url: str, _: str) -> str:
            return url

        self.means = Means(database, ProbeBook(), accept, secrets.token_bytes)
        self.looker = Looker(self.means, ProbeBook())

    async def started(self, policy: Policy = POLICY) -> Rollout:
        await register_model(self.means, Model(FRAUD, feedback=Feedback((THUMBS,))), actor="ann")
        for version in (V1, V2):
            await register_version(self.means, Version(FRAUD, version, ("http://127.0.0.1:9001",)), actor="ann")
        rollout, _ = await start_rollout(self.means, FRAUD, V2, policy, actor="ann", reason="a test")
        await self.look(rollout)
        return rollout

    async def look(self, rollout: Rollout) -> Rollout:
        async with self.database.transaction() as tx:
            (listed,) = await rollouts.listed(tx)
        look = await self.looker.look(listed)
        assert look is not None
        assert look.rollout.id == rollout.id
        return look.rollout

    async def now(self) -> int:
        async with self.database.transaction() as tx:
            return int((await routes.revision(tx)).at.timestamp())

    async def answered(self, second: int, answers: dict[VersionName, dict[tuple[str, str], int]]) -> None:
        """One second's answers, all well, with how many labels of which source and value."""
        async with self.database.transaction() as tx:
            route = await routes.route(tx, FRAUD)
            assert route is not None
            for version, labels in answers.items():
                n = sum(labels.values())
                tally = Tally(n, {Outcome.OK: n}, 0, {350: n})
                await tallies.upsert(tx, BOOT, [TallyRow(TallyKey(second, FRAUD, route.generation, version), tally, 1)])
                for (source, label), count in labels.items():
                    values = {"source": source, "second": second, "version": version, "generation": route.generation}
                    await tx.execute(_LABELS, {**values, "label": json.dumps(label), "count": count})
        await self.beat(second)

    async def beat(self, second: int) -> None:
        """A replica lives, and is final up to a second."""
        async with self.database.transaction() as tx:
            await replicas.beat(tx, BOOT, "proxy", Watermark(second, second), 0, frozenset())

    async def ripe(self, second: int) -> None:
        """Wait until the second's labels are old enough."""
        await asyncio.sleep(max(0.0, second + THUMBS.horizon_s + GRACE_S + 1.0 - await self.now()))
        await self.beat(second)


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def test_bad_labels_turn_a_canary_back_once_they_are_old_enough_and_not_before(world: World) -> None:
    rollout = await world.started()
    second = await world.now()
    # At 0.01 % of the traffic a handful is more than its share; the coin explains no more.
    await world.answered(second, {V1: {("ops", "1"): 29_000, ("ops", "0"): 1_000}, V2: {("ops", "0"): 5}})
    early = await world.look(rollout)
    assert early.evidence.of_model.cohorts["thumbs"].by_weight == {}
    await world.ripe(second)
    late = await world.look(rollout)
    assert late.phase is Phase.ROLLED_BACK
    async with world.database.transaction() as tx:
        (decision, *_) = await decisions.made(tx, model=FRAUD, limit=1)
    assert (decision.action, decision.trigger) == ("roll_back", "labels")
    assert "Answers without thumbs 100.0 % for v2, 3.33 % for v1" in decision.sentence


async def test_a_guardrail_without_a_name_watches_the_first_metric_and_an_unknown_one_is_refused(world: World) -> None:
    rollout = await world.started()
    assert [each.of for each in rollout.policy.guardrails] == [None, "thumbs"]
    unknown = replace(DEFAULT_POLICY, guardrails=(guardrail("errors"), guardrail("labels", of=f"no-{uuid.uuid4()}")))
    with pytest.raises(InvalidInput, match="declares no metric"):
        await start_rollout(world.means, FRAUD, V2, unknown, actor="ann", reason="another")
