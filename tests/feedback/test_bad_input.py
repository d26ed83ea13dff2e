"""Whatever is sent is refused whole or item by item: never a 5xx, and nothing bad is ever counted."""

import gzip
import json
import os
import re
from pathlib import Path

import httpx
import pytest
from corpora.cases import FOLDER, PROJECT
from feedback.feedback_client import PATH, Exchange, FeedbackClient

JSON, LINES = "application/json", "application/x-ndjson"


def documents() -> dict[str, bytes]:
    """JSONTestSuite: `n_` must be refused, `y_` accepted, `i_` either."""
    folder = Path(os.environ.get(FOLDER, PROJECT.parent / "shared" / "http-corpora")) / "json" / "test_parsing"
    if not folder.is_dir():
        pytest.skip(f"JSON documents are neither beside the checkout nor in {FOLDER}")
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}


async def sent(client: FeedbackClient, body: bytes, media_type: str = JSON) -> httpx.Response:
    return await client.http.post(PATH, content=body, headers={"content-type": media_type})


async def test_no_document_of_the_suite_is_counted_or_breaks_anything(client: FeedbackClient) -> None:
    for name, document in documents().items():
        answer = await sent(client, document)
        assert answer.status_code in {202, 413, 422}, (name, answer.text)
        if answer.status_code == 202:
            assert not name.startswith("n_")
            told = answer.json()
            assert told["joined"] + told["pending"] == 0, name
    assert await client.count("labels") + await client.count("parked_labels") == 0


async def test_a_bad_document_on_a_line_leaves_the_good_lines_alone(client: FeedbackClient) -> None:
    counted = 0
    for name, document in documents().items():
        good = json.dumps({"receipt": Exchange().receipt(), "label": 1}).encode()
        lines = [line for line in document.split(b"\n") if line.strip(b" \t\r")]
        answer = await sent(client, b"\n".join([good, *lines]), LINES)
        assert answer.status_code == 202, (name, answer.text)
        told = answer.json()
        assert (told["joined"], told["invalid"]) == (1, len(lines)), name
        counted += 1
    assert await client.count("labels") == counted


async def test_a_bad_document_as_a_label_is_one_bad_item(client: FeedbackClient) -> None:
    for name, document in documents().items():
        if b"\n" in document:
            continue
        receipt = Exchange().receipt()
        answer = await sent(client, b'{"receipt": "%b", "label": %b}' % (receipt.encode(), document), LINES)
        told = answer.json()
        assert answer.status_code == 202, (name, answer.text)
        assert told["joined"] + told["invalid"] == 1, name
        if name.startswith("n_"):
            assert told["joined"] == 0 or _is_good_inside(document), name


def _is_good_inside(document: bytes) -> bool:
    """Some of the suite's bad documents end as the item goes on, such as an empty one behind a good label."""
    try:
        json.loads(b'{"label": %b}' % document)
    except (ValueError, RecursionError):
        return False
    return True


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 400, "9223372036854775809", "0x10", "1_000"]
)
async def test_a_number_that_is_none_is_never_counted(client: FeedbackClient, number: str) -> None:
    for body in (
        f'{{"receipt": "{Exchange().receipt()}", "metric": "error", "label": {number}}}',
        f'{{"receipt": "{Exchange().receipt()}", "metric": "stars", "value": {number}}}',
        f'{{"receipt": "{Exchange().receipt()}", "metric": "error", "label": [1, {number}]}}',
        f'{{"receipt": "{Exchange().receipt()}", "label": 1, "supersedes": {number}}}',
    ):
        answer = await sent(client, body.encode())
        assert answer.status_code in {202, 422}, answer.text
        if answer.status_code == 202:
            assert answer.json()["invalid"] == 1
    assert await client.count("labels") == 0


@pytest.mark.parametrize(
    "body", [b"", b"null", b"7", b'"x"', b"true", b"[]", b"{", b"\xff\xfe", b'{"label":1,"label":1}']
)
async def test_a_body_that_is_no_item_and_no_list_of_them_is_refused_whole(client: FeedbackClient, body: bytes) -> None:
    answer = await sent(client, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "InvalidInput")


async def test_lines_of_nothing_are_refused(client: FeedbackClient) -> None:
    assert (await sent(client, b"\n \r\n\t\n" * 1_000_000, LINES)).status_code == 422


async def test_other_media_types_are_refused(client: FeedbackClient) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""):
        assert (await sent(client, b"{}", media_type)).status_code == 415


@pytest.mark.parametrize("media_type", [JSON, LINES])
async def test_a_compressed_body_is_refused_and_never_taken_for_lines(client: FeedbackClient, media_type: str) -> None:
    body = gzip.compress(json.dumps({"receipt": Exchange().receipt(), "label": 1}).encode())
    headers = {"content-type": media_type, "content-encoding": "gzip"}
    answer = await client.http.post(PATH, content=body, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (415, "the body must not be compressed")
    assert answer.headers["accept-encoding"] == "identity"
    plain = {"content-type": JSON, "content-encoding": "identity"}
    assert (await client.post({"receipt": Exchange().receipt(), "label": 1}, **plain)).json()["joined"] == 1


async def test_who_sends_bad_json_is_told_what_is_wrong_with_it_and_where(client: FeedbackClient) -> None:
    lines = [b'{"label": NaN}', b'{"label": 1, "label": 1}', b'{"label": 1e999}', b"3", b'{"label": %b}' % (b"1" * 300)]
    told = (await sent(client, b"\n".join(lines), LINES)).json()
    assert [item["reason"] for item in told["items"]] == [
        "the line is not strict JSON at column 11",
        "the line has a member twice",
        "the line is not strict JSON at column 11",
        "an item is a JSON object",
        "an item has a receipt, or a model and a request_id or client_key",
    ]
    problem = (await sent(client, b'[\n{"label": 1},\n{"label": NaN}]')).json()
    assert problem["detail"] == "the body is not strict JSON at line 3, column 11"
    assert problem["errors"] == [{"pointer": "", "detail": problem["detail"]}]


async def test_too_many_items_and_too_large_a_body_are_a_413(client: FeedbackClient) -> None:
    assert (await sent(client, b"[" + b"{}," * 10_000 + b"{}]")).status_code == 413
    assert (await sent(client, b"{}\n" * 10_001, LINES)).status_code == 413
    assert (await sent(client, b" " * 10_000_000)).status_code == 413
    taken = await sent(client, b"[" + b"{}," * 9_999 + b"{}]")
    assert (taken.status_code, taken.json()["invalid"]) == (202, 10_000)


async def test_no_answer_repeats_what_was_sent(client: FeedbackClient) -> None:
    unseen = "nobody-should-read-this-again"
    answer = await client.post(
        [
            {unseen: 1},
            {"receipt": unseen, "label": 1},
            {"receipt": Exchange().receipt(), "label": {unseen: 1}},
            {"receipt": Exchange().receipt(), "label": 1, "metric": unseen},
            {"model": unseen, "request_id": unseen, "label": 1},
            {"receipt": Exchange().receipt(), "label": 1, "observed_at": unseen},
        ]
    )
    assert answer.json()["invalid"] == 6
    assert re.search(unseen, answer.text) is None
