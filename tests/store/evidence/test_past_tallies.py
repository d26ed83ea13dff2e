"""Tallies read again: the rows a look would have read, summed over processes and over steps of time."""

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Counter, Outcome, Tally, TallyKey, TallyRow, Watermark
from app.store.evidence import tallies
from app.store.evidence.past_tallies import Whose, summed
from app.store.pg import partitions
from app.store.pg.database import Database
from app.store.routing import replicas

FRAUD, V1, V2, V3 = ModelName("fraud"), VersionName("v1"), VersionName("v2"), VersionName("v3")
A, B = "0" * 32, "1" * 32
START = 1_800_000_000


def row(second: int, version: VersionName = V1, exchanges: int = 10, generation: int = 3) -> TallyRow:
    tally = Tally(exchanges, {Outcome.OK: exchanges}, 1, {100: exchanges}, {Counter.FORCED: 1})
    return TallyRow(TallyKey(START + second, FRAUD, generation, version), tally, 1)


async def written(database: Database, boot: str, through: int, *rows: TallyRow) -> None:
    async with database.transaction() as tx:
        await tallies.upsert(tx, boot, rows)
        await replicas.beat(tx, boot, "proxy", Watermark(START + through, START + through), 1, ())


async def read(database: Database, through: int, *, final: int = 100, step: int = 1) -> tuple[TallyRow, ...]:
    async with database.transaction() as tx:
        whose = Whose(FRAUD, V1, V2, Watermark(START + final, START + final), 2)
        return await summed(tx, whose, START - 1, START + through, step=step)


async def test_processes_are_summed_by_second_generation_and_version(database: Database) -> None:
    await written(database, A, 100, row(0), row(0, V2, 3), row(0, generation=4), row(1))
    await written(database, B, 100, row(0))
    found = {
        (each.key.second - START, each.key.generation, each.key.version): each.tally for each in await read(database, 9)
    }
    assert {key: tally.exchanges for key, tally in found.items()} == {
        (0, 3, "v1"): 20,
        (0, 3, "v2"): 3,
        (0, 4, "v1"): 10,
        (1, 3, "v1"): 10,
    }
    assert found[0, 3, V1] == Tally(20, {Outcome.OK: 20}, 2, {100: 20}, {Counter.FORCED: 2})


async def test_a_step_stands_in_its_last_second_and_the_last_step_may_be_short(database: Database) -> None:
    await written(database, A, 100, *(row(second) for second in range(7)))
    found = await read(database, 6, step=3)
    assert [(each.key.second - START, each.tally.exchanges) for each in found] == [(2, 30), (5, 30), (6, 10)]


async def test_neither_other_versions_nor_earlier_generations_nor_later_seconds_are_read(database: Database) -> None:
    await written(database, A, 100, row(0, V3), row(0, generation=1), row(10), row(-1))
    assert await read(database, 9) == ()


async def test_a_boot_that_fell_silent_is_read_as_far_as_it_went(database: Database) -> None:
    await written(database, A, 2, *(row(second) for second in range(5)))
    assert [each.key.second - START for each in await read(database, 9, final=4)] == [0, 1, 2]
    assert [each.key.second - START for each in await read(database, 9, final=2)] == [0, 1, 2, 3, 4]


async def test_the_sums_are_those_of_the_rows_a_look_would_have_read(database: Database) -> None:
    await written(database, A, 4, *(row(second, version) for second in range(5) for version in (V1, V2)))
    await written(database, B, 9, *(row(second) for second in range(10)))
    mark = Watermark(START + 9, START + 9)
    async with database.transaction() as tx:
        looked = await tallies.mature(tx, FRAUD, (V1, V2), START - 1, mark)
    again = await read(database, 9, final=9)
    for version in (V1, V2):
        sums = [sum((each.tally for each in rows if each.key.version == version), Tally()) for rows in (looked, again)]
        assert sums[0] == sums[1]


async def test_counters_are_summed_from_a_second_on_over_the_newest_rows(database: Database) -> None:
    await written(database, A, 100, *(row(second) for second in range(5)))
    async with database.transaction() as tx:
        assert await tallies.counters(tx, FRAUD, V1, START + 2, rows_max=100) == {Counter.FORCED: 3}
        assert await tallies.counters(tx, FRAUD, V1, START, rows_max=2) == {Counter.FORCED: 2}
        assert await tallies.counters(tx, FRAUD, V2, START, rows_max=2) == {}


async def test_the_oldest_second_is_that_of_the_oldest_day_that_is_kept(database: Database) -> None:
    async with database.transaction() as tx:
        await partitions.ensure_partitions(tx)
        kept = await partitions.oldest_second(tx)
        await partitions.drop_partitions(tx, keep_days=-1)
        later = await partitions.oldest_second(tx)
    assert kept % partitions.DAY_S == 0
    assert later == kept + partitions.DAY_S
