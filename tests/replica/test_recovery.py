"""What dead processes left is written in their name; a start without Postgres serves from disk."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from replica.test_replica import FRAUD, V1, V2, Plane, has_weight, registered, running, split, stored, until

from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, UnitRow, Watermark
from app.replica.replica import Pace
from app.replica.snapshot import Snapshot
from app.store.evidence import tallies
from app.store.pg.database import Database
from app.store.routing import replicas


class Left:
    """One dead boot's journal, which says what became of it."""

    def __init__(self, rows: int = 1, units: int = 0) -> None:
        self.boot = uuid.uuid4().hex
        self.rows = tuple(
            TallyRow(TallyKey(1_000 + at, FRAUD, 1, V1), Tally(2, {Outcome.OK: 2}, 0, {100: 2}), 5)
            for at in range(rows)
        )
        self.units = tuple(UnitRow(FRAUD, 1, at, 1_000, 1, V1, Outcome.OK, 100) for at in range(units))
        self.bad_records = 0
        self.fate = ""

    def forget(self) -> None:
        self.fate = "forgotten"

    def let_go(self) -> None:
        self.fate = "let go"


def plane_that_finds(database: Database, *left: Left) -> Plane:
    def found() -> Iterator[Left]:
        return (each for each in left if each.fate != "forgotten")

    return Plane(database, Pace(poll_s=0.05, flush_s=0.05), dead_boots=found)


async def test_a_dead_boots_rows_are_written_once_however_often_they_are_found(database: Database) -> None:
    await registered(database)
    left = Left(rows=5_000, units=10)
    plane = plane_that_finds(database, left)
    await plane.replica.recover()
    assert left.fate == "forgotten"
    left.fate = ""
    await plane.replica.recover()
    assert await stored(database) == 10_000
    async with database.transaction() as tx:
        found = (await tx.exec_driver_sql("SELECT count(*), count(DISTINCT boot) FROM units")).one()
    assert tuple(found) == (10, 1)


async def test_recovered_rows_make_no_replica_that_anybody_waits_for(database: Database) -> None:
    await registered(database)
    await plane_that_finds(database, Left()).replica.recover()
    async with database.transaction() as tx:
        assert await replicas.live(tx) == ()


async def test_recovered_rows_are_stored_and_not_judged(database: Database) -> None:
    await registered(database)
    await plane_that_finds(database, Left()).replica.recover()
    async with database.transaction() as tx:
        assert await tallies.mature(tx, FRAUD, (V1, V2), 0, Watermark(2_000, 2_000)) == ()
    assert await stored(database) == 2


async def test_without_postgres_a_dead_boot_is_left_for_later(tmp_path: Path) -> None:
    database = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    first, second = Left(), Left()
    await plane_that_finds(database, first, second).replica.recover()
    assert (first.fate, second.fate) == ("let go", "")
    await database.close()


async def test_a_boot_that_postgres_refuses_keeps_nobody_else_waiting(database: Database) -> None:
    await registered(database)
    refused, sound = Left(), Left()
    refused.rows = (TallyRow(TallyKey(1_000, FRAUD, 1, V1), Tally(2**40), 5),)
    await plane_that_finds(database, refused, sound).replica.recover()
    assert (refused.fate, sound.fate) == ("let go", "forgotten")
    assert await stored(database) == 2


async def test_the_loops_recover_by_themselves(database: Database) -> None:
    await registered(database)
    left = Left(rows=3)
    async with running(plane_that_finds(database, left)):
        await until(lambda: left.fate == "forgotten")
    assert await stored(database) == 6


async def test_nothing_is_handed_out_while_postgres_does_not_listen(database: Database, tmp_path: Path) -> None:
    away = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    plane = Plane(database, Pace())
    await plane.replica.pull()
    plane.count(1)
    plane.replica._database = away
    assert not await plane.replica.push()
    assert plane.data_plane.handed_out == 0
    plane.replica._database = database
    assert await plane.replica.push()
    assert plane.data_plane.handed_out == 1
    await away.close()


def on_disk(database: Database, folder: Path, **pace: float) -> Plane:
    return Plane(database, Pace(poll_s=0.05, flush_s=0.05, **pace), snapshot=Snapshot(folder))


async def test_a_start_without_postgres_serves_from_disk_until_it_is_back(database: Database, tmp_path: Path) -> None:
    means = await registered(database)
    await split(means, 100)
    async with running(on_disk(database, tmp_path)):
        await until(lambda: Snapshot(tmp_path).load() is not None)
    away = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    async with running(on_disk(away, tmp_path, canary_max_stale_s=0.3)) as plane:
        await until(lambda: bool(plane.tables))
        assert plane.weights_bp == {V1: 9_900, V2: 100}
        assert plane.replica.status.from_disk
        # Nobody knows how old it is, so the canary's time runs from the start.
        await until(lambda: plane.replica.status.canary_withheld)
        assert plane.weights_bp == {V1: FULL_BP}
        assert plane.replica.status.routing_age_s is None
        plane.replica._routing.database = database
        await until(lambda: not plane.replica.status.from_disk)
        assert has_weight(plane, 100)
    await away.close()


async def test_a_table_from_disk_is_replaced_even_by_one_of_the_same_revision(
    database: Database, tmp_path: Path
) -> None:
    means = await registered(database)
    plane = Plane(database, Pace())
    await plane.replica.pull()
    await split(means, 100)
    Snapshot(tmp_path).save(replace(plane.tables[-1], revision=plane.tables[-1].revision + 1))
    away = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    later = on_disk(away, tmp_path)
    assert not await later.replica.pull()
    assert later.weights_bp == {V1: FULL_BP}
    later.replica._routing.database = database
    assert await later.replica.pull()
    assert later.replica.status.applied_revision == plane.tables[-1].revision + 1
    assert has_weight(later, 100)
    await away.close()


async def test_without_a_snapshot_a_start_without_postgres_waits(tmp_path: Path) -> None:
    away = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    async with running(on_disk(away, tmp_path / "empty")) as plane:
        await until(lambda: plane.replica.status.database_up is False)
        await asyncio.sleep(0.2)
        assert plane.tables == []
        assert not plane.replica.status.canary_withheld
    await away.close()
