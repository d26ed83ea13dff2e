"""Whatever a pull or a push meets: canaries are withheld in time, the other models follow, nothing counted is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from replica.test_replica import FRAUD, V1, V2, Plane, has_weight, registered, running, split, stored, until
from sqlalchemy import text
from structlog.testing import capture_logs

from app.actions.context import Means
from app.actions.models import register_model, register_version
from app.actions.routes import RouteChange, change_route
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.routing import FULL_BP, NO_COIN, RoutingTable, Weights
from app.errors import ModelUnusable
from app.replica.replica import Pace
from app.replica.routing import ASK_AGAIN_S, QUESTIONS_MAX
from app.replica.snapshot import Snapshot
from app.store.pg.database import Database
from app.store.pg.wire import SILENCE_MAX_S
from bench.fault_wire import FaultWire, Wire

OTHER = ModelName("other")
ROLE = "turnback_reader"
STALE = Pace(canary_max_stale_s=120.0)


class Later:
    """The monotonic clock, but for what a test lets pass at once."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


async def two_models(database: Database) -> Means:
    means = await registered(database)
    await split(means, 100)
    await register_model(means, Model(OTHER), actor="ann")
    for name in (V1, V2):
        await register_version(means, Version(OTHER, name, ("http://127.0.0.1:9001",)), actor="ann")
    await change_route(means, OTHER, RouteChange({V1: 5_000, V2: 5_000}), actor="ann", reason="both")
    return means


async def run(database: Database, *statements: str) -> None:
    async with database.transaction() as tx:
        for statement in statements:
            await tx.execute(text(statement))


def weights(plane: Plane, model: ModelName) -> Weights | None:
    found = [each.route.weights_bp for each in plane.tables[-1].models if each.model.name == model]
    return found[0] if found else None


# Each way to spoil one model, how to mend it, and a word of the reason.
SPOILT: dict[str, tuple[str, str, str]] = {
    "a protocol of a newer release": (
        "UPDATE models SET protocol = 'of tomorrow' WHERE name = 'other'",
        "UPDATE models SET protocol = 'auto' WHERE name = 'other'",
        "'of tomorrow' is not a valid Protocol",
    ),
    "a route to a version that is not there": (
        "UPDATE routes SET weights_bp = '{\"v1\": 9000, \"v9\": 1000}' WHERE model = 'other'",
        "UPDATE routes SET weights_bp = '{\"v1\": 5000, \"v2\": 5000}' WHERE model = 'other'",
        "version 'v9', and it is not there",
    ),
    "weights that are none": (
        "UPDATE routes SET weights_bp = '{\"v1\": \"all\"}' WHERE model = 'other'",
        "UPDATE routes SET weights_bp = '{\"v1\": 5000, \"v2\": 5000}' WHERE model = 'other'",
        "TypeError",
    ),
    "features that make no sense": (
        "UPDATE models SET features = '[{\"name\": 7}]' WHERE name = 'other'",
        "UPDATE models SET features = '[]' WHERE name = 'other'",
        "ValidationError",
    ),
    "a mirror without a share": (
        "UPDATE routes SET mirror = '{\"version\": \"v2\"}' WHERE model = 'other'",
        "UPDATE routes SET mirror = NULL WHERE model = 'other'",
        "KeyError",
    ),
    "credentials of a version it routes to": (
        "UPDATE versions SET credentials = '{\"prices\": \"dear\"}' WHERE model = 'other' AND name = 'v2'",
        "UPDATE versions SET credentials = '{}' WHERE model = 'other' AND name = 'v2'",
        "version 'v2', and ValidationError",
    ),
}
BUMP = "UPDATE routing SET revision = revision + 1"


@pytest.mark.parametrize("spoil", list(SPOILT))
async def test_one_unreadable_model_is_skipped_and_named_and_the_others_follow(database: Database, spoil: str) -> None:
    broken, mended, reason = SPOILT[spoil]
    means, clock = await two_models(database), Later()
    plane = Plane(database, STALE, monotonic=clock)
    assert await plane.replica.pull()
    with capture_logs() as logs:
        await run(database, broken, BUMP)
        await split(means, 0)
        assert await plane.replica.pull()
        assert weights(plane, FRAUD) == {V1: FULL_BP}
        assert weights(plane, OTHER) == {V1: 5_000, V2: 5_000}
        found = plane.replica.status.unreadable
        assert list(found) == [OTHER]
        assert reason in found[OTHER].why
        assert not found[OTHER].withheld
        clock.ahead_s += STALE.canary_max_stale_s
        assert await plane.replica.pull()
        assert weights(plane, OTHER) == {V1: FULL_BP}
        assert plane.replica.status.unreadable[OTHER].withheld
        assert not plane.replica.status.canary_withheld
        await split(means, 300)
        assert await plane.replica.pull()
        assert weights(plane, FRAUD) == {V1: 9_700, V2: 300}
        # Mended by hand, without a word to anybody.
        await run(database, mended)
        assert await plane.replica.pull()
    assert weights(plane, OTHER) == {V1: 5_000, V2: 5_000}
    assert plane.replica.status.unreadable == {}
    told = [each["event"] for each in logs if each["event"] != "decision.made"]
    assert told == ["model.unreadable", "replica.canary_withheld", "model.readable"]


async def test_a_version_that_no_route_names_may_be_unreadable(database: Database) -> None:
    means = await two_models(database)
    await register_version(means, Version(OTHER, VersionName("v3"), ("http://127.0.0.1:9001",)), actor="ann")
    await run(database, "UPDATE versions SET credentials = '[]' WHERE name = 'v3'", BUMP)
    plane = Plane(database, STALE)
    assert await plane.replica.pull()
    assert plane.replica.status.unreadable == {}
    assert [version.name for version in plane.tables[-1].models[1].versions] == [V1, V2]


async def test_a_time_that_no_datetime_holds_is_not_even_read(database: Database) -> None:
    await two_models(database)
    await run(database, "UPDATE versions SET created_at = 'infinity'", "UPDATE models SET created_at = '-infinity'")
    assert await Plane(database, STALE).replica.pull()


async def test_a_model_that_the_data_plane_cannot_take_is_as_one_that_cannot_be_read(database: Database) -> None:
    means = await two_models(database)
    plane = Plane(database, STALE)
    refused: list[ModelName] = []

    def swap(table: RoutingTable) -> None:
        for each in table.models:
            if each.model.name in refused and each.route.generation > 2:
                raise ModelUnusable(each.model.name, "its url makes no sense")
        plane.tables.append(table)

    plane.replica._routing._swap = swap
    assert await plane.replica.pull()
    refused.append(OTHER)
    await change_route(means, OTHER, RouteChange({V1: 4_000, V2: 6_000}), actor="ann", reason="more")
    await split(means, 500)
    assert await plane.replica.pull()
    assert weights(plane, FRAUD) == {V1: 9_500, V2: 500}
    assert weights(plane, OTHER) == {V1: 5_000, V2: 5_000}
    assert plane.replica.status.unreadable[OTHER].why == "its url makes no sense"
    refused.clear()
    assert await plane.replica.pull()
    assert weights(plane, OTHER) == {V1: 4_000, V2: 6_000}


async def test_at_a_cold_start_an_unreadable_model_is_served_as_the_disk_knows_it(
    database: Database, tmp_path: Path
) -> None:
    await two_models(database)
    before = Plane(database, STALE)
    assert await before.replica.pull()
    Snapshot(tmp_path).save(before.tables[-1])
    await run(database, SPOILT["a protocol of a newer release"][0], BUMP)
    clock = Later()
    plane = Plane(database, STALE, snapshot=Snapshot(tmp_path), monotonic=clock)
    assert await plane.replica.pull()
    assert weights(plane, OTHER) == {V1: 5_000, V2: 5_000}
    assert not plane.replica.status.from_disk
    clock.ahead_s += STALE.canary_max_stale_s
    assert await plane.replica.pull()
    assert weights(plane, OTHER) == {V1: FULL_BP}
    assert weights(plane, FRAUD) == {V1: 9_900, V2: 100}
    alone = Plane(database, STALE)
    assert await alone.replica.pull()
    assert weights(alone, OTHER) is None
    assert list(alone.replica.status.unreadable) == [OTHER]


# ------------------------------------------------------------------ whatever else a pull raises


@pytest.fixture
async def reader(database: Database, database_url: str) -> AsyncIterator[Database]:
    """The database as a role sees it that owns nothing."""
    await run(
        database,
        f"DO $$ BEGIN CREATE ROLE {ROLE}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}",
    )
    joint = "&" if "?" in database_url else "?"
    opened = Database(f"{database_url}{joint}options=-c%20role%3D{ROLE}")
    yield opened
    await opened.close()


# A table that takes four seconds to be read.
SLOW = "CREATE VIEW models AS SELECT m.* FROM other_models m, (SELECT pg_sleep(4)) AS slowly OFFSET 0"

# Each way to make every pull fail, and what readiness says of it.
REFUSED: dict[str, tuple[str, str]] = {
    "revoked": ("REVOKE SELECT ON routes FROM turnback_reader", "refused: permission denied for table routes"),
    "missing column": (
        "ALTER TABLE routes RENAME latency_horizon_ms TO of_tomorrow",
        "refused: column routes.latency_horizon_ms does not exist",
    ),
    "missing table": ("ALTER TABLE models RENAME TO of_tomorrow", 'refused: relation "models" does not exist'),
}


@pytest.mark.parametrize("way", list(REFUSED))
async def test_a_refused_pull_is_no_news_and_withholds_canaries_in_time(
    database: Database, reader: Database, way: str
) -> None:
    broken, why = REFUSED[way]
    await two_models(database)
    pace = Pace(poll_s=0.02, flush_s=0.02, canary_max_stale_s=0.5)
    with capture_logs() as logs:
        async with running(Plane(reader, pace)) as plane:
            await until(lambda: bool(plane.tables) and has_weight(plane, 100))
            await run(database, broken, BUMP)
            await until(lambda: plane.replica.status.canary_withheld)
            assert weights(plane, OTHER) == weights(plane, FRAUD) == {V1: FULL_BP}
            assert plane.tables[-1].models[0].route.generation == NO_COIN
            pull, push = plane.replica.status.contacts
            assert (pull.up, push.up) == (False, True)
            assert pull.why == why
            # Many pulls and pushes later it has been told once.
            await asyncio.sleep(0.5)
    told = [(each["event"], each.get("loop")) for each in logs if each["event"].startswith("database.")]
    assert told == [("database.lost", "pull")]


async def test_a_statement_that_runs_out_of_time_is_told_as_that(database: Database) -> None:
    await two_models(database)
    await run(database, "ALTER TABLE models RENAME TO other_models", SLOW)
    plane = Plane(database, STALE)
    assert not await plane.replica.pull()
    assert plane.replica.status.contacts[0].why == "a statement ran out of time"


async def test_a_lock_that_does_not_come_free_is_told_as_that(database: Database) -> None:
    await two_models(database)
    plane = Plane(database, STALE)
    async with database.transaction() as holder:
        await holder.execute(text("LOCK TABLE versions IN ACCESS EXCLUSIVE MODE"))
        assert not await plane.replica.pull()
    assert plane.replica.status.contacts[0].why == "a lock did not come free in time"


async def test_a_cold_start_whose_tables_are_refused_serves_from_disk_and_withholds(
    database: Database, reader: Database, tmp_path: Path
) -> None:
    await two_models(database)
    before = Plane(database, STALE)
    assert await before.replica.pull()
    Snapshot(tmp_path).save(before.tables[-1])
    await run(database, REFUSED["revoked"][0])
    clock = Later()
    plane = Plane(reader, STALE, snapshot=Snapshot(tmp_path), monotonic=clock)
    assert not await plane.replica.pull()
    assert plane.replica.status.from_disk
    assert has_weight(plane, 100)
    clock.ahead_s += STALE.canary_max_stale_s
    assert not await plane.replica.pull()
    assert weights(plane, FRAUD) == {V1: FULL_BP}


async def test_canaries_are_withheld_though_the_pull_is_stuck(database: Database) -> None:
    await two_models(database)
    async with running(Plane(database, Pace(poll_s=600.0, canary_max_stale_s=0.3))) as plane:
        await until(lambda: bool(plane.tables) and plane.replica.status.canary_withheld)
        assert weights(plane, FRAUD) == {V1: FULL_BP}


# ------------------------------------------------------------------ pushes


PUSH_REFUSED: Sequence[tuple[str, str]] = (
    (f"REVOKE INSERT ON tallies FROM {ROLE}", f"GRANT INSERT ON tallies TO {ROLE}"),
    ("ALTER TABLE tallies RENAME client_error TO gone", "ALTER TABLE tallies RENAME gone TO client_error"),
    (
        "ALTER TABLE tallies ADD CONSTRAINT refuses CHECK (second < 0) NOT VALID",
        "ALTER TABLE tallies DROP CONSTRAINT refuses",
    ),
)


@pytest.mark.parametrize(("broken", "mended"), PUSH_REFUSED, ids=["revoked", "missing column", "refused row"])
async def test_a_refused_push_acknowledges_nothing_and_goes_on(
    database: Database, reader: Database, broken: str, mended: str
) -> None:
    await registered(database)
    pace = Pace(poll_s=0.02, flush_s=0.02)
    async with running(Plane(reader, pace)) as plane:
        await until(lambda: plane.replica.status.database_up is True)
        await run(database, broken)
        plane.count(7)
        await until(lambda: plane.replica.status.contacts[1].up is False)
        assert plane.recorder.waiting == 1
        assert plane.replica.status.contacts[0].up
        await run(database, mended)
        plane.count(3)
        await until(lambda: plane.recorder.waiting == 0)
        assert await stored(database) == 10


async def test_a_table_that_the_data_plane_does_not_take_is_no_news_however_often_it_is_read(
    database: Database,
) -> None:
    means, clock = await two_models(database), Later()
    plane = Plane(database, STALE, monotonic=clock)
    assert await plane.replica.pull()
    broken = True

    def swap(table: RoutingTable) -> None:
        if broken and has_weight_of(table, 500):
            raise ZeroDivisionError
        plane.tables.append(table)

    plane.replica._routing._swap = swap
    await split(means, 500)
    for _ in range(3):
        assert not await plane.replica.pull()
        clock.ahead_s += STALE.canary_max_stale_s / 2
    assert weights(plane, FRAUD) == {V1: FULL_BP}
    assert plane.replica.status.canary_withheld
    assert plane.replica.status.contacts[0].why == "ZeroDivisionError:"
    broken = False
    assert await plane.replica.pull()
    assert has_weight(plane, 500)


def has_weight_of(table: RoutingTable, canary_bp: int) -> bool:
    return table.models[0].route.weights_bp.get(V2) == canary_bp


# ------------------------------------------------------------------ questions without an answer


async def test_a_pull_whose_connection_died_asks_again_beside_it(database: Database, database_url: str) -> None:
    means = await two_models(database)
    async with FaultWire(database_url).listening() as wire:
        behind = Database(wire.url)
        plane = Plane(behind, STALE)
        assert await plane.replica.pull()
        hit = wire.breaks_at(b"FROM routing", Wire.SWALLOWS)
        await split(means, 500)
        pulling = asyncio.create_task(plane.replica.pull())
        await hit.wait()
        await asyncio.sleep(ASK_AGAIN_S * 2)
        await wire.passes()
        # Long before the first question runs out of patience: it is dropped, and nobody is told of a loss.
        async with asyncio.timeout(SILENCE_MAX_S - ASK_AGAIN_S * 3):
            assert await pulling
        assert has_weight(plane, 500)
        assert plane.replica.status.contacts[0].up
        await behind.close()


async def test_a_pull_that_nobody_answers_ends_and_has_held_no_more_than_its_connections(
    database: Database, database_url: str
) -> None:
    async with FaultWire(database_url).listening() as wire:
        behind = Database(wire.url)
        plane = Plane(behind, STALE)
        wire.breaks(Wire.SWALLOWS)
        async with asyncio.timeout(3 * SILENCE_MAX_S):
            assert not await plane.replica.pull()
        # The wire may see the end of one just after the beginning of the next.
        assert wire.most_open <= QUESTIONS_MAX + 1
        await wire.passes()
        assert await plane.replica.pull()
        await behind.close()
