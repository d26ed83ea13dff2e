"""Recalls over the API: events to poll, figures, and lists that no spreadsheet computes."""

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from admin.admin_client import REASON, AdminClient, admin_client
from sqlalchemy import text

from app.admin.recalls.routes import COLUMNS
from app.domain.evidence.tally import Watermark
from app.queries.recalls import PAGE
from app.store.pg.database import Database
from app.store.routing import replicas

SECOND = 1_900_000_000
SPAN = {"since": "2030-03-17T17:46:40Z", "until": "2030-03-17T19:46:40Z"}
EVIL = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", 'plain "quoted", with commas\nand lines']


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as client:
        await client.model()
        yield client


async def store(database: Database, keys: list[str]) -> None:
    """Answers of v2, one for each of the client's own keys, from SECOND on, three a second."""
    async with database.transaction() as tx:
        await tx.execute(
            text(
                """
                INSERT INTO answers (exchange, second, model, version, generation, sampled, request_id, client_key,
                                     status, predictions, scores, slices)
                SELECT CAST(each.exchange AS uuid), each.second, 'fraud', 'v2', 3, true, 'r', each.key, 200, '["=1+1"]',
                       '[0.5]', '{"carrier": "=AA"}'
                FROM json_to_recordset(:rows) AS each(exchange text, second bigint, key text)
                """
            ),
            {
                "rows": json.dumps(
                    [
                        {"exchange": str(UUID(int=number)), "second": SECOND + number // 3, "key": key}
                        for number, key in enumerate(keys)
                    ]
                )
            },
        )


async def opened(admin: AdminClient, **more: object) -> Any:  # noqa: ANN401 -- a document
    return await admin.ok("POST", "/v1/models/fraud/recalls", {"version": "v2", **SPAN, **REASON, **more})


async def listed(admin: AdminClient, recall: Any, **how: Any) -> tuple[str, str]:  # noqa: ANN401 -- see opened
    answer = await admin.http.get(f"/v1/recalls/{recall['recall']['id']}/answers", **how)
    assert answer.status_code == 200, answer.text
    return answer.headers["content-type"], answer.text


async def test_a_recall_is_opened_counted_and_listed_as_lines(admin: AdminClient, database: Database) -> None:
    await store(database, ["a", "b", "c", "d"])
    made = await opened(admin)
    assert (made["recall"]["version"], made["recall"]["reason"], made["listed"]) == ("v2", "a test", 4)
    assert (made["recall"]["since"], made["recall"]["decision_id"]) == (SPAN["since"], None)
    assert await admin.ok("GET", f"/v1/recalls/{made['recall']['id']}") == made
    media, body = await listed(admin, made)
    rows = [json.loads(line) for line in body.splitlines()]
    assert media == "application/x-ndjson"
    assert [row["client_key"] for row in rows] == ["a", "b", "c", "d"]
    assert rows[3] == {
        "exchange": f"{3:032x}",
        "request_id": "r",
        "client_key": "d",
        "at": "2030-03-17T17:46:41Z",
        "version": "v2",
        "status": 200,
        "predictions": ["=1+1"],
        "scores": [0.5],
        "slices": {"carrier": "=AA"},
        "labelled": False,
    }


@pytest.mark.parametrize("how", [{"params": {"format": "csv"}}, {"headers": {"accept": "text/csv"}}])
async def test_a_list_as_csv_holds_the_same_and_no_formula(
    admin: AdminClient, database: Database, how: dict[str, Any]
) -> None:
    await store(database, EVIL)
    media, body = await listed(admin, await opened(admin), **how)
    rows = list(csv.DictReader(io.StringIO(body, newline="")))
    assert media == "text/csv; charset=utf-8"
    assert list(rows[0]) == list(COLUMNS)
    assert [row["client_key"].removeprefix("'") for row in rows] == EVIL
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {(row["predictions"], row["slices"], row["labelled"]) for row in rows} == {
        ('["=1+1"]', '{"carrier":"=AA"}', "false")
    }


async def test_the_format_that_is_named_goes_before_the_one_that_is_accepted(
    admin: AdminClient, database: Database
) -> None:
    await store(database, ["a"])
    media, _ = await listed(admin, await opened(admin), params={"format": "ndjson"}, headers={"accept": "text/csv"})
    assert media == "application/x-ndjson"


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 7])
async def test_a_list_of_any_length_is_whole(admin: AdminClient, database: Database, count: int) -> None:
    await store(database, [str(number) for number in range(count)])
    made = await opened(admin)
    assert made["listed"] == count
    _, body = await listed(admin, made)
    assert [json.loads(line)["client_key"] for line in body.splitlines()] == [str(number) for number in range(count)]


async def test_recalls_are_polled_as_events_with_the_last_cursor(admin: AdminClient) -> None:
    assert await admin.ok("GET", "/v1/recalls") == {"items": [], "next_cursor": None}
    first, second, third = [await opened(admin, reason=f"number {n}") for n in range(3)]
    page = await admin.ok("GET", "/v1/recalls", limit=2)
    assert [each["id"] for each in page["items"]] == [first["recall"]["id"], second["recall"]["id"]]
    page = await admin.ok("GET", "/v1/recalls", cursor=page["next_cursor"])
    assert page["items"] == [third["recall"]]
    waiting = await admin.ok("GET", "/v1/recalls", cursor=page["next_cursor"], model="fraud")
    assert waiting == {"items": [], "next_cursor": page["next_cursor"]}
    fourth = await opened(admin)
    assert (await admin.ok("GET", "/v1/recalls", cursor=waiting["next_cursor"]))["items"] == [fourth["recall"]]
    assert (await admin.ok("GET", "/v1/recalls", model="other"))["items"] == []


async def test_rows_may_arrive_until_every_replica_is_past_the_end(admin: AdminClient, database: Database) -> None:
    made = await opened(admin, since="2020-01-01T00:00:00Z", until="2020-01-02T00:00:00Z")
    path = f"/v1/recalls/{made['recall']['id']}"
    end = 1_577_923_200
    for second, arriving in ((end - 1, True), (end, False)):
        async with database.transaction() as tx:
            await replicas.beat(tx, "0" * 32, "proxy", Watermark(second, second), 0, frozenset())
        assert (await admin.ok("GET", path))["arriving"] is arriving
    async with database.transaction() as tx:
        await replicas.beat(tx, "1" * 32, "proxy", Watermark(end - 9, end - 9), 0, frozenset())
    assert (await admin.ok("GET", path))["arriving"] is True


async def test_a_rollback_over_the_api_is_an_event_with_its_decision(admin: AdminClient) -> None:
    rollout = await admin.rollout(warmup_s=0.0)
    await admin.ok("POST", f"/v1/rollouts/{rollout['id']}:promote", REASON)
    decision = await admin.ok("POST", f"/v1/rollouts/{rollout['id']}:rollback", REASON)
    (recall,) = (await admin.ok("GET", "/v1/recalls"))["items"]
    assert (recall["decision_id"], recall["reason"]) == (decision["id"], f"{decision['sentence']} {REASON['reason']}")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"since": "yesterday"}, "/since"),
        ({"since": 5}, "/since"),
        ({"until": "2030-03-17"}, "/until"),
        ({"since": "2031-01-01T00:00:00Z"}, "/since"),
        ({"version": "v 2"}, "/version"),
        ({"reason": "  "}, "/reason"),
        ({"reason": "two\nlines"}, "/reason"),
        ({"whatever": 1}, "/whatever"),
    ],
)
async def test_a_recall_that_cannot_be_is_refused(admin: AdminClient, more: dict[str, object], field: str) -> None:
    body = {"version": "v2", **SPAN, **REASON, **more}
    problem = await admin.problem(422, "POST", "/v1/models/fraud/recalls", json=body)
    assert [error["pointer"] for error in problem["errors"]] == [field]


@pytest.mark.parametrize("path", ["/v1/recalls/{}", "/v1/recalls/{}/answers"])
async def test_an_unknown_recall_is_not_found(admin: AdminClient, path: str) -> None:
    for unknown in ("nonsense", "0198c0de-0000-7000-8000-000000000000"):
        assert (await admin.problem(404, "GET", path.format(unknown)))["code"] == "UnknownRecall"
    known = (await opened(admin))["recall"]["id"]
    assert (await admin.problem(422, "GET", f"/v1/recalls/{known}/answers", params={"format": "xml"}))["errors"]
