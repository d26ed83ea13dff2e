"""The stored state of an earlier tree is read by this one: rollouts go on, decisions replay, nothing counted is lost.

`before/` was written by commit a92ee97: one database per story (`*.json.gz`, rows of every table as JSON, with the
migration they stood at), the state folder of a proxy that was killed while Postgres was away (`state.tar.gz`), and
the rows which that commit made of it (`recovered.json`). These files are never written anew.
"""

import gzip
import json
import tarfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from actions.judged import JudgedRollout
from alembic import command
from fakes.probe import ProbeBook
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from app.actions.context import ENGINE, Means
from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.labels import Attributed, Named
from app.domain.rollout.rollout import TERMINAL, Phase
from app.feedback.spool import Spool
from app.queries.replay import ReplayOutcome, replay
from app.recording.recovery import DeadBoots
from app.replica.snapshot import Snapshot
from app.store.pg import migrate
from app.store.pg.database import Database
from app.store.rollouts import rollouts, standbys
from app.store.rollouts.decisions import DecisionId
from app.upstream_allow import LOOPBACK, AllowList

BEFORE = Path(__file__).parent / "before"
STORIES = sorted(path.name.removesuffix(".json.gz") for path in BEFORE.glob("*.json.gz"))
FRAUD, CREDIT = ModelName("fraud"), ModelName("credit")
# The order in which foreign keys want them.
TABLES = ("models", "versions", "routes", "generations", "rollouts", "decisions", "watches")


class Earlier:
    """One story's database, at the migration it was written at."""

    def __init__(self, story: str) -> None:
        document = json.loads(gzip.decompress((BEFORE / f"{story}.json.gz").read_bytes()))
        self.revision: str = document["revision"]
        self.tables: Mapping[str, list[dict[str, Any]]] = document["tables"]

    def restore(self, url: str) -> None:
        """Into an empty database, which is migrated to what this tree wants."""
        command.downgrade(migrate.config(url), self.revision)
        with psycopg.connect(url) as connection:
            connection.execute("DELETE FROM routing")
            for name in (*TABLES, *(name for name in self.tables if name not in TABLES)):
                rows = SQL("INSERT INTO {0} SELECT * FROM jsonb_populate_recordset(NULL::{0}, %s)")
                connection.execute(rows.format(Identifier(name)), [Jsonb(self.tables[name])])
        migrate.upgrade(url)


@pytest.fixture(params=STORIES)
def earlier(request: pytest.FixtureRequest, database_url: str) -> Earlier:
    found = Earlier(request.param)
    found.restore(database_url)
    return found


@pytest.fixture
def means(database: Database) -> Means:
    return Means(database, ProbeBook(), AllowList(LOOPBACK).check, lambda count: bytes(range(count)))


def test_there_is_a_rollout_in_each_phase_a_standby_and_twenty_decisions() -> None:
    found = [Earlier(story).tables for story in STORIES]
    phases = {row["state"]["phase"] for tables in found for row in tables["rollouts"]}
    assert phases >= set(Phase) - {Phase.PENDING}  # a rollout leaves it in the transaction that starts it
    assert sum(len(tables["watches"]) for tables in found) >= 1
    assert sum(row["actor"] == ENGINE for tables in found for row in tables["decisions"]) >= 20


async def test_every_rollout_is_read_and_those_that_run_go_on(means: Means, earlier: Earlier) -> None:
    for row in earlier.tables["rollouts"]:
        async with means.database.transaction() as tx:
            seen = await rollouts.rollout(tx, row["id"])
        assert (seen.rollout.phase, seen.rollout.canary) == (row["phase"], row["canary"])
        assert seen.rollout.weight_bp == row["weight_bp"]
        if seen.rollout.phase not in TERMINAL and seen.rollout.model == FRAUD:
            before = dict(seen.rollout.evidence.read_through)
            judged = JudgedRollout(means, seen.rollout)
            judged.second = max(before.values()) + 1
            await judged.play(3, exchanges=500)
            assert judged.rollout.evidence.read_through != before or judged.rollout.phase in TERMINAL


async def test_every_standby_is_read(means: Means, earlier: Earlier) -> None:
    async with means.database.transaction() as tx:
        for row in earlier.tables["watches"]:
            found = await standbys.latest(tx, ModelName(row["model"]))
            assert found is not None
            assert (found.watch.stable, found.watch.standby) == (row["state"]["stable"], row["state"]["standby"])


async def test_every_decision_of_the_engine_replays_equal(means: Means, earlier: Earlier) -> None:
    for row in earlier.tables["decisions"]:
        if row["actor"] == ENGINE:
            made = await replay(means, DecisionId(row["id"]))
            assert made.outcome is ReplayOutcome.AGREES, made.sentence


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(BEFORE / "state.tar.gz") as packed:
        packed.extractall(folder, filter="data")
    return folder / "state"


@pytest.fixture(scope="module")
def recovered() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((BEFORE / "recovered.json").read_text())
    return found


def test_the_snapshot_is_loaded(state: Path) -> None:
    table = Snapshot(state).load()
    assert table is not None
    routes = {routed.model.name: routed.route for routed in table.models}
    assert dict(routes[FRAUD].weights_bp) == {VersionName("v1"): 7_000, VersionName("v2"): 3_000}
    assert (routes[CREDIT].stable, len(routes[CREDIT].salt)) == (VersionName("v1"), 16)


def test_the_journal_is_recovered_to_the_rows_it_was_recovered_to_then(
    state: Path, recovered: Mapping[str, Any]
) -> None:
    (dead,) = DeadBoots(state / "journal").find()
    dead.let_go()
    assert dead.boot == recovered["boot"]
    assert dead.bad_records == 0
    then, now = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for row in recovered["tallies"]:
        arm = f"{row['model']}/{row['version']}/{row['generation']}"
        then[arm, "exchanges"] += row["exchanges"]
        then[arm, "ok"] += row["ok"]
        then[arm, "latencies"] += sum(row["latency_counts"])
    for found in dead.rows:
        arm = f"{found.key.model}/{found.key.version}/{found.key.generation}"
        now[arm, "exchanges"] += found.tally.exchanges
        now[arm, "ok"] += sum(count for outcome, count in found.tally.outcomes.items() if outcome == "ok")
        now[arm, "latencies"] += sum(found.tally.latency_bins.values())
    # One exchange was in Postgres before it went away; the journal holds the others and, since, that one too.
    assert now == then
    assert len(dead.units) == len(recovered["units"])


def test_the_spool_is_taken_over_with_every_label(state: Path, recovered: Mapping[str, Any]) -> None:
    spool = Spool(state / "feedback", "0" * 32)
    spool.take_over()
    file = spool.oldest()
    assert file is not None
    items = [item for batch in file.batches() for item in batch]
    spool.close()
    attributed = {item.exchange.id for item in items if isinstance(item, Attributed)}
    named = {item.handle for item in items if isinstance(item, Named)}
    assert attributed == {row["exchange"].replace("-", "") for row in recovered["labels"]}
    assert named == {row["handle"] for row in recovered["parked"]}
