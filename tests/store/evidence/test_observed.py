"""What was read of answers: written absolutely, read as far as everybody is final, counts and distributions alike."""

import uuid

import pytest
from sqlalchemy import text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.observed import Flaw, Measure, Observed, ObservedRow, SliceCounts, SpreadRow
from app.domain.evidence.tally import TallyKey, Watermark
from app.domain.stats.histogram import Spread, histogram_of
from app.store.evidence import observed
from app.store.pg.database import Database
from app.store.routing import replicas

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")
ARMS = (V1, V2)
START = 1_800_000_000


def key(second: int, version: VersionName, generation: int = 1) -> TallyKey:
    return TallyKey(second, FRAUD, generation, version)


def counted(second: int, version: VersionName, sequence: int, read: int, *, generation: int = 1) -> ObservedRow:
    content = Observed(
        judged=read + 1,
        bad=1,
        read=read,
        flawed=2,
        flaws={Flaw.NONFINITE: 1, Flaw.SCHEMA: 2},
        measures={"cost": Measure(read, 0.1 * read, 1 / 3)},
        slices={"carrier": {"UA": SliceCounts(read, 1, read, 2), "other": SliceCounts(1)}},
    )
    return ObservedRow(key(second, version, generation), content, sequence)


def spread(second: int, version: VersionName, sequence: int, values: list[float | str | None]) -> SpreadRow:
    content = Spread(histogram_of(values), {"delay": histogram_of([0.1, -3.0, None, float("nan")])})
    return SpreadRow(key(second, version), content, sequence)


async def written(database: Database, boot: str, *rows: ObservedRow | SpreadRow, through: int) -> None:
    async with database.transaction() as tx:
        await observed.upsert(tx, boot, rows)
        await replicas.beat(tx, boot, "proxy", Watermark(through, through), 1, ())


async def read(database: Database, after: int, through: int) -> tuple[ObservedRow, ...]:
    async with database.transaction() as tx:
        return await observed.mature(tx, FRAUD, ARMS, after, through)


async def read_spreads(database: Database, after: int, through: int) -> tuple[SpreadRow, ...]:
    async with database.transaction() as tx:
        return await observed.mature_spreads(tx, FRAUD, ARMS, after, through)


async def test_rows_of_both_kinds_come_back_to_the_bit_as_they_were_written(database: Database) -> None:
    counts, values = counted(START, V1, 3, 7), spread(START, V2, 4, [0.1, 0.2, "late", None])
    await written(database, str(uuid.uuid4()), counts, values, through=START + 20)
    assert await read(database, START - 1, START + 20) == (counts,)
    assert await read_spreads(database, START - 1, START + 20) == (values,)


HOSTILE = ["a\x00b", "\ud800", "\\u0000", "\\\x00", "\U0001f6eb", "\x1b[2J"]


@pytest.mark.parametrize("text_sent", HOSTILE, ids=range(len(HOSTILE)))
async def test_no_text_that_a_request_or_a_model_sends_keeps_rows_from_being_written(
    database: Database, text_sent: str
) -> None:
    counts = Observed(2, slices={"carrier": {text_sent: SliceCounts(1), "UA": SliceCounts(1)}})
    rows = (ObservedRow(key(START, V1), counts, 1), spread(START, V1, 1, [text_sent, "fine"]))
    await written(database, str(uuid.uuid4()), *rows, through=START + 20)
    (row,) = await read(database, START - 1, START + 20)
    assert sorted(row.observed.slices["carrier"].values()) == [SliceCounts(1), SliceCounts(1)]
    (distribution,) = await read_spreads(database, START - 1, START + 20)
    assert sum(distribution.spread.predictions.labels.values()) == 2
    unchanged = "\x00" not in text_sent and text_sent != "\ud800"
    assert (text_sent in row.observed.slices["carrier"]) == unchanged


async def test_writing_nothing_is_allowed(database: Database) -> None:
    await written(database, str(uuid.uuid4()), through=START)
    assert await read(database, 0, START) == ()


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 3, 3)])
async def test_only_a_higher_sequence_overwrites_whatever_the_order(database: Database, order: tuple[int, ...]) -> None:
    boot = str(uuid.uuid4())
    for sequence in order:
        rows = (counted(START, V1, sequence, 10 * sequence), spread(START, V1, sequence, [1.0] * sequence))
        await written(database, boot, *rows, through=START + 20)
    assert [row.observed.read for row in await read(database, START - 1, START + 20)] == [30]
    assert [row.spread.predictions.n for row in await read_spreads(database, START - 1, START + 20)] == [3]


async def test_replicas_never_overwrite_each_other(database: Database) -> None:
    for exchanges in (10, 5):
        await written(database, str(uuid.uuid4()), counted(START, V1, 1, exchanges), through=START)
    assert sorted(row.observed.read for row in await read(database, START - 1, START)) == [5, 10]


async def test_a_silent_boot_is_read_only_as_far_as_it_was_final(database: Database) -> None:
    silent = str(uuid.uuid4())
    await written(database, silent, *(counted(START + n, V1, 1, 10) for n in range(4)), through=START + 1)
    assert [row.key.second for row in await read(database, START - 1, START + 3)] == [START, START + 1]


async def test_only_seconds_after_the_last_reading_and_up_to_the_watermark_are_read(database: Database) -> None:
    rows = (counted(START + n, version, 1, 10) for n in range(6) for version in ARMS)
    await written(database, str(uuid.uuid4()), *rows, through=START + 5)
    found = await read(database, START + 1, START + 3)
    assert [(row.key.second, row.key.version) for row in found] == [
        (START + n, version) for n in (2, 3) for version in ARMS
    ]


async def test_a_distribution_is_read_only_when_its_last_second_is_final(database: Database) -> None:
    await written(database, str(uuid.uuid4()), spread(START, V1, 1, [1.0]), through=START + 30)
    assert await read_spreads(database, START - 1, START + 8) == ()
    assert len(await read_spreads(database, START - 1, START + 9)) == 1
    assert await read_spreads(database, START, START + 9) == ()


async def test_a_distribution_of_a_silent_boot_that_was_not_yet_whole_is_never_read(database: Database) -> None:
    await written(database, str(uuid.uuid4()), spread(START, V1, 1, [1.0]), through=START + 8)
    assert await read_spreads(database, START - 1, START + 30) == ()


async def test_neither_draws_without_a_coin_nor_a_third_version_are_evidence(database: Database) -> None:
    rows = (counted(START, V1, 1, 10, generation=0), counted(START, VersionName("v3"), 1, 10))
    await written(database, str(uuid.uuid4()), *rows, through=START)
    assert await read(database, START - 1, START) == ()


async def test_what_was_read_before_the_rollout_began_is_not_its_evidence(database: Database) -> None:
    await written(
        database, str(uuid.uuid4()), *(counted(START, V1, 1, 10, generation=n) for n in (4, 5)), through=START
    )
    async with database.transaction() as tx:
        await tx.execute(text("INSERT INTO models (name) VALUES ('fraud')"))
        await tx.execute(
            text(
                """
                INSERT INTO versions (model, name, urls, connect_s, first_byte_s, idle_s, total_s)
                SELECT 'fraud', name, '{http://m:1}', 1, 1, 1, 1 FROM unnest(ARRAY['v1', 'v2']) AS name
                """
            )
        )
        await tx.execute(
            text(
                """
                INSERT INTO rollouts (id, model, stable, canary, phase, weight_bp, generation, started_generation,
                    started_at, state)
                VALUES (gen_random_uuid(), 'fraud', 'v1', 'v2', 'ramping', 100, 5, 5, clock_timestamp(), '{}')
                """
            )
        )
    assert [row.key.generation for row in await read(database, START - 1, START)] == [5]
