"""Labels on their way in: attributed, counted once, corrected, refused item by item."""

import time
from pathlib import Path

from feedback.feedback_client import (
    FRAUD,
    OTHER_KEY,
    PLAIN,
    SILENT,
    Exchange,
    FeedbackClient,
    feedback_client,
    register,
)

from app.domain.catalog.models import ModelName
from app.domain.evidence.labels import Given
from app.store.pg.database import Database


async def test_a_label_by_receipt_is_joined_without_any_row_of_its_exchange(client: FeedbackClient) -> None:
    about = Exchange()
    taken = await client.give({"receipt": about.receipt(), "label": "1", "metric": "accuracy"})
    assert taken == {
        "joined": 1,
        "pending": 0,
        "duplicate": 0,
        "orphan": 0,
        "unknown": 0,
        "invalid": 0,
        "accepted": "stored",
        "items": [{"index": 0, "result": "joined", "revision": 1}],
    }
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): ["1"]}


async def test_the_first_metric_is_meant_when_none_is_named(client: FeedbackClient) -> None:
    about = Exchange()
    await client.give({"receipt": about.receipt(), "label": True})
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): [True]}


async def test_the_same_label_again_counts_nothing(client: FeedbackClient) -> None:
    item = {"receipt": Exchange().receipt(), "label": 1}
    assert await client.results(item) == ["joined"]
    assert await client.results(item, item) == ["duplicate", "duplicate"]
    assert await client.count("labels") == 1


async def test_the_same_label_twice_in_one_batch_counts_once(client: FeedbackClient) -> None:
    item = {"receipt": Exchange().receipt(), "label": 1}
    assert await client.results(item, item) == ["joined", "duplicate"]


async def test_a_different_label_replaces_nothing_unless_it_says_so(client: FeedbackClient) -> None:
    about = Exchange()
    await client.give({"receipt": about.receipt(), "label": 1})
    taken = await client.give({"receipt": about.receipt(), "label": 0})
    (told,) = taken["items"]
    assert told["result"] == "duplicate"
    assert told["revision"] == 1
    assert "supersedes 1" in told["reason"]
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): [1]}


async def test_a_correction_is_a_new_revision_and_its_repetition_is_none(client: FeedbackClient) -> None:
    about = Exchange()
    first = {"receipt": about.receipt(), "label": 1}
    second = {"receipt": about.receipt(), "label": 0, "supersedes": 1}
    third = {"receipt": about.receipt(), "label": 1, "supersedes": 2}
    assert await client.results(first, second, third) == ["joined"] * 3
    assert await client.results(first, second, third) == ["duplicate"] * 3
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): [1, 0, 1]}


async def test_a_correction_of_nothing_or_of_an_older_revision_is_invalid(client: FeedbackClient) -> None:
    about, nothing = Exchange(), Exchange()
    await client.give(
        {"receipt": about.receipt(), "label": 1}, {"receipt": about.receipt(), "label": 2, "supersedes": 1}
    )
    assert (
        await client.results(
            {"receipt": about.receipt(), "label": 3, "supersedes": 1},
            {"receipt": about.receipt(), "label": 3, "supersedes": 5},
            {"receipt": nothing.receipt(), "label": 3, "supersedes": 1},
        )
        == ["invalid"] * 3
    )
    assert await client.kept() == {(about.id, "accuracy", "anonymous"): [1, 2]}


async def test_true_and_one_are_two_labels_and_one_and_one_point_nought_are_one(client: FeedbackClient) -> None:
    about = Exchange().receipt()
    assert await client.results({"receipt": about, "label": 1}, {"receipt": about, "label": 1.0}) == [
        "joined",
        "duplicate",
    ]
    told = (await client.give({"receipt": about, "label": True}))["items"][0]
    assert told["result"] == "duplicate"
    assert "supersedes" in told["reason"]


async def test_a_large_number_is_the_same_after_it_was_stored(client: FeedbackClient) -> None:
    item = {"receipt": Exchange().receipt(), "metric": "error", "label": 1.2345678901234567e300}
    assert await client.results(item) == ["joined"]
    assert (await client.give(item))["items"] == [{"index": 0, "result": "duplicate", "revision": 1}]


async def test_forged_and_foreign_receipts_get_the_same_answer_and_count_nothing(client: FeedbackClient) -> None:
    mine, foreign = Exchange().receipt(), Exchange().receipt(OTHER_KEY)
    changed = mine.replace(":v1:", ":v2:")
    taken = await client.give(
        *({"receipt": token, "label": 1} for token in (foreign, changed, mine[:-1], "", "x" * 5_000, "é", None, 7))
    )
    assert taken["invalid"] == 8
    assert len({item["reason"] for item in taken["items"]}) == 1
    assert await client.count("labels") == 0


async def test_a_receipt_replayed_by_another_source_is_that_sources_word(database: Database, tmp_path: Path) -> None:
    await register(database)
    keys = "ann:" + "a" * 20 + ", bob:" + "b" * 20
    async with feedback_client(database, tmp_path, feedback_keys=keys) as client:
        about = Exchange()
        item = {"receipt": about.receipt(), "label": 1}
        for token in ("a" * 20, "b" * 20, "a" * 20):
            assert (await client.post(item, authorization=f"Bearer {token}")).status_code == 202
        assert await client.kept() == {
            (about.id, "accuracy", "ann"): [1],
            (about.id, "accuracy", "bob"): [1],
        }
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic " + "a" * 20}):
            refused = await client.post(item, **headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert refused.json()["code"] == "Unauthorized"


def bad_items() -> list[object]:
    return [
        None,
        7,
        [],
        {},
        {"receipt": Exchange().receipt()},
        {"receipt": Exchange().receipt(), "label": 1, "value": 1},
        {"receipt": Exchange().receipt(), "label": 1, "surprise": 1},
        {"receipt": Exchange().receipt(), "label": 1, "metric": "nothing"},
        {"receipt": Exchange().receipt(), "value": 1},
        {"receipt": Exchange().receipt(), "label": 1, "metric": "liked"},
        {"receipt": Exchange().receipt(), "value": 2, "metric": "liked"},
        {"receipt": Exchange().receipt(), "value": True, "metric": "stars"},
        {"receipt": Exchange().receipt(), "label": "7", "metric": "error"},
        {"receipt": Exchange().receipt(), "label": True, "metric": "error"},
        {"receipt": Exchange().receipt(), "label": None},
        {"receipt": Exchange().receipt(), "label": {}},
        {"receipt": Exchange().receipt(), "label": []},
        {"receipt": Exchange().receipt(), "label": [1, None]},
        {"receipt": Exchange().receipt(), "label": [[1]]},
        {"receipt": Exchange().receipt(), "label": "a\0b"},
        {"receipt": Exchange().receipt(), "label": "a" * 257},
        {"receipt": Exchange().receipt(), "label": ["a" * 33] * 1_000},
        {"receipt": Exchange().receipt(), "label": [1] * 1_025},
        {"receipt": Exchange().receipt(), "label": 1, "supersedes": 0},
        {"receipt": Exchange().receipt(), "label": 1, "supersedes": True},
        {"receipt": Exchange().receipt(), "label": 1, "supersedes": 1.0},
        {"receipt": Exchange().receipt(), "label": 1, "observed_at": "yesterday"},
        {"receipt": Exchange().receipt(), "label": 1, "observed_at": "2026-01-01"},
        {"receipt": Exchange().receipt(), "label": 1, "observed_at": "2026-01-01T00:00:00"},
        {"receipt": Exchange().receipt(), "label": 1, "observed_at": "9999-12-31T23:59:59-12:00"},
        {"receipt": Exchange().receipt(), "label": 1, "observed_at": 1_700_000_000},
        {"receipt": Exchange().receipt(), "label": 1, "model": FRAUD},
        {"receipt": Exchange(second=int(time.time()) - 31 * 86_400).receipt(), "label": 1},
        {"receipt": Exchange(model=SILENT).receipt(), "label": 1},
        {"receipt": Exchange(model=ModelName("nobody")).receipt(), "label": 1},
        {"model": "nobody", "request_id": "r", "label": 1},
        {"model": FRAUD, "label": 1},
        {"model": FRAUD, "request_id": "r", "client_key": "k", "label": 1},
        {"model": FRAUD, "request_id": "", "label": 1},
        {"model": FRAUD, "request_id": "a\0", "label": 1},
        {"model": FRAUD, "request_id": 7, "label": 1},
        {"model": PLAIN, "request_id": "r", "label": 1},
    ]


async def test_the_good_items_of_a_batch_are_kept_whatever_the_bad_ones_are(client: FeedbackClient) -> None:
    good = [Exchange() for _ in range(3)]
    bad = bad_items()
    items = [*({"receipt": about.receipt(), "label": 1} for about in good[:2]), *bad]
    taken = await client.give(*items, {"receipt": good[2].receipt(), "label": 1})
    assert (taken["joined"], taken["invalid"]) == (3, len(bad))
    assert all(item["reason"] for item in taken["items"] if item["result"] == "invalid")
    assert set(await client.kept()) == {(about.id, "accuracy", "anonymous") for about in good}
    assert await client.count("parked_labels") == 0


async def test_every_kind_of_label_is_kept_as_it_was_sent(client: FeedbackClient) -> None:
    kinds: dict[str, list[Given]] = {
        "accuracy": ["late", 2, 0.5, False, ["a", 1, True]],
        "error": [7, 1e-9, [1, 2.5]],
    }
    values: dict[str, list[Given]] = {"liked": [True, 0], "stars": [4.5, -3]}
    given = [
        ({"metric": metric, field: value}, value)
        for field, by_metric in (("label", kinds), ("value", values))
        for metric, sent in by_metric.items()
        for value in sent
    ]
    abouts = [Exchange() for _ in given]
    items = [{"receipt": about.receipt(), **said} for about, (said, _) in zip(abouts, given, strict=True)]
    assert set(await client.results(*items)) == {"joined"}
    kept = await client.kept()
    for about, (said, value) in zip(abouts, given, strict=True):
        assert kept[about.id, str(said["metric"]), "anonymous"] == [value]


async def test_only_what_is_neither_joined_nor_pending_is_listed_unless_all_is_asked_for(
    client: FeedbackClient,
) -> None:
    item = {"receipt": Exchange().receipt(), "label": 1}
    answer = await client.post([item, item, {}])
    assert [told["index"] for told in answer.json()["items"]] == [1, 2]


async def test_a_receipt_without_a_coin_is_stored_as_such(client: FeedbackClient) -> None:
    assert await client.results({"receipt": Exchange(generation=0).receipt(), "label": 1}) == ["joined"]
    assert await client.count("labels WHERE generation = 0") == 1


async def test_lines_are_items_and_a_broken_one_is_one_bad_item(client: FeedbackClient) -> None:
    first, second = Exchange(), Exchange()
    lines = [
        f'{{"receipt": "{first.receipt()}", "label": 1}}',
        "",
        '{"label": NaN}',
        '{"label": 1, "label": 2}',
        "{",
        f'{{"receipt": "{second.receipt()}", "label": 1}}\r',
    ]
    answer = await client.http.post(
        "/turnback/v1/feedback",
        content="\n".join(lines).encode() + b"\n\xff\xfe\n",
        headers={"content-type": "application/x-ndjson; charset=utf-8"},
    )
    assert answer.status_code == 202
    assert (answer.json()["joined"], answer.json()["invalid"]) == (2, 4)


async def test_what_is_known_of_an_exchange_is_told_to_who_has_its_receipt(client: FeedbackClient) -> None:
    about = Exchange()
    at = "2026-01-02T03:04:05+01:00"
    await client.give(
        {"receipt": about.receipt(), "label": 1, "observed_at": at},
        {"receipt": about.receipt(), "label": 0, "supersedes": 1},
        {"receipt": about.receipt(), "metric": "liked", "value": True},
    )
    told = (await client.http.get(f"/turnback/v1/feedback/{about.receipt()}")).json()
    assert (told["model"], told["version"]) == (FRAUD, "v1")
    assert [(each["metric"], each["revision"], each["label"]) for each in told["labels"]] == [
        ("accuracy", 1, 1),
        ("accuracy", 2, 0),
        ("liked", 1, True),
    ]
    assert told["labels"][0]["observed_at"] == "2026-01-02T02:04:05+00:00"
    forged = await client.http.get(f"/turnback/v1/feedback/{about.receipt(OTHER_KEY)}")
    assert forged.status_code == 422


async def test_what_became_of_items_and_their_lags_are_figures(client: FeedbackClient) -> None:
    item = {"receipt": Exchange(second=int(time.time()) - 100).receipt(), "label": 1}
    await client.give(item, item, {"model": "made up", "request_id": "r", "label": 1})
    figures = client.figures()
    assert figures["turnback_feedback_total", FRAUD, "joined"] == 1
    assert figures["turnback_feedback_total", FRAUD, "duplicate"] == 1
    assert figures["turnback_feedback_total", "", "invalid"] == 1
    assert figures["turnback_feedback_spooled",] == 0
