"""Partitions: ahead of time, never in the way of late rows, dropped whole."""

import asyncio
import uuid
from datetime import UTC, datetime

from sqlalchemy import text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.labels import Attributed, Exchange, Label
from app.domain.evidence.tally import Tally, TallyKey, TallyRow, Watermark
from app.store.evidence import tallies
from app.store.labels import labels
from app.store.pg import partitions
from app.store.pg.database import Database
from app.store.pg.partitions import DAY_S, PARTITIONED
from app.store.routing import replicas

FRAUD, V1 = ModelName("fraud"), VersionName("v1")


async def count(database: Database, second: int, exchanges: int) -> None:
    async with database.transaction() as tx:
        row = TallyRow(TallyKey(second, FRAUD, 1, V1), Tally(exchanges), 1)
        await tallies.upsert(tx, str(uuid.uuid4()), [row])


async def total(database: Database) -> int:
    async with database.transaction() as tx:
        return (await tallies.history(tx, FRAUD, V1, 0, 2**40)).exchanges


async def rows_by_table(database: Database) -> dict[str, int]:
    async with database.transaction() as tx:
        found = await tx.execute(text("SELECT tableoid::regclass::text, count(*) FROM tallies GROUP BY 1"))
        return {row[0]: row[1] for row in found}


async def today(database: Database) -> int:
    async with database.transaction() as tx:
        return int(await tx.scalar(text("SELECT extract(epoch FROM clock_timestamp())::bigint / 86400")) or 0)


async def test_today_and_the_days_ahead_exist_and_making_them_twice_makes_none(database: Database) -> None:
    async with database.transaction() as tx:
        made = await partitions.ensure_partitions(tx, days_ahead=2)
        assert {table: sum(name.startswith(f"{table}_2") for name in made) for table in PARTITIONED} == dict.fromkeys(
            ("tallies", "observed", "spreads", "answers", "labels"), 3
        )
        assert await partitions.ensure_partitions(tx, days_ahead=2) == ()
    await count(database, await today(database) * DAY_S, 1)
    (table,) = await rows_by_table(database)
    assert table.startswith("tallies_2")


async def test_rows_that_came_before_their_partition_are_moved_into_it(database: Database) -> None:
    day = await today(database)
    await count(database, day * DAY_S + 5, 1)
    await count(database, (day - 9) * DAY_S, 10)
    assert await rows_by_table(database) == {"tallies_default": 2}
    async with database.transaction() as tx:
        made = await partitions.ensure_partitions(tx, days_ahead=0)
    of_tallies = {name for name in made if name.startswith("tallies_")}
    assert len(of_tallies) == 2
    assert set(await rows_by_table(database)) == of_tallies
    assert await total(database) == 11


async def test_who_writes_while_a_partition_is_made_waits_and_finds_it(database: Database) -> None:
    day = await today(database)
    await count(database, day * DAY_S, 1)
    async with database.transaction() as tx:
        await partitions.ensure_partitions(tx, days_ahead=0)
        writing = asyncio.create_task(count(database, day * DAY_S + 1, 10))
        # Long enough for the row to have looked for its way, and well within what a statement may wait for a lock.
        _, still_waits = await asyncio.wait({writing}, timeout=0.3)
    await writing
    assert still_waits
    assert sum((await rows_by_table(database)).values()) == 2
    assert "tallies_default" not in await rows_by_table(database)
    assert await total(database) == 11


async def test_old_days_are_dropped_whole_and_recent_ones_stay(database: Database) -> None:
    day = await today(database)
    for age, exchanges in ((0, 1), (3, 10), (4, 100), (40, 1_000)):
        await count(database, (day - age) * DAY_S + 7, exchanges)
    async with database.transaction() as tx:
        await partitions.ensure_partitions(tx)
        dropped = await partitions.drop_partitions(tx, keep_days=3)
    assert len(dropped) == 2
    assert await total(database) == 11
    async with database.transaction() as tx:
        assert await partitions.drop_partitions(tx, keep_days=3) == ()


async def label(database: Database, second: int, exchange: str, source: str = "ann") -> None:
    about = Exchange(exchange, second, FRAUD, V1, 1)
    given = Label("accuracy", source, "1", None, datetime.now(UTC))
    async with database.transaction() as tx:
        await labels.add(tx, [Attributed(about, given)])


async def labels_by_table(database: Database) -> dict[str, int]:
    async with database.transaction() as tx:
        found = await tx.execute(text("SELECT tableoid::regclass::text, count(*) FROM labels GROUP BY 1"))
        return {row[0]: row[1] for row in found}


async def test_a_late_label_lands_in_the_day_of_its_draw_and_is_dropped_with_it(database: Database) -> None:
    day = await today(database)
    exchange = uuid.uuid4().hex
    await label(database, (day - 9) * DAY_S, exchange)
    async with database.transaction() as tx:
        await partitions.ensure_partitions(tx)
    await label(database, (day - 9) * DAY_S, exchange, "bob")
    await label(database, (day - 9) * DAY_S, exchange, "bob")
    (table,) = await labels_by_table(database)
    assert await labels_by_table(database) == {table: 2}
    assert table != "labels_default"
    async with database.transaction() as tx:
        assert await partitions.drop_partitions(tx, keep_days=8) == (table,)
    assert await labels_by_table(database) == {}


async def test_boots_are_forgotten_only_after_all_they_counted(database: Database) -> None:
    boots = {days: str(uuid.uuid4()) for days in (0, 30, 32)}
    async with database.transaction() as tx:
        for days, boot in boots.items():
            await replicas.beat(tx, boot, "proxy", Watermark(0, 0), 0, frozenset())
            await tx.execute(
                text("UPDATE replicas SET heartbeat = heartbeat - make_interval(days => :days) WHERE boot = :boot"),
                {"days": days, "boot": uuid.UUID(boot)},
            )
        await replicas.forget(tx, 30)
        left = {str(boot) for boot in await tx.scalars(text("SELECT boot FROM replicas"))}
    assert left == {boots[0], boots[30]}
