"""The records are read until it agrees with what the client saw, and compared id by id."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qs

import httpx
import orjson
import pytest

from app.demo import recorded as recorded_module
from app.demo.admin_api import AdminApi
from app.demo.model_server import Message, Receive, Send
from app.demo.recorded import Recall, Tallies, decisions, recalls, tallies
from app.demo.replay import Answer, Counts

BEGAN = datetime(2026, 11, 25, tzinfo=UTC)


class AdminPort:
    """An ASGI application with documents by path; the last of a path's documents stays."""

    def __init__(self, **documents: list[object]) -> None:
        self.documents: Mapping[str, list[object]] = documents
        self.asked: list[tuple[str, Mapping[str, list[str]]]] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        name = scope["path"].removeprefix("/v1/").replace("/", "_").replace("-", "_")
        self.asked.append((name, parse_qs(scope["query_string"].decode())))
        left = self.documents[name]
        document = left.pop(0) if len(left) > 1 else left[0]
        status = document if isinstance(document, int) else 200
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def admin(port: AdminPort) -> AsyncIterator[AdminApi]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(port), base_url="http://admin") as client:
        yield AdminApi(client)


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded_module, "LOOK_S", 0.001)
    monkeypatch.setattr(recorded_module, "RECORDED_WITHIN_S", 0.1)


def counts() -> Counts:
    seen = Counts()
    for request_id in ("a", "b"):
        seen.add(Answer(200, "v6", "v6", None, 0.002, 0, request_id), 0.0)
    return seen


def slot(version: str, exchanges: int, excluded: int = 0, unreached: int = 0) -> object:
    outcomes = {"connect_error": unreached} if unreached else {}
    return {"version": version, "exchanges": exchanges, "excluded": excluded, "outcomes": outcomes}


async def test_tallies_are_read_until_they_agree() -> None:
    port = AdminPort(
        models_flight_delay_metrics=[{"items": [slot("v6", 1)]}, 503, {"items": [slot("v6", 2, 1, 1), slot("v7", 0)]}]
    )
    async with admin(port) as api:
        read = await tallies(api, counts(), BEGAN)
    assert read == Tallies({"v6": 2}, {"v6": 2}, excluded=1)
    assert read.equal
    assert len(port.asked) == 3
    assert port.asked[0][1]["from"] == ["2026-11-24T23:59:00+00:00"]


async def test_tallies_that_never_agree_are_what_was_read_last() -> None:
    async with admin(AdminPort(models_flight_delay_metrics=[{"items": [slot("v6", 1)]}])) as api:
        read = await tallies(api, counts(), BEGAN)
    assert not read.equal
    assert read.recorded_counts == {"v6": 1}


def listed(*ids: str) -> bytes:
    return b"".join(orjson.dumps({"request_id": each}) + b"\n" for each in ids)


async def test_a_recall_is_equal_only_if_it_lists_each_of_the_clients_answers_once() -> None:
    one = {"items": [{"version": "v6", "id": "r1"}]}
    for lists, equal in ((("b", "a"), True), (("a", "c"), False), (("a", "a"), False), (("a",), False)):
        port = AdminPort(recalls=[one], recalls_r1_answers=[listed(*lists)])
        async with admin(port) as api:
            (read,) = await recalls(api, counts(), ["v6"])
        assert read == Recall("v6", len(lists), 2, equal)


async def test_a_recall_is_read_again_while_answers_still_arrive() -> None:
    one = {"items": [{"version": "v6", "id": "r1"}]}
    port = AdminPort(recalls=[one], recalls_r1_answers=[listed("a"), listed("a", "b")])
    async with admin(port) as api:
        (read,) = await recalls(api, counts(), ["v6"])
    assert read.equal


async def test_a_version_without_a_recall_lists_nothing() -> None:
    async with admin(AdminPort(recalls=[{"items": []}])) as api:
        assert await recalls(api, counts(), ["v6", "v7"]) == (
            Recall("v6", 0, 2, equal=False),
            Recall("v7", 0, 0, equal=True),
        )


async def test_decisions_are_read_as_they_are() -> None:
    port = AdminPort(decisions=[{"items": [{"id": "one"}]}])
    async with admin(port) as api:
        assert await decisions(api) == [{"id": "one"}]
    assert port.asked == [("decisions", {"model": ["flight-delay"], "limit": ["200"]})]
