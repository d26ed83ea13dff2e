"""Tallies: written absolutely, read as far as everybody is final, never one arm further."""

import uuid
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, Watermark
from app.store.evidence import tallies
from app.store.pg.database import Database
from app.store.routing import replicas

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")
ARMS = (V1, V2)
START = 1_800_000_000


def row(second: int, version: VersionName, sequence: int, exchanges: int, *, generation: int = 1) -> TallyRow:
    tally = Tally(exchanges, {Outcome.OK: exchanges - 1, Outcome.TIMEOUT: 1}, 2, {100: exchanges - 1, 500: 1})
    return TallyRow(TallyKey(second, FRAUD, generation, version), tally, sequence)


async def written(database: Database, boot: str, *rows: TallyRow) -> None:
    async with database.transaction() as tx:
        await tallies.upsert(tx, boot, rows)


async def beaten(database: Database, boot: str, status: int, latency: int, *, role: str = "proxy") -> None:
    async with database.transaction() as tx:
        await replicas.beat(tx, boot, role, Watermark(status, latency), 1, ())


async def silenced(database: Database, boot: str) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            text("UPDATE replicas SET heartbeat = heartbeat - interval '6 s' WHERE boot = :boot"), {"boot": boot}
        )


async def read(database: Database, after: int) -> list[tuple[str, int, str, int]]:
    async with database.transaction() as tx:
        watermark = await replicas.watermark(tx)
        if watermark is None:
            return []
        found = await tallies.mature(tx, FRAUD, ARMS, after, watermark)
    return [(row.key.version, row.key.second, "", row.tally.exchanges) for row in found]


async def test_a_row_comes_back_as_it_was_written(database: Database) -> None:
    boot, sent = str(uuid.uuid4()), row(START, V1, 3, 7)
    await written(database, boot, sent)
    await beaten(database, boot, START, START)
    async with database.transaction() as tx:
        assert await tallies.mature(tx, FRAUD, ARMS, START - 1, Watermark(START, START)) == (sent,)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 3, 3)])
async def test_only_a_higher_sequence_overwrites_whatever_the_order(database: Database, order: tuple[int, ...]) -> None:
    boot = str(uuid.uuid4())
    for sequence in order:
        await written(database, boot, row(START, V1, sequence, 10 * sequence))
    await beaten(database, boot, START, START)
    assert await read(database, START - 1) == [(V1, START, "", 30)]


async def test_replicas_add_up_and_never_overwrite_each_other(database: Database) -> None:
    for exchanges in (10, 5):
        await written(database, str(uuid.uuid4()), row(START, V1, 1, exchanges))
    async with database.transaction() as tx:
        total = await tallies.history(tx, FRAUD, V1, START, START + 1)
    assert total == Tally(15, {Outcome.OK: 13, Outcome.TIMEOUT: 2}, 4, {100: 13, 500: 2})


async def test_nothing_is_read_beyond_the_slowest_live_replica_nor_one_arm_further(database: Database) -> None:
    quick, slow = str(uuid.uuid4()), str(uuid.uuid4())
    for boot in (quick, slow):
        await written(database, boot, *(row(START + n, version, 1, 10) for n in range(6) for version in ARMS))
    await beaten(database, quick, START + 5, START + 5)
    await beaten(database, slow, START + 1, START + 2)
    async with database.transaction() as tx:
        assert await replicas.watermark(tx) == Watermark(START + 1, START + 2)
    seconds = {version: [each[1] for each in await read(database, START) if each[0] == version] for version in ARMS}
    assert seconds[V1] == seconds[V2] == [START + 1, START + 1, START + 2, START + 2]


async def test_a_silent_boot_is_read_only_as_far_as_it_was_final(database: Database) -> None:
    living, silent = str(uuid.uuid4()), str(uuid.uuid4())
    for boot, exchanges in ((living, 10), (silent, 3)):
        await written(database, boot, *(row(START + n, version, 1, exchanges) for n in range(4) for version in ARMS))
    await beaten(database, living, START + 3, START + 3)
    await beaten(database, silent, START + 1, START + 2)
    await silenced(database, silent)
    found = await read(database, START - 1)
    assert {second for _, second, _, exchanges in found if exchanges == 10} == {START + n for n in range(4)}
    assert {second for _, second, _, exchanges in found if exchanges == 3} == {START, START + 1}


async def test_a_replica_that_does_not_serve_holds_nobody_back(database: Database) -> None:
    proxy, control = str(uuid.uuid4()), str(uuid.uuid4())
    await beaten(database, proxy, START + 3, START + 3)
    await beaten(database, control, 0, 0, role="control")
    async with database.transaction() as tx:
        assert await replicas.watermark(tx) == Watermark(START + 3, START + 3)


async def test_without_a_live_replica_there_is_no_watermark(database: Database) -> None:
    boot = str(uuid.uuid4())
    await beaten(database, boot, START, START)
    await silenced(database, boot)
    async with database.transaction() as tx:
        assert await replicas.watermark(tx) is None


async def test_a_watermark_never_goes_back(database: Database) -> None:
    boot = str(uuid.uuid4())
    await beaten(database, boot, START + 5, START + 5)
    await beaten(database, boot, START + 2, START + 7)
    async with database.transaction() as tx:
        assert await replicas.watermark(tx) == Watermark(START + 5, START + 7)


async def test_draws_without_a_coin_are_stored_but_not_judged(database: Database) -> None:
    boot = str(uuid.uuid4())
    await written(database, boot, row(START, V1, 1, 9, generation=0), row(START, V1, 1, 4))
    await beaten(database, boot, START, START)
    assert [exchanges for *_, exchanges in await read(database, START - 1)] == [4]
    async with database.transaction() as tx:
        assert (await tallies.history(tx, FRAUD, V1, START, START + 1)).exchanges == 13


async def test_metrics_are_cut_in_steps_by_version(database: Database) -> None:
    boot = str(uuid.uuid4())
    await written(database, boot, *(row(START + n, version, 1, 10) for n in range(5) for version in ARMS))
    async with database.transaction() as tx:
        found = await tallies.slots(tx, FRAUD, START, START + 5, step=2)
        only = await tallies.slots(tx, FRAUD, START, START + 5, version=V2)
    assert [(slot.version, slot.start - START, slot.end - START, slot.tally.exchanges) for slot in found] == [
        (V1, 0, 2, 20),
        (V2, 0, 2, 20),
        (V1, 2, 4, 20),
        (V2, 2, 4, 20),
        (V1, 4, 5, 10),
        (V2, 4, 5, 10),
    ]
    assert found[0].tally.latency_bins == {100: 18, 500: 2}
    assert [(slot.version, slot.tally.exchanges) for slot in only] == [(V2, 50)]


async def test_a_tally_without_latencies_is_still_counted(database: Database) -> None:
    boot, key = str(uuid.uuid4()), TallyKey(START, FRAUD, 1, V1)
    await written(database, boot, TallyRow(key, Tally(exchanges=4), 1))
    async with database.transaction() as tx:
        assert await tallies.history(tx, FRAUD, V1, START, START + 1) == Tally(exchanges=4)
        assert await tallies.history(tx, FRAUD, V2, START, START + 1) == Tally()


async def test_the_observed_share_counts_the_last_seconds_only(database: Database) -> None:
    now = int(datetime.now(UTC).timestamp())
    boot = str(uuid.uuid4())
    await written(database, boot, row(now - 1, V1, 1, 30), row(now - 1, V2, 1, 10), row(now - 100, V2, 1, 99))
    async with database.transaction() as tx:
        assert await tallies.exchanges(tx, FRAUD, 60) == {V1: 30, V2: 10}
