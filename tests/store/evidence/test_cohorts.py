"""Matured labels: each exchange once, as it was said in time, beside what was predicted and what the next one said."""

import json
import uuid
from datetime import UTC, datetime

from sqlalchemy import text

from app.domain.catalog.declarations import QualityKind, QualityMetric
from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.absorb_cohort import Matured
from app.store.evidence import cohorts
from app.store.pg.database import Database

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")
METRIC = QualityMetric("right", QualityKind.ACCURACY, horizon_s=60.0)
START = int(datetime.now(UTC).timestamp())
FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=2)

_LABEL = text(
    """
    INSERT INTO labels
        (exchange, metric, source, revision, second, model, version, generation, label, slices, received_at)
    VALUES (:exchange, 'right', :source, :revision, :second, 'fraud', :version, 2, CAST(:label AS jsonb), '{}',
            to_timestamp(:received_s))
    """
)


async def labelled(
    database: Database,
    exchange: uuid.UUID,
    source: str,
    label: object,
    *,
    after_s: float = 1.0,
    revision: int = 1,
    second: int = START,
) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            _LABEL,
            {
                "exchange": exchange,
                "source": source,
                "revision": revision,
                "second": second,
                "version": V2,
                "label": json.dumps(label),
                "received_s": second + after_s,
            },
        )


async def read(database: Database, after: int = START - 1, through: int = START + 10) -> Matured:
    async with database.transaction() as tx:
        return await cohorts.matured(tx, FRAUD, METRIC, (V1, V2), after, through)


async def test_an_exchange_counts_for_the_source_that_came_first_and_the_next_one_is_heard_too(
    database: Database,
) -> None:
    await labelled(database, FIRST, "slow", "0", after_s=9.0)
    await labelled(database, FIRST, "quick", "1", after_s=2.0)
    await labelled(database, SECOND, "slow", [1, 0], after_s=3.0)
    seen = await read(database)
    assert [(row.exchange, row.source, row.label, row.another) for row in seen.rows] == [
        (FIRST.hex, "quick", "1", "0"),
        (SECOND.hex, "slow", (1, 0), None),
    ]
    assert seen.disagreed == 1


async def test_sources_that_write_the_same_label_differently_do_not_disagree(database: Database) -> None:
    for source, label in (("a", 1), ("b", 1.0), ("c", True)):
        await labelled(database, FIRST, source, label)
    for source, label in (("a", 1), ("b", 1.0), ("c", 0)):
        await labelled(database, SECOND, source, label)
    assert (await read(database)).disagreed == 1


async def test_a_correction_counts_if_it_came_in_time_and_does_not_lose_its_place(
    database: Database,
) -> None:
    await labelled(database, FIRST, "quick", "1", after_s=2.0)
    await labelled(database, FIRST, "slow", "0", after_s=3.0)
    await labelled(database, FIRST, "quick", "0", after_s=50.0, revision=2)
    await labelled(database, FIRST, "quick", "1", after_s=70.0, revision=3)
    (row,) = (await read(database)).rows
    assert (row.source, row.label) == ("quick", "0")


async def test_what_came_after_the_horizon_or_lies_outside_of_the_span_is_not_read(database: Database) -> None:
    await labelled(database, FIRST, "ops", "1", after_s=61.0)
    await labelled(database, SECOND, "ops", "1", second=START + 11)
    assert (await read(database)).rows == ()
    assert [row.exchange for row in (await read(database, START, START + 11)).rows] == [SECOND.hex]


async def test_a_look_reads_whole_seconds_and_no_more_labels_than_it_can(database: Database) -> None:
    for place in range(6):
        await labelled(database, uuid.UUID(int=10 + place), "ops", "1", second=START + place // 2)
    async with database.transaction() as tx:
        part = await cohorts.matured(tx, FRAUD, METRIC, (V2,), START - 1, START + 10, most=5)
    assert (len(part.rows), part.through) == (4, START + 1)
    rest = await read(database, part.through)
    assert (len(rest.rows), rest.through) == (2, START + 10)


async def test_what_came_without_a_key_counts_only_where_no_source_with_one_has_spoken_in_time(
    database: Database,
) -> None:
    third = uuid.UUID(int=3)
    await labelled(database, FIRST, "anonymous", "1", after_s=1.0)
    await labelled(database, FIRST, "slow", "0", after_s=50.0)
    await labelled(database, FIRST, "slower", "2", after_s=55.0)
    await labelled(database, SECOND, "anonymous", "1", after_s=1.0)
    await labelled(database, third, "anonymous", "1", after_s=1.0)
    await labelled(database, third, "slow", "0", after_s=61.0)
    seen = await read(database)
    assert [(row.exchange, row.source, row.label, row.another) for row in seen.rows] == [
        (FIRST.hex, "slow", "0", "2"),
        (SECOND.hex, "anonymous", "1", None),
        (third.hex, "anonymous", "1", None),
    ]
    assert seen.disagreed == 1


async def test_what_has_been_read_is_not_changed_by_who_counts_for_more(database: Database) -> None:
    await labelled(database, FIRST, "anonymous", "1", after_s=1.0)
    before = await read(database)
    # Its second is read once, when its horizon is over; what comes after that has come too late.
    await labelled(database, FIRST, "anonymous", "0", after_s=60.5, revision=2)
    await labelled(database, FIRST, "slow", "0", after_s=60.5)
    assert await read(database) == before
