"""First exchanges of sticky callers: read once, when no earlier one can come any more."""

from uuid import UUID

from sqlalchemy import text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Outcome, TallyRow, UnitRow, Watermark
from app.store.evidence import randomization_units
from app.store.pg.database import Database
from app.store.routing import replicas

FRAUD, V1, V2, V3 = ModelName("fraud"), VersionName("v1"), VersionName("v2"), VersionName("v3")
A, B = str(UUID(int=1)), str(UUID(int=2))
SALTED_AT = 7


def first(unit: int, second: int, version: VersionName = V1, outcome: Outcome = Outcome.OK, **other: int) -> UnitRow:
    generation, salted_at = other.get("generation", SALTED_AT), other.get("salted_at", SALTED_AT)
    return UnitRow(FRAUD, salted_at, unit, second, generation, version, outcome, other.get("latency_bin", 300))


async def written(database: Database, boot: str, through: int, *rows: UnitRow) -> None:
    async with database.transaction() as tx:
        await randomization_units.upsert(tx, boot, rows)
        await replicas.beat(tx, boot, "proxy", Watermark(through, through), 0, ())


async def read(database: Database, after: int, through: int) -> tuple[TallyRow, ...]:
    async with database.transaction() as tx:
        return await randomization_units.mature(tx, FRAUD, SALTED_AT, (V1, V2), after, through)


async def counted(database: Database, after: int, through: int) -> int:
    return sum(row.tally.exchanges for row in await read(database, after, through))


async def test_units_are_summed_by_second_generation_and_version(database: Database) -> None:
    await written(
        database,
        A,
        20,
        first(1, 10),
        first(2, 10),
        first(3, 10, outcome=Outcome.TIMEOUT, latency_bin=500),
        first(4, 10, V2),
        first(5, 10, generation=8),
        first(6, 11),
    )
    rows = {(row.key.second, row.key.generation, row.key.version): row.tally for row in await read(database, 9, 20)}
    assert {key: tally.exchanges for key, tally in rows.items()} == {
        (10, 7, "v1"): 3,
        (10, 7, "v2"): 1,
        (10, 8, "v1"): 1,
        (11, 7, "v1"): 1,
    }
    both = rows[10, 7, V1]
    assert both.outcomes == {Outcome.OK: 2, Outcome.TIMEOUT: 1}
    assert both.latency_bins == {300: 2, 500: 1}
    assert both.judged == both.exchanges


async def test_only_this_salt_these_arms_this_span_and_draws_with_a_coin_count(database: Database) -> None:
    others = [first(1, 10, salted_at=6), first(2, 10, V3), first(3, 9), first(4, 21), first(5, 10, generation=0)]
    await written(database, A, 30, *others, first(6, 10), first(7, 20))
    assert await counted(database, 9, 20) == 2


async def test_a_unit_seen_by_two_boots_counts_where_it_was_drawn_first_whoever_writes_first(
    database: Database,
) -> None:
    await written(database, A, 20, first(1, 12, V2), first(2, 10, V1))
    await written(database, B, 20, first(1, 11, V1), first(2, 13, V2))
    rows = await read(database, 9, 20)
    assert [(row.key.second, row.key.version, row.tally.exchanges) for row in rows] == [(10, "v1", 1), (11, "v1", 1)]


async def test_reading_in_pieces_reads_every_unit_once(database: Database) -> None:
    await written(database, A, 20, *(first(unit, 10 + unit % 10) for unit in range(100)))
    whole = await counted(database, 9, 19)
    assert whole == 100
    assert sum([await counted(database, end - 1, end) for end in range(10, 20)]) == whole


async def test_an_earlier_draw_that_is_told_after_its_second_was_read_does_not_count_a_unit_again(
    database: Database,
) -> None:
    await written(database, A, 15, first(1, 12, V2))
    assert await counted(database, 9, 15) == 1
    await written(database, B, 20, first(1, 11, V1))
    assert await counted(database, 15, 20) == 0


async def test_of_a_boot_that_fell_silent_only_what_it_had_declared_final_counts(database: Database) -> None:
    await written(database, A, 12, first(1, 11), first(2, 14))
    async with database.transaction() as tx:
        await tx.execute(text("UPDATE replicas SET heartbeat = heartbeat - interval '1 minute'"))
    await written(database, B, 20, first(3, 14))
    assert await counted(database, 9, 20) == 2
