"""What is usual for stable is told from its newest labels, however many there are."""

from datetime import UTC, datetime

import pytest

from app.domain.catalog.declarations import QualityKind, QualityMetric
from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.labels import Attributed, Exchange, Label
from app.store.evidence import cohorts
from app.store.labels import labels
from app.store.pg.database import Database

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")
METRIC = QualityMetric("right", QualityKind.SCORE, horizon_s=60.0)
START = 1_800_000_000


def label(number: int, second: int, version: VersionName, value: float) -> Attributed:
    received = datetime.fromtimestamp(second + 1, UTC)
    exchange = Exchange(f"{number:032x}", second, FRAUD, version, 1)
    return Attributed(exchange, Label(METRIC.name, "clerk", value, None, received), {})


async def usual(database: Database, after: int, through: int) -> list[int]:
    async with database.transaction() as tx:
        found = await cohorts.usual(tx, FRAUD, METRIC, V1, after, through)
    return [each.second - START for each in found]


async def test_all_labels_of_the_span_are_usual_where_there_are_few(database: Database) -> None:
    given = [label(at, START + at, V1 if at % 2 else V2, 0.5) for at in range(10)]
    async with database.transaction() as tx:
        await labels.add(tx, given)
    assert await usual(database, START + 1, START + 7) == [3, 5, 7]
    assert await usual(database, START - 60, START) == []


async def test_only_the_newest_whole_seconds_are_read_where_there_are_many(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohorts, "USUAL_ROWS", 5)
    given = [label(10 * second + at, START + second, V1, 0.5) for second in range(6) for at in range(2)]
    async with database.transaction() as tx:
        await labels.add(tx, given)
    # The sixth newest lies in second 3, which would make six with its neighbour.
    assert await usual(database, START - 1, START + 5) == [4, 4, 5, 5]
    assert await usual(database, START - 1, START + 2) == [1, 1, 2, 2]
    # One second alone is never too much.
    monkeypatch.setattr(cohorts, "USUAL_ROWS", 1)
    assert await usual(database, START - 1, START + 5) == [5, 5]
