"""Labels follow their answers when the flight lands, and only they do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from app.demo import landings as landings_module
from app.demo.children import CannotPlay
from app.demo.flights import AIR_MINUTES_PER_SECOND, History, history
from app.demo.landings import Landings
from app.demo.model_server import Message, Receive, Send
from app.demo.replay import Answer

# Both of April; the first lands at once and is late, the second lands after 0.4 s and is not.
FLIGHTS = History(
    tuple(history().months(4, 4).flights[:2]),
    np.array([31, 30], np.int16),
    np.array([0, round(0.4 * AIR_MINUTES_PER_SECOND)], np.uint16),
)


class FeedbackPort:
    """An ASGI application that listens for labels: keeps each batch, and answers it as it is told to."""

    def __init__(self, answers: Callable[[int], tuple[int, object]]) -> None:
        self.batches: list[Any] = []
        self._answers = answers

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        assert (scope["method"], scope["path"]) == ("POST", "/turnback/v1/feedback")
        self.batches.append(orjson.loads((await receive())["body"]))
        status, document = self._answers(len(self.batches))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps(document)})


def taken(_batch: int) -> tuple[int, object]:
    return 202, {"joined": 1, "pending": 0, "duplicate": 0, "items": []}


def busy(_batch: int) -> tuple[int, object]:
    return 503, {"title": "Busy"}


def gone(_batch: int) -> tuple[int, object]:
    raise httpx.ConnectError("refused")


@asynccontextmanager
async def landing(port: FeedbackPort) -> AsyncIterator[Landings]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(port), base_url="http://gateway") as client:
        landings = Landings(FLIGHTS, client)
        landings.begin()
        try:
            async with asyncio.timeout(10):
                yield landings
        finally:
            landings.abandon()


def answer(flight: int, chance: float | None, receipt: str = "sealed", version: str = "v1") -> Answer:
    return Answer(200, version, version, None, 0.01, flight, "id", receipt, chance)


async def test_a_label_goes_back_with_its_receipt_when_its_flight_lands_and_not_before() -> None:
    port = FeedbackPort(taken)
    async with landing(port) as landings:
        landings.hear(answer(1, 0.1, "second"))
        landings.hear(answer(0, 0.1, "first"))
        assert landings.waiting == 2
        await landings.end()
    assert port.batches == [[{"receipt": "first", "label": 1}], [{"receipt": "second", "label": 0}]]
    assert landings.waiting == 0
    assert landings.results == {"joined": 2, "pending": 0, "duplicate": 0}


async def test_an_answer_that_predicts_nothing_or_has_no_receipt_gets_no_label() -> None:
    port = FeedbackPort(taken)
    async with landing(port) as landings:
        landings.hear(answer(0, None))
        landings.hear(answer(0, 0.5, receipt=""))
        await landings.end()
    assert port.batches == []


async def test_what_was_wrong_is_known_by_version_and_month() -> None:
    async with landing(FeedbackPort(taken)) as landings:
        for flight, chance in ((0, 0.5), (0, 0.49), (1, 0.5), (1, 0.49)):
            landings.hear(answer(flight, chance))
        landings.hear(answer(1, 0.9, version="v6"))
        await landings.end()
    assert landings.quality.wrong_of("v1") == 2
    assert landings.quality.wrong_of("v6") == 1
    assert landings.quality.error_by_month("v1") == {4: 0.5}
    assert landings.quality.error_by_month("v7") == {}


@pytest.mark.parametrize("first", [busy, gone])
async def test_what_was_not_taken_is_sent_again(first: Callable[[int], tuple[int, object]]) -> None:
    port = FeedbackPort(lambda batch: first(batch) if batch == 1 else taken(batch))
    async with landing(port) as landings:
        landings.hear(answer(0, 0.1))
        await landings.end()
    assert port.batches == [[{"receipt": "sealed", "label": 1}]] * 2
    assert landings.results["joined"] == 1


async def test_labels_that_are_refused_end_the_story_with_a_sentence() -> None:
    async with landing(FeedbackPort(lambda _batch: (422, "no JSON"))) as landings:
        landings.check()
        landings.hear(answer(0, 0.1))
        with pytest.raises(CannotPlay, match=r"refused labels: 422 .no JSON"):
            await landings.end()
        with pytest.raises(CannotPlay):
            landings.check()


async def test_a_gateway_that_never_takes_a_label_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landings_module, "PATIENCE_S", 0.6)
    async with landing(FeedbackPort(busy)) as landings:
        landings.hear(answer(0, 0.1))
        await landings.end()
    assert landings.waiting == 1
