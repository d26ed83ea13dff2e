"""Labels that come before their exchange is written: they wait, are joined in their order, or are orphans."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from feedback.feedback_client import FRAUD, SOURCES, Exchange, FeedbackClient, feedback_client, register
from sqlalchemy import text

from app.feedback import room
from app.store.labels import pending
from app.store.pg.database import Database


def by_id(about: Exchange, label: object, **more: object) -> dict[str, object]:
    return {"model": FRAUD, "request_id": about.request_id, "label": label, **more}


def by_key(about: Exchange, label: object, **more: object) -> dict[str, object]:
    return {"model": FRAUD, "client_key": about.client_key, "label": label, **more}


async def aged(client: FeedbackClient, seconds: float) -> None:
    async with client.database.transaction() as tx:
        await tx.execute(
            text("UPDATE parked_labels SET received_at = received_at - make_interval(secs => :s)"), {"s": seconds}
        )


async def test_a_label_by_the_id_that_was_given_here_is_joined_when_its_exchange_has_a_row(
    client: FeedbackClient,
) -> None:
    about = Exchange()
    await client.written(about)
    assert await client.results(by_id(about, 0)) == ["joined"]
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): [0]}


async def test_an_exchange_found_by_name_brings_its_slices(client: FeedbackClient) -> None:
    about = Exchange()
    await client.written(about)
    await client.give(by_id(about, 1))
    assert await client.count('labels WHERE slices = \'{"region": "eu"}\'') == 1


async def test_a_label_before_its_row_waits_and_is_joined_by_the_sweep_once(client: FeedbackClient) -> None:
    about = Exchange()
    assert await client.results(by_id(about, 1)) == ["pending"]
    await client.desk.intake.sweep()
    assert (await client.kept(), await client.count("parked_labels")) == ({}, 1)
    await client.written(about)
    await client.desk.intake.sweep()
    await client.desk.intake.sweep()
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): [1]}
    assert await client.count("parked_labels") == 0
    figures = client.figures()
    assert [figures["turnback_feedback_total", FRAUD, result] for result in ("pending", "joined")] == [1, 1]


async def test_a_waiting_label_sent_again_is_a_duplicate_and_may_be_corrected(ann: FeedbackClient) -> None:
    client, about = ann, Exchange()
    assert await client.results(
        by_id(about, 1), by_id(about, 1), by_id(about, 0), by_id(about, 0, supersedes=1), by_id(about, 2, supersedes=1)
    ) == ["pending", "duplicate", "duplicate", "pending", "invalid"]
    await client.written(about)
    await client.desk.intake.sweep()
    assert await client.kept() == {(about.id, "accuracy", "ann"): [1, 0]}


async def test_what_waited_comes_before_what_is_said_once_the_row_is_there(client: FeedbackClient) -> None:
    about = Exchange()
    await client.give(by_id(about, 1))
    await client.written(about)
    assert await client.results(by_id(about, 0, supersedes=1)) == ["joined"]
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): [1, 0]}
    assert await client.count("parked_labels") == 0


async def test_a_label_under_two_names_and_by_receipt_is_one(ann: FeedbackClient) -> None:
    client, about = ann, Exchange(client_key="order-8")
    await client.give(by_id(about, 1), by_key(about, 1), {"receipt": about.receipt(), "label": 1})
    await client.written(about)
    await aged(client, 4)
    await client.desk.intake.sweep()
    assert await client.kept() == {(about.id, "accuracy", "ann"): [1]}
    assert await client.count("parked_labels") == 0


async def test_who_names_an_exchange_that_never_came_is_told_so_after_ten_minutes(client: FeedbackClient) -> None:
    nobody = Exchange()
    await client.give(by_id(nobody, 1))
    await aged(client, 590)
    assert await client.results(by_id(nobody, 1)) == ["duplicate"]
    await aged(client, 20)
    assert await client.results(by_id(nobody, 1)) == ["orphan"]


async def test_a_label_that_waited_for_a_day_is_dropped_and_counted_as_an_orphan(client: FeedbackClient) -> None:
    await client.give(by_id(Exchange(), 1))
    await aged(client, 86_000)
    await client.give(by_id(Exchange(), 1))
    await aged(client, 500)
    await client.desk.intake.sweep()
    assert await client.count("parked_labels") == 1
    assert client.figures()["turnback_feedback_total", FRAUD, "orphan"] == 1


async def test_of_one_source_only_so_many_labels_wait_and_what_finds_no_room_is_told_so(
    ann: FeedbackClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ann
    monkeypatch.setattr(pending, "WAITING_MAX", 3)
    waiting, joined = [Exchange() for _ in range(5)], Exchange()
    await client.written(joined)
    batch = [*(by_id(about, 1) for about in waiting), by_id(joined, 1), {"receipt": Exchange().receipt(), "label": 1}]
    told = (await client.give(*batch))["items"]
    assert [each["result"] for each in told] == [*["pending"] * 3, *["invalid"] * 2, "joined", "joined"]
    assert {each["reason"] for each in told[3:5]} == {pending.FULL}
    assert await client.results(*batch) == [*["duplicate"] * 3, *["invalid"] * 2, *["duplicate"] * 2]
    assert await client.results(by_id(waiting[0], 0, supersedes=1)) == ["invalid"]
    assert await client.count("parked_labels") == 3
    # The room of a second ago is asked for again.
    monkeypatch.setattr(room, "ASKED_EVERY_S", 0.0)
    await client.written(*waiting)
    await client.desk.intake.sweep()
    assert await client.results(by_id(Exchange(), 1)) == ["pending"]


async def test_one_source_that_fills_its_room_leaves_the_others_theirs(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "WAITING_MAX", 2)
    await register(database)
    async with feedback_client(database, tmp_path, feedback_keys=SOURCES) as client:
        answers = [
            await client.post([by_id(Exchange(), 1) for _ in range(4)], authorization=f"Bearer {name * 16}")
            for name in "aab"
        ]
    assert [(each.json()["pending"], each.json()["invalid"]) for each in answers] == [(2, 2), (0, 4), (2, 2)]


async def test_where_no_room_is_left_what_waited_for_ten_minutes_makes_room(
    ann: FeedbackClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ann
    monkeypatch.setattr(pending, "WAITING_MAX", 3)
    await client.give(by_id(Exchange(), 1))
    await aged(client, 590)
    await client.give(by_id(Exchange(), 1))
    await aged(client, 20)
    await client.desk.intake.sweep()
    assert await client.count("parked_labels") == 2
    await client.give(by_id(Exchange(), 1))
    client.desk.intake._all_swept_at = float("-inf")
    await client.desk.intake.sweep()
    assert await client.count("parked_labels") == 2
    assert client.figures()["turnback_feedback_total", FRAUD, "orphan"] == 1


async def test_however_many_waited_for_a_day_all_of_them_are_dropped(client: FeedbackClient) -> None:
    await client.give(*(by_id(Exchange(), 1) for _ in range(4_100)))
    await aged(client, 90_000)
    await client.desk.intake.sweep()
    assert await client.count("parked_labels") == 0


async def test_more_waiting_labels_than_one_page_holds_are_all_joined(client: FeedbackClient) -> None:
    abouts = [Exchange() for _ in range(4_100)]
    taken = await client.give(*(by_id(about, 1) for about in abouts))
    assert taken["pending"] == len(abouts)
    await client.written(*abouts)
    await client.desk.intake.sweep()
    assert (await client.count("parked_labels"), await client.count("labels")) == (0, len(abouts))


async def test_an_older_label_is_looked_for_too_though_not_every_time(client: FeedbackClient) -> None:
    about = Exchange()
    await client.desk.intake.sweep()
    await client.give(by_id(about, 1))
    await aged(client, 300)
    await client.written(about)
    await client.desk.intake.sweep()
    assert await client.count("parked_labels") == 1
    client.desk.intake._all_swept_at = float("-inf")
    await client.desk.intake.sweep()
    assert await client.count("labels") == 1


async def test_when_it_was_received_is_when_it_was_taken(client: FeedbackClient) -> None:
    about = Exchange()
    before = datetime.now(UTC) - timedelta(seconds=1)
    await client.give(by_id(about, 1))
    await client.written(about)
    await client.desk.intake.sweep()
    async with client.database.transaction() as tx:
        at = await tx.scalar(text("SELECT received_at FROM labels"))
    assert at is not None
    assert before <= at <= datetime.now(UTC)
