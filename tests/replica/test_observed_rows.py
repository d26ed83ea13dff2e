"""What was read of answers is written with the tallies: all of one push or nothing, once however often it is sent."""

import time
import uuid

from fakes.counting import CountingPlane
from sqlalchemy import text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.observed import AnsweredRow, Observed, ObservedFlush, ObservedRow, SpreadRow
from app.domain.evidence.tally import TallyKey
from app.domain.stats.histogram import Spread
from app.replica.clock import DatabaseClock
from app.replica.replica import Replica
from app.store.pg.database import Database

FRAUD, V1 = ModelName("fraud"), VersionName("v1")
SECOND = 1_800_000_000
KEY = TallyKey(SECOND, FRAUD, 1, V1)
TABLES = ("tallies", "observed", "spreads", "answers")


def answered(request_id: str, status: int = 200) -> AnsweredRow:
    exchange = uuid.uuid4().hex
    return AnsweredRow(SECOND, exchange, FRAUD, V1, 1, True, request_id, None, status, ("a", float("inf")), (0.5,))


class Plane:
    """A data plane that hands out one flush, and hears whether it is in Postgres."""

    def __init__(self, database: Database, *answers: AnsweredRow) -> None:
        self.flush = ObservedFlush((ObservedRow(KEY, Observed(read=3), 1),), (SpreadRow(KEY, Spread(), 1),), answers)
        self.counting = CountingPlane(self.flush)
        self.counting.recorder.count(KEY, 3)
        self.replica = Replica(
            database,
            uuid.uuid4().hex,
            "proxy",
            data_plane=self.counting,
            clock=DatabaseClock(time.time, time.monotonic),
        )

    @property
    def acknowledged(self) -> list[ObservedFlush]:
        return [batch.observed for batch in self.counting.acknowledged]


async def counted(database: Database) -> list[int]:
    async with database.transaction() as tx:
        return [int(await tx.scalar(text(f"SELECT count(*) FROM {table}")) or 0) for table in TABLES]  # noqa: S608 -- constants


async def test_one_push_writes_tallies_readings_spreads_and_answers(database: Database) -> None:
    plane = Plane(database, answered("r1"), answered("r2"))
    await plane.replica.pull()
    assert await plane.replica.push()
    assert await counted(database) == [1, 1, 1, 2]
    assert plane.acknowledged == [plane.flush]
    async with database.transaction() as tx:
        row = (await tx.execute(text("SELECT * FROM answers WHERE request_id = 'r1'"))).one()
    assert (row.predictions, row.scores, row.slices, row.status) == (["a", "Infinity"], [0.5], {}, 200)


async def test_a_flush_that_is_sent_again_changes_nothing(database: Database) -> None:
    plane = Plane(database, answered("r1"), answered("r2"))
    await plane.replica.pull()
    for _ in range(3):
        assert await plane.replica.push()
    assert await counted(database) == [1, 1, 1, 2]


async def test_answers_that_cannot_be_written_take_the_tallies_with_them(database: Database) -> None:
    plane = Plane(database, answered("r1"))
    await plane.replica.pull()
    async with database.transaction() as tx:
        await tx.execute(text("ALTER TABLE answers RENAME TO answers_elsewhere"))
    assert not await plane.replica.push()
    assert plane.acknowledged == []
    async with database.transaction() as tx:
        await tx.execute(text("ALTER TABLE answers_elsewhere RENAME TO answers"))
    assert await counted(database) == [0, 0, 0, 0]
    assert await plane.replica.push()
    assert await counted(database) == [1, 1, 1, 1]
