"""The tick judges every active rollout, whatever the others do, and waits for Postgres."""

import asyncio
import secrets
import time
from dataclasses import replace
from uuid import UUID

import pytest
from fakes.probe import ProbeBook
from sqlalchemy import text
from structlog.testing import capture_logs

from app.actions.context import Means, Probe
from app.actions.models import register_model, register_version
from app.actions.rollouts import order, start_rollout
from app.controller.controller import Controller
from app.controller.figures import StandingFigures
from app.domain.catalog.declarations import Feature
from app.domain.catalog.models import Model, ModelName, Protocol, Version, VersionName
from app.domain.catalog.policy import Policy
from app.domain.evidence.observed import SPREAD_S, Observed, ObservedRow, SpreadRow
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, UnitRow, Watermark
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.rollout.rollout import Phase, RollbackOrdered, Rollout, RolloutId
from app.domain.stats.histogram import Spread, histogram_of
from app.proxy.upstream.breaker import Cause
from app.store.evidence import observed, randomization_units, tallies
from app.store.pg import partitions
from app.store.pg.codec import rollout_from_json
from app.store.pg.database import Database
from app.store.pg.partitions import DAY_S
from app.store.rollouts import audit, decisions, rollouts
from app.store.routing import replicas, routes
from app.telemetry import DecisionCount

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")
BOOT = "0" * 32
AGES = (range(400), range(300, 700))
QUICK = replace(DEFAULT_POLICY, warmup_s=0.0, guardrails=(guardrail("errors"),), max_extra_bad=1_000.0)


async def accept(url: str, _: str) -> str:
    return url


class World:
    """A database with models, whose traffic the test makes up."""

    def __init__(self, database: Database, probe: Probe | None = None) -> None:
        self.database = database
        self.probes = ProbeBook()
        self.means = Means(database, probe or self.probes, accept, secrets.token_bytes)
        self.decided = DecisionCount()
        self.controller = Controller(
            self.means,
            decided=self.decided,
            tick_interval_s=1.0,
            tally_keep_days=30,
            monotonic=time.monotonic,
            wall=time.time,
        )

    async def rollout(self, name: str, policy: Policy = QUICK, model: Model | None = None) -> RolloutId:
        given = model or Model(ModelName(name))
        await register_model(self.means, given, actor="ann")
        for version in (V1, V2):
            await register_version(self.means, Version(given.name, version, ("http://127.0.0.1:9001",)), actor="ann")
        rollout, _ = await start_rollout(self.means, given.name, V2, policy, actor="ann", reason="a test")
        return rollout.id

    async def now(self) -> int:
        async with self.database.transaction() as tx:
            return int((await routes.revision(tx)).at.timestamp())

    async def traffic(self, name: str, second: int, *, stable: int, canary: int, canary_errors: int = 0) -> None:
        """One second's tallies at the route's present generation, and the heartbeat that makes them final."""
        model = ModelName(name)
        async with self.database.transaction() as tx:
            route = await routes.route(tx, model)
            assert route is not None
            rows = [
                TallyRow(TallyKey(second, model, route.generation, V1), _tally(stable, 0), 1),
                TallyRow(TallyKey(second, model, route.generation, V2), _tally(canary, canary_errors), 1),
            ]
            await tallies.upsert(tx, BOOT, rows)
            await replicas.beat(tx, BOOT, "proxy", Watermark(second, second), 0, frozenset())

    async def observed(self, name: str, second: int, *, stable: int, canary: int, canary_flawed: int) -> None:
        """What was read of one second's answers; `traffic` makes it final."""
        model = ModelName(name)
        async with self.database.transaction() as tx:
            route = await routes.route(tx, model)
            assert route is not None
            rows = [
                ObservedRow(TallyKey(second, model, route.generation, version), Observed(n, 0, n, flawed), 1)
                for version, n, flawed in ((V1, stable, 0), (V2, canary, canary_flawed))
            ]
            await observed.upsert(tx, BOOT, rows)

    async def brake(self, *names: str, cause: str = "") -> None:
        open_brakes = [replicas.Brake(ModelName(name), V2, cause) for name in names]
        async with self.database.transaction() as tx:
            await replicas.beat(tx, BOOT, "proxy", Watermark(0, 0), 0, open_brakes)

    async def stored(self, rollout_id: RolloutId) -> Rollout:
        async with self.database.transaction() as tx:
            return (await rollouts.rollout(tx, rollout_id)).rollout

    async def last_decision(self, name: str) -> decisions.Decision:
        async with self.database.transaction() as tx:
            return (await decisions.made(tx, model=ModelName(name), limit=1))[0]


def _tally(exchanges: int, errors: int) -> Tally:
    outcomes = {Outcome.OK: exchanges - errors, Outcome.UPSTREAM_ERROR: errors}
    return Tally(exchanges, {outcome: count for outcome, count in outcomes.items() if count}, 0, {350: exchanges})


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def test_a_canary_whose_answers_are_all_bad_is_turned_back(world: World) -> None:
    rollout_id = await world.rollout("fraud")
    start = await world.now()
    await world.controller.tick()
    assert (await world.stored(rollout_id)).phase is Phase.RAMPING
    await world.traffic("fraud", start + 1, stable=900, canary=30, canary_errors=30)
    await world.controller.tick()
    decision = await world.last_decision("fraud")
    assert (decision.action, decision.actor, decision.trigger) == ("roll_back", "engine", "errors")
    assert decision.weights_after == {V1: 10_000}
    assert world.controller.standing.phases[ModelName("fraud")] is Phase.ROLLED_BACK
    await world.controller.tick()
    assert (await world.last_decision("fraud")).id == decision.id


async def test_a_canary_whose_answers_are_flawed_is_turned_back_by_what_was_read_of_them(world: World) -> None:
    policy = replace(QUICK, guardrails=(guardrail("errors"), guardrail("validity")))
    rollout_id = await world.rollout("fraud", policy)
    start = await world.now()
    await world.controller.tick()
    await world.observed("fraud", start + 1, stable=900, canary=30, canary_flawed=30)
    await world.traffic("fraud", start + 1, stable=900, canary=30)
    await world.controller.tick()
    decision = await world.last_decision("fraud")
    assert (decision.action, decision.trigger) == ("roll_back", "validity")
    assert "Flawed answers 100.0 % for v2" in decision.sentence
    stored = (await world.stored(rollout_id)).evidence.of_model
    assert stored.observed_through == start + 1
    assert sum(epoch.canary.flawed for epoch in stored.observed.values()) == 30


async def test_only_a_canary_that_answers_gets_its_first_exchange(world: World) -> None:
    world.probes.dead.add(V2)
    rollout_id = await world.rollout("fraud")
    await world.controller.tick()
    assert (await world.stored(rollout_id)).phase is Phase.WARMING
    world.probes.dead.clear()
    await world.controller.tick()
    assert (await world.stored(rollout_id)).phase is Phase.RAMPING


async def test_traffic_does_not_return_to_a_stable_that_is_dead(world: World) -> None:
    rollout_id = await world.rollout("fraud")
    await world.controller.tick()
    await world.traffic("fraud", await world.now() + 1, stable=900, canary=30, canary_errors=30)
    world.probes.dead.add(V1)
    with capture_logs() as logs:
        await world.controller.tick()
        await world.controller.tick()
    assert [log["event"] for log in logs] == ["rollout.target_unhealthy"]
    assert (await world.stored(rollout_id)).phase is Phase.RAMPING
    world.probes.dead.clear()
    await world.controller.tick()
    assert (await world.stored(rollout_id)).phase is Phase.ROLLED_BACK


async def test_a_look_that_fails_does_not_stop_the_others_and_is_told_once(database: Database) -> None:
    async def probe(_: Protocol, version: Version) -> str | None:
        if (version.model, version.name) == ("broken", V2):
            raise RuntimeError("a bug")
        return None

    world = World(database, probe)
    fine = [await world.rollout(name) for name in ("a-fine-one", "broken", "one-more")][::2]
    with capture_logs() as logs:
        await world.controller.tick()
        await world.controller.tick()
    assert {(await world.stored(rollout_id)).phase for rollout_id in fine} == {Phase.RAMPING}
    assert [log["model"] for log in logs if log["event"] == "rollout.look_failed"] == ["broken"]
    assert world.controller.standing.completed_at is not None


async def test_an_open_brake_freezes_and_its_closing_thaws(world: World) -> None:
    rollout_id = await world.rollout("fraud")
    await world.controller.tick()
    await world.brake("fraud")
    await world.controller.tick()
    frozen = await world.stored(rollout_id)
    assert frozen.phase is Phase.FROZEN
    assert frozen.brake_open_since is not None
    await world.brake()
    await world.controller.tick()
    assert (await world.stored(rollout_id)).phase is Phase.RAMPING


async def test_a_person_who_was_quicker_wins_and_the_tick_goes_on(world: World) -> None:
    rollout_id = await world.rollout("fraud")
    await world.controller.tick()
    await world.traffic("fraud", await world.now() + 1, stable=900, canary=30, canary_errors=30)
    await asyncio.gather(
        order(world.means, rollout_id, RollbackOrdered(), actor="ann", reason="quicker"), world.controller.tick()
    )
    assert (await world.stored(rollout_id)).phase is Phase.ROLLED_BACK


async def test_without_postgres_the_tick_waits_and_says_so_once() -> None:
    world = World(Database("postgresql://nobody@127.0.0.1:1/none"))
    with capture_logs() as logs:
        await world.controller.tick()
        await world.controller.tick()
    assert [log["event"] for log in logs] == ["controller.database_lost"]
    assert world.controller.standing.completed_at is None
    await world.database.close()


async def test_old_days_are_dropped_and_days_ahead_made_while_rollouts_are_judged(world: World) -> None:
    await world.rollout("fraud")
    now = await world.now()
    for days_ago in (0, 31):
        await world.traffic("fraud", now - days_ago * DAY_S, stable=9, canary=1)
    async with world.database.transaction() as tx:
        await partitions.ensure_partitions(tx, days_ahead=0)
    await world.controller.tick()
    async with world.database.transaction() as tx:
        assert (await tallies.history(tx, ModelName("fraud"), V1, 0, 2**40)).exchanges == 9
        assert await partitions.ensure_partitions(tx, days_ahead=3) == ()
        assert await partitions.claim(tx)
        async with world.database.transaction() as other:
            assert not await partitions.claim(other)


async def test_the_figures_say_phase_evidence_and_decisions(world: World) -> None:
    await world.rollout("fraud")
    await world.controller.tick()
    await world.traffic("fraud", await world.now() + 1, stable=900, canary=30, canary_errors=2)
    await world.controller.tick()
    figures = {
        (series.family.name, *series.labels): series.value
        for source in (StandingFigures(lambda: world.controller.standing), world.decided)
        for series in source.series()
    }
    phases = {labels[2]: value for labels, value in figures.items() if labels[0] == "turnback_rollout_state"}
    assert len(phases) == len(Phase)
    assert sum(value for value in phases.values() if isinstance(value, float)) == 1.0
    assert ("turnback_guardrail_evidence", "fraud", "combined") in figures
    assert ("turnback_guardrail_evidence", "fraud", "errors") in figures
    assert figures["turnback_decisions_total", "fraud", "advance", "engine"] == 1.0


async def test_how_far_inputs_and_predictions_are_from_stables_is_a_figure_while_the_rollout_runs(world: World) -> None:
    usual, older = (Spread(histogram_of(["yes"] * 400), {"age": histogram_of(map(float, ages))}) for ages in AGES)
    before = await world.now() // SPREAD_S * SPREAD_S - 60
    async with world.database.transaction() as tx:
        await observed.upsert(tx, BOOT, [SpreadRow(TallyKey(before, FRAUD, 1, V1), usual, 1)])
    await world.rollout("fraud", model=Model(FRAUD, features=(Feature("age", "/age"),)))
    await world.controller.tick()
    second = before + 60 + SPREAD_S
    async with world.database.transaction() as tx:
        (routed,) = (await routes.table(tx)).models
        keys = (TallyKey(second, FRAUD, routed.route.generation, version) for version in (V1, V2))
        await observed.upsert(tx, BOOT, [SpreadRow(next(keys), seen, 1) for seen in (usual, older)])
    await world.traffic("fraud", second + SPREAD_S, stable=900, canary=30)
    await world.controller.tick()
    drift = {labels[1:]: psi for labels, psi in world.controller.standing.drift.items()}
    assert drift == {(V2, "age"): pytest.approx(drift[V2, "age"]), (V2, "predictions"): pytest.approx(0.0, abs=1e-6)}
    assert drift[V2, "age"] > 0.25
    names = [each.family.name for each in StandingFigures(lambda: world.controller.standing).series()]
    assert names.count("turnback_drift_psi") == 2


# ------------------------------------------------------------------ brakes in the audit


async def audited(world: World) -> list[tuple[str, str, str | None, str | None]]:
    """Actor, action, version and reason of every entry about a brake, the oldest first."""
    async with world.database.transaction() as tx:
        entries = await audit.entries(tx)
    return [
        (entry.actor, entry.action, entry.version, entry.reason)
        for entry in reversed(entries)
        if entry.action.startswith("brake_")
    ]


async def test_every_spell_of_a_brake_is_audited_once_though_no_rollout_runs(world: World) -> None:
    boot = str(UUID(BOOT))
    opened = ("replica", "brake_opened", "v2", f"boot {boot} sends no more traffic to it")
    released = ("replica", "brake_released", "v2", f"boot {boot} sends traffic to it again")
    for _ in range(2):
        await world.brake("fraud")
        await world.controller.tick()
        await world.controller.tick()
        await world.brake()
        await world.controller.tick()
        await world.controller.tick()
    assert await audited(world) == [opened, released, opened, released]


@pytest.mark.parametrize(
    ("cause", "why"),
    [
        (Cause.TRANSPORT, "it cannot be reached, breaks off or does not answer in time"),
        (Cause.EVIDENCE, "its answers are worse than stable's beyond reasonable doubt"),
    ],
)
async def test_the_audit_says_why_a_brake_opened(world: World, cause: Cause, why: str) -> None:
    await world.brake("fraud", cause=cause)
    await world.controller.tick()
    ((_, action, _, reason),) = await audited(world)
    assert (action, reason) == ("brake_opened", f"boot {UUID(BOOT)} sends no more traffic to it: {why}")


async def test_of_two_control_processes_one_audits_a_brake(world: World) -> None:
    await world.brake("fraud", "spam")
    for _ in range(5):
        await asyncio.gather(world.controller.tick(), World(world.database).controller.tick())
    assert sorted((action, version) for _, action, version, _ in await audited(world)) == [("brake_opened", "v2")] * 2


async def test_a_brake_ends_with_its_replica(world: World) -> None:
    await world.brake("fraud")
    await world.controller.tick()
    async with world.database.transaction() as tx:
        await tx.execute(text("UPDATE replicas SET heartbeat = heartbeat - interval '1 minute'"))
    await world.controller.tick()
    await world.controller.tick()
    assert [(action, reason) for _, action, _, reason in await audited(world)] == [
        ("brake_opened", f"boot {UUID(BOOT)} sends no more traffic to it"),
        ("brake_released", f"boot {UUID(BOOT)} is silent"),
    ]
    await world.brake("fraud")
    await world.controller.tick()
    assert len(await audited(world)) == 3


# ------------------------------------------------------------------ sticky callers


async def callers(world: World, second: int, *, stable: int, canary: int, canary_errors: int = 0) -> None:
    """Units of one second at the present route, each a caller nobody saw before; no heartbeat."""
    async with world.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
        assert route is not None
        arms = [(V1, Outcome.OK)] * stable + [(V2, Outcome.OK)] * (canary - canary_errors)
        arms += [(V2, Outcome.UPSTREAM_ERROR)] * canary_errors
        rows = [
            UnitRow(FRAUD, route.salted_at, second * 10_000 + n, second, route.generation, version, outcome, 350)
            for n, (version, outcome) in enumerate(arms)
        ]
        await randomization_units.upsert(tx, BOOT, rows)


async def test_a_sticky_canary_is_judged_by_callers_not_by_how_often_they_call(world: World) -> None:
    rollout_id = await world.rollout("fraud", model=Model(FRAUD, sticky_cookie="sid"))
    await world.controller.tick()
    start = await world.now()
    # One caller on the canary fails a thousand times: once is all that says of the version.
    await callers(world, start + 1, stable=900, canary=1, canary_errors=1)
    await world.traffic("fraud", start + 1, stable=900, canary=1_000, canary_errors=1_000)
    await world.controller.tick()
    rollout = await world.stored(rollout_id)
    assert rollout.phase is not Phase.ROLLED_BACK
    assert sum(epoch.canary.judged for epoch in rollout.evidence.by_weight.values()) == 1
    assert rollout.evidence.exchanges_per_s >= 190.0
    await callers(world, start + 2, stable=900, canary=30, canary_errors=30)
    await world.traffic("fraud", start + 2, stable=900, canary=30, canary_errors=30)
    await world.controller.tick()
    decision = await world.last_decision("fraud")
    assert (decision.action, decision.trigger) == ("roll_back", "errors")
    numbers = decision.evidence["numbers"]
    assert isinstance(numbers, dict)
    assert (numbers["counted_per"], numbers["canary_answers"]) == ("caller", 31)


async def test_the_units_of_rollouts_that_ended_long_ago_are_forgotten(world: World) -> None:
    rollout_id = await world.rollout("fraud", model=Model(FRAUD, sticky_header="x-user"))
    await world.controller.tick()
    await callers(world, await world.now(), stable=5, canary=5)
    for ended, left in ((False, 10), (True, 0)):
        if ended:
            await order(world.means, rollout_id, RollbackOrdered(), actor="ann", reason="a test")
        async with world.database.transaction() as tx:
            await tx.execute(text("UPDATE rollouts SET started_at = started_at - interval '31 days'"))
            await tx.execute(text("UPDATE rollouts SET ended_at = ended_at - interval '31 days'"))
        await World(world.database).controller.tick()
        async with world.database.transaction() as tx:
            assert await tx.scalar(text("SELECT count(*) FROM units")) == left


async def test_a_rollout_that_cannot_be_read_is_named_until_it_can_and_the_others_are_judged(world: World) -> None:
    await world.rollout("fraud")
    other = await world.rollout("other")
    async with world.database.transaction() as tx:
        await tx.execute(text("CREATE TABLE before AS SELECT id, state FROM rollouts"))
        await tx.execute(text("UPDATE rollouts SET state = '{}' WHERE model = 'fraud'"))
    with capture_logs() as told:
        await world.controller.tick()
        await world.controller.tick()
    assert list(world.controller.standing.unreadable) == [ModelName("fraud")]
    assert [each["model"] for each in told if each["event"] == "rollout.unreadable"] == ["fraud"]
    assert (await world.stored(other)).phase is Phase.RAMPING
    # Its columns are sound.
    assert world.controller.standing.phases[ModelName("fraud")] is Phase.WARMING
    async with world.database.transaction() as tx:
        await tx.execute(text("UPDATE rollouts SET state = before.state FROM before WHERE before.id = rollouts.id"))
    await world.controller.tick()
    assert world.controller.standing.unreadable == {}


async def test_a_tick_parses_each_state_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.rollout("fraud", replace(QUICK, warmup_s=3_600.0))
    await world.rollout("other", replace(QUICK, warmup_s=3_600.0))
    parsed: list[str] = []

    def parse(state: str) -> Rollout:
        parsed.append(state)
        return rollout_from_json(state)

    monkeypatch.setattr(rollouts, "rollout_from_json", parse)
    await world.controller.tick()
    assert len(parsed) == 2
