"""The replica's loops on a real Postgres: what changed arrives, what was counted is never lost."""

import asyncio
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fakes.counting import CountingPlane
from fakes.probe import ProbeBook

from app.actions.context import Means
from app.actions.models import register_model, register_version
from app.actions.routes import RouteChange, change_route
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.routing import FULL_BP, NO_COIN, Weights
from app.domain.evidence.tally import TallyKey
from app.loops import Loops
from app.replica.clock import DatabaseClock
from app.replica.replica import DeadBoots, Pace, Replica
from app.replica.snapshot import Snapshot
from app.store.evidence import tallies
from app.store.pg.database import Database
from app.store.pg.embedded import EmbeddedPostgres
from app.store.routing import replicas, routes
from app.store.routing.replicas import Brake
from app.upstream_allow import LOOPBACK, AllowList

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")
PATIENCE_S = 20.0


class Plane:
    """A data plane that only remembers: tables it was given, rows it counts."""

    def __init__(
        self,
        database: Database,
        pace: Pace,
        wall: Callable[[], float] = time.time,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        dead_boots: DeadBoots = lambda: iter(()),
        snapshot: Snapshot | None = None,
    ) -> None:
        self.data_plane = CountingPlane(brakes=(Brake(FRAUD, V2, "transport"),))
        self.tables = self.data_plane.tables
        self.recorder = self.data_plane.recorder
        self.clock = DatabaseClock(wall, monotonic)
        self.boot = str(uuid.uuid4())
        self.replica = Replica(
            database,
            self.boot,
            "proxy",
            data_plane=self.data_plane,
            clock=self.clock,
            pace=pace,
            dead_boots=dead_boots,
            snapshot=snapshot,
        )

    @property
    def weights_bp(self) -> Weights | None:
        if not self.tables or not self.tables[-1].models:
            return None
        return self.tables[-1].models[0].route.weights_bp

    def count(self, exchanges: int, version: VersionName = V1) -> None:
        self.recorder.count(TallyKey(int(self.clock.now()), FRAUD, 1, version), exchanges)


@asynccontextmanager
async def running(plane: Plane) -> AsyncIterator[Plane]:
    loops = Loops()
    for each in plane.replica.loops():
        loops.start(each)
    watching = asyncio.create_task(loops.watch())
    try:
        yield plane
    finally:
        watching.cancel()
        assert await loops.end(5.0) == ()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.01)


async def registered(database: Database) -> Means:
    means = Means(database, ProbeBook(), AllowList(LOOPBACK).check, secrets.token_bytes)
    await register_model(means, Model(FRAUD), actor="ann")
    for name in (V1, V2):
        await register_version(means, Version(FRAUD, name, ("http://127.0.0.1:9000",)), actor="ann")
    return means


async def split(means: Means, canary_bp: int) -> None:
    change = RouteChange({V1: FULL_BP - canary_bp, V2: canary_bp})
    await change_route(means, FRAUD, change, actor="ann", reason="a test")


def has_weight(plane: Plane, canary_bp: int) -> bool:
    return (plane.weights_bp or {}).get(V2) == canary_bp


async def stored(database: Database) -> int:
    async with database.transaction() as tx:
        return (await tallies.history(tx, FRAUD, V1, 0, 2**40)).exchanges


async def test_the_bell_brings_a_change_long_before_the_poll_would(database: Database) -> None:
    means = await registered(database)
    async with running(Plane(database, Pace(poll_s=600.0))) as plane:
        await until(lambda: plane.weights_bp == {V1: FULL_BP})
        # The listener may still be about to listen; from its first ring on, no change is missed.
        await until(lambda: len(plane.tables) == 1 and plane.replica.status.pushed_age_s is not None)
        for canary_bp in (1, 2, 5):
            await split(means, canary_bp)
            await until(partial(has_weight, plane, canary_bp))


async def test_the_poll_alone_brings_a_change(database: Database) -> None:
    means = await registered(database)
    plane = Plane(database, Pace())
    assert await plane.replica.pull()
    await split(means, 100)
    assert await plane.replica.pull()
    assert plane.weights_bp == {V1: 9_900, V2: 100}
    assert await plane.replica.pull()
    assert len(plane.tables) == 2


async def test_a_table_is_whole_and_carries_its_revision(database: Database) -> None:
    await registered(database)
    plane = Plane(database, Pace())
    await plane.replica.pull()
    (table,) = plane.tables
    assert table.revision == plane.replica.status.applied_revision == 3
    assert [version.name for version in table.models[0].versions] == [V1, V2]


async def test_a_push_reports_rows_watermark_revision_and_brakes_together(database: Database) -> None:
    await registered(database)
    plane = Plane(database, Pace())
    await plane.replica.pull()
    plane.count(7)
    assert await plane.replica.push()
    assert plane.recorder.waiting == 0
    assert await stored(database) == 7
    async with database.transaction() as tx:
        (alive,) = await replicas.live(tx)
    assert (alive.boot, alive.applied_revision) == (plane.boot, 3)
    assert alive.open_brakes == {Brake(FRAUD, V2, "transport")}
    assert alive.watermark.status == plane.recorder.through - 1


async def test_nothing_is_counted_before_the_database_said_what_time_it_is(database: Database) -> None:
    plane = Plane(database, Pace())
    plane.count(7)
    assert not await plane.replica.push()
    assert plane.recorder.waiting == 1


async def test_the_first_pull_sets_the_clock_to_database_time(database: Database) -> None:
    plane = Plane(database, Pace(), wall=lambda: 0.0)
    await plane.replica.pull()
    async with database.transaction() as tx:
        at = (await routes.revision(tx)).at
    assert abs(plane.clock.now() - at.timestamp()) < 1.0


async def test_postgres_killed_and_back_loses_no_tally_and_keeps_the_table(own_postgres: EmbeddedPostgres) -> None:
    database = Database(own_postgres.url)
    means = await registered(database)
    await split(means, 100)
    pace = Pace(poll_s=0.05, flush_s=0.05, canary_max_stale_s=1.0)
    async with running(Plane(database, pace)) as plane:
        await until(lambda: plane.weights_bp == {V1: 9_900, V2: 100})
        sent = 0
        for _ in range(5):
            plane.count(3)
            sent += 3
            await asyncio.sleep(0.05)
        await asyncio.to_thread(own_postgres.stop_immediately)
        await until(lambda: plane.replica.status.database_up is False)
        for _ in range(20):
            plane.count(2)
            sent += 2
            await asyncio.sleep(0.01)
        assert plane.recorder.waiting > 0
        await until(lambda: plane.replica.status.canary_withheld)
        assert plane.weights_bp == {V1: FULL_BP}
        assert plane.tables[-1].models[0].route.generation == NO_COIN
        await asyncio.to_thread(own_postgres.start)
        await until(lambda: plane.recorder.waiting == 0 and not plane.replica.status.canary_withheld)
        assert plane.weights_bp == {V1: 9_900, V2: 100}
        await until(lambda: plane.replica.status.database_up is True)
        assert await stored(database) == sent
        # The bell was broken too, and rings again.
        await split(means, 200)
        await until(partial(has_weight, plane, 200))
    await database.close()


async def test_without_any_postgres_the_loops_go_on_quietly(tmp_path: Path) -> None:
    database = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    async with running(Plane(database, Pace(poll_s=0.01, flush_s=0.01))) as plane:
        await until(lambda: plane.replica.status.database_up is False)
        assert plane.tables == []
        assert not plane.replica.status.canary_withheld
    await database.close()


async def test_a_database_that_nobody_migrated_yet_is_waited_for(postgres_url: str) -> None:
    database = Database(postgres_url)
    plane = Plane(database, Pace())
    assert not await plane.replica.pull()
    assert plane.replica.status.database_up is False
    await database.close()
