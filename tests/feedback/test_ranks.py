"""Whose label counts: a key above a receipt above the id in an answer; within a rank the first."""

import asyncio
from pathlib import Path

import pytest
from feedback.feedback_client import (
    ANN,
    BOB,
    FRAUD,
    PATH,
    SOURCES,
    Exchange,
    FeedbackClient,
    feedback_client,
    register,
)

from app.store.pg.database import Database


def by_id(about: Exchange, label: int, **more: object) -> dict[str, object]:
    return {"model": FRAUD, "request_id": about.request_id, "label": label, **more}


def by_receipt(about: Exchange, label: int, **more: object) -> dict[str, object]:
    return {"receipt": about.receipt(), "label": label, **more}


async def written(client: FeedbackClient) -> Exchange:
    about = Exchange()
    await client.written(about)
    return about


async def test_a_receipt_replaces_what_came_by_an_id_and_is_not_replaced_by_it(client: FeedbackClient) -> None:
    about = await written(client)
    assert await client.results(by_id(about, 0), by_receipt(about, 1)) == ["joined", "joined"]
    told = (await client.give(by_id(about, 0), by_id(about, 0, supersedes=2), by_receipt(about, 0)))["items"]
    assert [each["result"] for each in told] == ["duplicate"] * 3
    assert "came with the exchange's receipt" in told[0]["reason"]
    assert "supersedes 2" in told[2]["reason"]
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): [0, 1]}


async def test_a_receipt_that_says_the_same_makes_it_hold(client: FeedbackClient) -> None:
    about = await written(client)
    assert await client.results(by_id(about, 1), by_receipt(about, 1), by_receipt(about, 1)) == [
        "joined",
        "joined",
        "duplicate",
    ]
    assert await client.results(by_id(about, 0, supersedes=2)) == ["duplicate"]


async def test_however_often_an_id_corrects_itself_the_receipt_is_heard(client: FeedbackClient) -> None:
    about = await written(client)
    await client.give(by_id(about, 0), by_id(about, 2, supersedes=1), by_id(about, 0, supersedes=2))
    assert await client.results(by_receipt(about, 1)) == ["joined"]
    assert await client.results(by_receipt(about, 2, supersedes=4)) == ["joined"]
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): [0, 2, 0, 1, 2]}


async def test_within_a_rank_the_first_counts(client: FeedbackClient) -> None:
    named, received = await written(client), await written(client)
    assert await client.results(by_id(named, 1), by_id(named, 0), by_receipt(received, 1), by_receipt(received, 0)) == [
        "joined",
        "duplicate",
        "joined",
        "duplicate",
    ]


async def test_a_label_that_waited_by_its_id_is_replaced_by_a_receipt_too(client: FeedbackClient) -> None:
    about = Exchange()
    assert await client.results(by_id(about, 0), by_receipt(about, 1)) == ["pending", "joined"]
    await client.written(about)
    await client.desk.intake.sweep()
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): [1]}


async def test_a_source_with_a_key_has_one_rank_by_whatever_name(ann: FeedbackClient) -> None:
    about = await written(ann)
    assert await ann.results(by_id(about, 1), by_receipt(about, 0)) == ["joined", "duplicate"]
    assert await ann.results(by_receipt(about, 0, supersedes=1), by_id(about, 2, supersedes=2)) == ["joined"] * 2
    assert await ann.kept() == {(about.id, "accuracy", "ann"): [1, 0, 2]}


@pytest.mark.parametrize(("token", "seen"), [(ANN, ["ann", "anonymous"]), (BOB, ["anonymous", "bob"])])
async def test_a_source_reads_its_own_labels_and_those_without_a_key(
    database: Database, tmp_path: Path, token: str, seen: list[str]
) -> None:
    await register(database)
    about = Exchange()
    async with feedback_client(database, tmp_path / "open") as client:
        await client.give(by_receipt(about, 0))
    async with feedback_client(database, tmp_path / "keys", feedback_keys=SOURCES, token=token) as client:
        for key in (ANN, BOB):
            await client.post(by_receipt(about, 1), authorization=f"Bearer {key}")
        told = (await client.http.get(f"{PATH}/{about.receipt()}")).json()
        assert [label["source"] for label in told["labels"]] == seen
        refused = await client.http.get(f"{PATH}/{about.receipt()}", headers={"authorization": "Bearer x"})
        assert refused.status_code == 401


async def test_who_has_no_key_reads_only_what_came_without_one(database: Database, tmp_path: Path) -> None:
    await register(database)
    about = Exchange()
    async with feedback_client(database, tmp_path / "keys", feedback_keys=SOURCES, token=ANN) as client:
        await client.give(by_receipt(about, 1))
    async with feedback_client(database, tmp_path / "open") as client:
        assert (await client.http.get(f"{PATH}/{about.receipt()}")).json()["labels"] == []
        await client.give(by_receipt(about, 0))
        told = (await client.http.get(f"{PATH}/{about.receipt()}")).json()
        assert [label["source"] for label in told["labels"]] == ["anonymous"]


async def test_who_has_no_key_corrects_himself_a_few_times_only(client: FeedbackClient) -> None:
    about = await written(client)
    for by, most in ((by_id, 4), (by_receipt, 16)):
        first = await client.results(by(about, 0))
        assert first == ["joined"]
        told = [await client.results(by(about, number, supersedes=number)) for number in range(1, 30)]
        assert told[most:] == [["invalid"]] * (29 - most)
    # Four corrections by the id, and then those by the receipt.
    assert await client.count("labels") == 17


async def test_however_many_speak_at_once_the_receipt_has_the_last_word(client: FeedbackClient) -> None:
    abouts = [await written(client) for _ in range(5)]
    by_ids = [by_id(about, number, supersedes=number) for about in abouts for number in range(1, 4)]
    firsts = [by_id(about, 0) for about in abouts]
    receipts = [by_receipt(about, 9) for about in abouts]
    told = await asyncio.gather(*(client.results(item) for item in (*firsts, *receipts, *by_ids, *firsts, *receipts)))
    assert [result for (result,) in told].count("joined") == await client.count("labels")
    kept = await client.kept()
    assert {labels[-1] for labels in kept.values()} == {9}
    assert [labels.count(9) for labels in kept.values()] == [1] * 5
    assert await client.results(*by_ids) == ["duplicate"] * len(by_ids)
