"""While Postgres is away labels wait on the disk: accepted once, lost never, taken over from the dead."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from feedback.feedback_client import FRAUD, V1, Exchange, FeedbackClient, kept, made_desk, register

from app.domain.evidence.labels import Attributed, Given, Label, Named, NamedBy
from app.domain.evidence.labels import Exchange as Known
from app.errors import SpoolFull
from app.feedback.items import Checked
from app.feedback.spool import Spool
from app.feedback.spooled import batches, record
from app.store.labels import pending
from app.store.pg.database import Database

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)


@pytest.fixture
async def nowhere() -> AsyncIterator[Database]:
    database = Database(NOWHERE)
    yield database
    await database.close()


def some(count: int = 3) -> list[Checked]:
    known = [Known(uuid4().hex, 1_700_000_000 + at, FRAUD, V1, 1) for at in range(count)]
    label = Label("accuracy", "ann", "1", None, NOW)
    return [Attributed(about, label, {"region": "é"}) for about in known]


def all_waiting(spool: Spool) -> list[Checked]:
    found: list[Checked] = []
    while (file := spool.oldest()) is not None:
        for batch in file.batches():
            found += batch
        spool.done(file)
    return found


async def test_a_batch_is_accepted_without_postgres_and_written_when_it_is_back(
    client: FeedbackClient, nowhere: Database
) -> None:
    about, named = Exchange(), Exchange()
    intake = client.desk.intake
    there, intake._database = intake._database, nowhere
    taken = await client.give(
        {"receipt": about.receipt(), "label": 1},
        {"receipt": "forged", "label": 1},
        {"model": FRAUD, "request_id": named.request_id, "label": 0},
    )
    assert (taken["accepted"], taken["pending"], taken["invalid"]) == ("spooled", 2, 1)
    assert client.figures()["turnback_feedback_spooled",] == 2
    intake._database = there
    await client.written(named)
    await intake.drain()
    assert await client.kept() == {
        (about.id, "accuracy", "anonymous"): [1],
        (named.id, "accuracy", "anonymous"): [0],
    }
    assert client.figures()["turnback_feedback_spooled",] == 0
    assert (await client.give({"receipt": about.receipt(), "label": 1}))["accepted"] == "stored"


async def test_what_was_accepted_without_postgres_waits_for_its_exchange_whatever_waits_already(
    ann: FeedbackClient, nowhere: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "WAITING_MAX", 0)
    client, item, intake = ann, {"model": FRAUD, "request_id": "r", "label": 0}, ann.desk.intake
    there, intake._database = intake._database, nowhere
    assert await client.results(item) == ["pending"]
    intake._database = there
    await intake.drain()
    assert await client.count("parked_labels") == 1
    assert await client.results({**item, "request_id": "s"}) == ["invalid"]


async def test_a_correction_waits_behind_what_it_corrects(client: FeedbackClient, nowhere: Database) -> None:
    about, intake = Exchange(), client.desk.intake
    there, intake._database = intake._database, nowhere
    await client.give({"receipt": about.receipt(), "label": 1})
    intake._database = there
    taken = await client.give({"receipt": about.receipt(), "label": 0, "supersedes": 1})
    assert taken["accepted"] == "spooled"
    await intake.drain()
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): [1, 0]}


async def test_a_batch_of_only_bad_items_spools_nothing(client: FeedbackClient, nowhere: Database) -> None:
    client.desk.intake._database = nowhere
    taken = await client.give({}, {"receipt": "forged", "label": 1})
    assert (taken["invalid"], taken["accepted"]) == (2, "stored")
    assert client.figures()["turnback_feedback_spooled",] == 0


async def test_a_full_spool_is_a_503_and_keeps_what_it_has(
    client: FeedbackClient, nowhere: Database, tmp_path: Path
) -> None:
    client.desk.intake._database = nowhere
    client.desk.intake._spool = Spool(tmp_path / "small", uuid4().hex, bytes_max=600)
    assert await client.results({"receipt": Exchange().receipt(), "label": 1}) == ["pending"]
    refused = await client.post([{"receipt": Exchange().receipt(), "label": 1} for _ in range(3)])
    assert refused.status_code == 503
    assert refused.json()["code"] == "SpoolFull"
    assert int(refused.headers["retry-after"]) > 0
    assert len(all_waiting(client.desk.intake._spool)) == 1


async def test_what_a_dead_process_left_is_written_by_the_next(database: Database, tmp_path: Path) -> None:
    await register(database)
    dead = Spool(tmp_path / "feedback", uuid4().hex)
    left = some()
    dead.append(left, "ann")
    dead.close()
    desk = made_desk(database, tmp_path)
    await desk.intake.drain()
    assert set(await kept(database)) == {
        (item.exchange.id, "accuracy", "ann") for item in left if isinstance(item, Attributed)
    }
    assert list((tmp_path / "feedback").iterdir()) == []


def test_what_a_live_process_writes_is_left_to_it(tmp_path: Path) -> None:
    alive, other = Spool(tmp_path, uuid4().hex), Spool(tmp_path, uuid4().hex)
    alive.append(some(), "ann")
    other.take_over()
    assert other.is_empty
    alive.close()
    other.take_over()
    assert other.labels == 3


def test_what_was_written_comes_back_in_its_order_over_several_files(tmp_path: Path) -> None:
    spool = Spool(tmp_path, uuid4().hex)
    first, second, third = some(), some(), some()
    spool.append(first, "ann")
    spool.append(second, "ann")
    assert spool.oldest() is not None
    spool.append(third, "ann")
    assert spool.labels == 9
    assert all_waiting(spool) == first + second + third
    assert spool.is_empty
    assert list(tmp_path.iterdir()) == []


def test_every_label_is_the_same_after_the_disk() -> None:
    given: list[Given] = ["late", 1, 1.5, True, ["a", 1, False, 0.1]]
    labels = [Label("m", "s", each, NOW, NOW, 3) for each in given] + [Label("m", "s", "x", None, NOW)]
    checked: list[Checked] = [Named(FRAUD, NamedBy.CLIENT_KEY, "é", label) for label in labels]
    checked += [Attributed(Known(uuid4().hex, 7, FRAUD, V1, 0), label, {}) for label in labels]
    (back,) = batches(record(checked))
    assert back == checked
    assert [repr(item.label.given) for item in back] == [repr(item.label.given) for item in checked]


def test_whatever_a_kill_cuts_off_what_was_whole_before_is_read(tmp_path: Path) -> None:
    first, second = some(1), some(2)
    whole, last = record(first), record(second)
    for kept_bytes in range(len(last)):
        assert list(batches(whole + last[:kept_bytes])) == [first]
    assert list(batches(whole + last)) == [first, second]
    for at in range(8, len(last), 7):
        spoilt = last[:at] + bytes([last[at] ^ 1]) + last[at + 1 :]
        assert list(batches(whole + spoilt)) == [first]


def test_what_follows_a_cut_off_record_is_put_in_its_place(tmp_path: Path) -> None:
    spool = Spool(tmp_path, uuid4().hex)
    spool.append(some(1), "ann")
    spool.close()
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(record(some())[:-1])
    other = Spool(tmp_path, uuid4().hex)
    other.take_over()
    assert other.labels == 1
    assert len(all_waiting(other)) == 1


def test_a_disk_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "feedback").write_text("not a folder")
    with pytest.raises(SpoolFull):
        Spool(tmp_path / "feedback", uuid4().hex).append(some(), "ann")


async def test_a_file_that_postgres_refuses_is_put_aside_and_others_go_on(
    client: FeedbackClient, tmp_path: Path
) -> None:
    impossible = Named(FRAUD, NamedBy.REQUEST_ID, "a\0", Label("accuracy", "ann", "1", None, NOW))
    spool = client.desk.intake._spool
    spool.append([impossible], "ann")
    assert spool.oldest() is not None
    good = some()
    spool.append(good, "ann")
    await client.desk.intake.drain()
    assert len(await client.kept()) == len(good)
    assert [path.suffix for path in (tmp_path / "feedback").iterdir()] == [".refused"]


async def test_with_one_receipt_nobody_without_a_key_fills_the_disk(client: FeedbackClient, nowhere: Database) -> None:
    client.desk.intake._database = nowhere
    about, other = Exchange().receipt(), Exchange()
    item = {"receipt": about, "label": "x" * 256}
    corrections = [{**item, "label": "y", "supersedes": number} for number in range(1, 17)]
    assert await client.results(*[item] * 20, *corrections) == [
        *("pending", *["duplicate"] * 19),
        *("pending", *["duplicate"] * 15),
    ]
    assert await client.results(item, corrections[0]) == ["duplicate"] * 2
    # A receipt finds its place though somebody who has seen the id was there before.
    named = {"model": FRAUD, "request_id": other.id, "label": 0}
    assert await client.results(named, named, {"receipt": other.receipt(), "label": 1}) == [
        "pending",
        "duplicate",
        "pending",
    ]
    assert client.figures()["turnback_feedback_spooled",] == 4


def test_one_source_fills_its_own_part_of_the_disk_only(tmp_path: Path) -> None:
    spool = Spool(tmp_path, uuid4().hex, bytes_max=4_000, sources=2)
    spool.append(some(7), "ann")
    with pytest.raises(SpoolFull):
        spool.append(some(), "ann")
    spool.append(some(), "bob")


class SlowSpool(Spool):
    """A disk that takes its time, and says how many write to it at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "0" * 32)
        self.began, self.may_end = threading.Semaphore(0), threading.Semaphore(0)
        self.writing = self.most = 0

    def append(self, batch: Sequence[Checked], source: str) -> None:
        self.writing += 1
        self.most = max(self.most, self.writing)
        self.began.release()
        assert self.may_end.acquire(timeout=30)
        super().append(batch, source)
        self.writing -= 1


async def test_who_is_cancelled_in_mid_write_leaves_the_disk_to_nobody_until_it_is_written(
    client: FeedbackClient, nowhere: Database, tmp_path: Path
) -> None:
    intake, spool = client.desk.intake, SlowSpool(tmp_path / "slow")
    intake._database, intake._spool = nowhere, spool
    first, then = Exchange(), Exchange()
    given_up = asyncio.create_task(intake.take([{"receipt": first.receipt(), "label": 1}], "ann"))
    await asyncio.to_thread(spool.began.acquire)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    second = asyncio.create_task(intake.take([{"receipt": then.receipt(), "label": 1}], "ann"))
    # Without a turn of its own the second would be at the disk by now.
    began_too_early = await asyncio.to_thread(spool.began.acquire, timeout=1.0)
    for _ in range(2):
        spool.may_end.release()
    assert (await second).spooled
    assert not began_too_early
    assert spool.most == 1
    assert [item.exchange.id for item in all_waiting(spool) if isinstance(item, Attributed)] == [first.id, then.id]
