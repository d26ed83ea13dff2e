"""The two clients say the same over the wire, and send again what was not taken."""

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fakes.feedback_port import FeedbackPort, Heard, Said, taken
from turnback_client import AsyncTurnback, LabelRefused, NotTaken, Outcome, Problem, Turnback
from turnback_client.item import item
from turnback_client.sending import Attempts, Patience

QUICK = Patience(attempts=4, pause_s=0.001)


def busy(_heard: Heard) -> Said:
    return Said(503, {"title": "Busy"})


def hangs_up(_heard: Heard) -> Said:
    return Said(0)


def answered(_heard: Heard) -> Said:
    headers = {"x-turnback-receipt": "1:sealed", "x-turnback-version": "v2", "x-request-id": "a-1"}
    return Said(200, {"outputs": []}, headers)


class Sync:
    """The client that waits, called in a thread."""

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 -- Turnback's own
        self._client = Turnback(url, patience=QUICK, **options)

    async def __call__(self, name: str, *words: Any, **named: Any) -> Any:  # noqa: ANN401 -- its own too
        return await asyncio.to_thread(getattr(self._client, name), *words, **named)

    async def batch(self, labels: list[tuple[str, int]], items_max: int) -> Outcome:
        def send() -> Outcome:
            with self._client.batch(items_max=items_max) as batch:
                for receipt, label in labels:
                    batch.add(receipt, label=label)
            return batch.outcome

        return await asyncio.to_thread(send)

    async def predicted(self, payload: object) -> None:
        def ask() -> None:
            with self._client.prediction("fraud", payload) as prediction:
                prediction.label(prediction.answer.status_code)
                prediction.value(0.5, metric="useful")

        await asyncio.to_thread(ask)

    async def close(self) -> None:
        self._client.close()


class Async:
    """The client of asyncio."""

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 -- AsyncTurnback's own
        self._client = AsyncTurnback(url, patience=QUICK, **options)

    async def __call__(self, name: str, *words: Any, **named: Any) -> Any:  # noqa: ANN401 -- its own too
        return await getattr(self._client, name)(*words, **named)

    async def batch(self, labels: list[tuple[str, int]], items_max: int) -> Outcome:
        async with self._client.batch(items_max=items_max) as batch:
            for receipt, label in labels:
                await batch.add(receipt, label=label)
        return batch.outcome

    async def predicted(self, payload: object) -> None:
        async with self._client.prediction("fraud", payload) as prediction:
            await prediction.label(prediction.answer.status_code)
            await prediction.value(0.5, metric="useful")

    async def close(self) -> None:
        await self._client.close()


Kind = Callable[..., Sync | Async]
both = pytest.mark.parametrize("kind", [Sync, Async])


@both
async def test_an_inference_is_asked_once_and_says_version_and_receipt(kind: Kind) -> None:
    with FeedbackPort(answered) as port:
        client = kind(port.url)
        answer = await client("infer", "fraud", {"inputs": [1]})
        raw = await client(
            "infer", "fraud", b"\x00", path="/m/{model}/score", headers={"content-type": "application/x"}
        )
        await client.close()
    assert (answer.status_code, answer.receipt, answer.version, answer.request_id) == (200, "1:sealed", "v2", "a-1")
    assert answer.raise_for_status().json() == raw.json() == {"outputs": []}
    first, second = port.heard
    assert (first.path, first.document) == ("/v2/models/fraud/infer", {"inputs": [1]})
    assert (second.path, second.body, second.headers["content-type"]) == ("/m/fraud/score", b"\x00", "application/x")


@both
async def test_an_inference_that_fails_is_not_repeated(kind: Kind) -> None:
    with FeedbackPort(hangs_up) as port:
        client = kind(port.url)
        with pytest.raises(httpx.TransportError):
            await client("infer", "fraud", {})
        await client.close()
    assert len(port.heard) == 1


@both
async def test_an_answer_of_no_version_has_no_receipt_and_cannot_be_labelled(kind: Kind) -> None:
    with FeedbackPort(lambda _heard: Said(404, {"title": "There is no such model"})) as port:
        client = kind(port.url)
        answer = await client("infer", "fraud", {})
        assert (answer.receipt, answer.version, answer.request_id) == (None, None, None)
        with pytest.raises(httpx.HTTPStatusError):
            answer.raise_for_status()
        with pytest.raises(ValueError, match="no version gave this answer"):
            await client.predicted({})
        await client.close()


@both
async def test_a_label_is_sent_with_all_that_is_said_of_it(kind: Kind) -> None:
    at = datetime(2026, 11, 25, 12, tzinfo=UTC)
    with FeedbackPort() as port:
        client = kind(port.url, feedback_key="key")
        outcome = await client("feedback", "1:sealed", label="late", metric="m", observed_at=at, supersedes=2)
        await client("feedback", model="fraud", request_id="a-1", value=0.5)
        await client.close()
    assert outcome == Outcome(joined=1)
    first, second = port.heard
    assert first.path == "/turnback/v1/feedback"
    assert (first.headers["authorization"], first.headers["content-type"]) == ("Bearer key", "application/json")
    said = {"receipt": "1:sealed", "label": "late", "metric": "m", "supersedes": 2}
    assert first.document == [{**said, "observed_at": "2026-11-25T12:00:00+00:00"}]
    assert second.document == [{"model": "fraud", "request_id": "a-1", "value": 0.5}]


@both
@pytest.mark.parametrize("first", [busy, hangs_up, lambda _heard: Said(429, None, {"retry-after": "0"})])
async def test_what_was_not_taken_is_sent_again_unchanged(kind: Kind, first: Callable[[Heard], Said]) -> None:
    with FeedbackPort(first, first, taken) as port:
        client = kind(port.url)
        outcome = await client("feedback", "1:sealed", label=1)
        await client.close()
    assert outcome.joined == 1
    assert [heard.document for heard in port.heard] == [[{"receipt": "1:sealed", "label": 1}]] * 3


@both
async def test_a_gateway_that_takes_nothing_is_not_asked_for_ever(kind: Kind) -> None:
    with FeedbackPort(busy) as port:
        client = kind(port.url)
        with pytest.raises(NotTaken, match="no labels in 4 attempts: it answered 503"):
            await client("feedback", "1:sealed", label=1)
        await client.close()
    assert len(port.heard) == QUICK.attempts
    client = kind(port.url)
    with pytest.raises(NotTaken, match="ConnectError"):
        await client("feedback", "1:sealed", label=1)
    await client.close()


@both
@pytest.mark.parametrize("document", [{"detail": "a key is needed"}, {"title": "a key is needed"}])
async def test_labels_that_are_refused_are_not_sent_again(kind: Kind, document: object) -> None:
    with FeedbackPort(lambda _heard: Said(401, document)) as port:
        client = kind(port.url)
        with pytest.raises(LabelRefused, match="401 a key is needed") as refused:
            await client("feedback", "1:sealed", label=1)
        await client.close()
    assert refused.value.status == 401
    assert len(port.heard) == 1


@both
async def test_a_batch_goes_in_as_few_requests_as_it_may_and_numbers_its_problems_through(kind: Kind) -> None:
    def last_is_orphan(heard: Heard) -> Said:
        count = len(heard.document)
        problem = {"index": count - 1, "result": "orphan", "reason": "too long ago"}
        return Said(202, {"joined": count - 1, "orphan": 1, "items": [problem]})

    with FeedbackPort(last_is_orphan) as port:
        client = kind(port.url)
        outcome = await client.batch([(f"r{at}", at) for at in range(5)], items_max=2)
        await client.close()
    assert [[each["label"] for each in heard.document] for heard in port.heard] == [[0, 1], [2, 3], [4]]
    problems = tuple(Problem(at, "orphan", "too long ago") for at in (1, 3, 4))
    assert outcome == Outcome(joined=2, orphan=3, problems=problems)
    assert outcome.total == 5


@both
async def test_labels_of_a_prediction_are_sent_together_when_its_block_ends(kind: Kind) -> None:
    with FeedbackPort(answered, taken) as port:
        client = kind(port.url)
        await client.predicted({"inputs": []})
        await client.close()
    _, labels = port.heard
    assert labels.document == [
        {"receipt": "1:sealed", "label": 200},
        {"receipt": "1:sealed", "value": 0.5, "metric": "useful"},
    ]


def test_what_a_batch_could_not_send_stays_and_is_sent_by_the_next_flush() -> None:
    with FeedbackPort(*[busy] * QUICK.attempts, taken) as port, Turnback(port.url, patience=QUICK) as client:
        batch = client.batch()
        batch.add("a", label=1)
        with pytest.raises(NotTaken):
            batch.flush()
        assert batch.waiting == 1
        batch.add("b", label=0)
        assert batch.flush() == Outcome(joined=2)
        assert batch.waiting == 0


def test_labels_given_before_an_error_in_the_block_are_sent_all_the_same() -> None:
    with FeedbackPort(answered, taken) as port, Turnback(port.url) as client:
        with suppress(RuntimeError), client.prediction("fraud", {}) as prediction:
            prediction.label(1)
            raise RuntimeError
        assert port.heard[-1].document == [{"receipt": "1:sealed", "label": 1}]


def test_an_http_client_that_was_handed_in_is_left_open() -> None:
    with FeedbackPort() as port, closing(httpx.Client()) as http:
        with Turnback(port.url, client=http) as client:
            client.feedback("a", label=1)
        assert not http.is_closed


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"receipt": "a"}, "either a label or a value"),
        ({"receipt": "a", "label": 1, "value": 1}, "either a label or a value"),
        ({"label": 1}, "one of receipt"),
        ({"receipt": "a", "request_id": "b", "label": 1}, "one of receipt"),
        ({"request_id": "b", "label": 1}, "give the model"),
        ({"receipt": "a", "model": "fraud", "label": 1}, "give the model"),
        ({"receipt": "a", "label": 1, "observed_at": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 -- meant
    ],
)
def test_what_is_no_label_of_one_prediction_is_refused_before_it_is_sent(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        item(**said)


def test_a_number_that_is_not_finite_is_refused_before_it_is_sent() -> None:
    with FeedbackPort() as port, Turnback(port.url) as client, pytest.raises(ValueError, match="JSON compliant"):
        client.feedback("a", value=float("nan"))
    assert port.heard == []


@pytest.mark.parametrize(
    "label", [float("nan"), [0.5, float("inf")], "\ud800", 10**400, [1, 10**30], object(), "x" * (5 << 20)]
)
def test_a_label_that_no_gateway_reads_is_refused_when_it_is_added_and_the_others_are_sent(label: Any) -> None:  # noqa: ANN401 -- bad on purpose
    with FeedbackPort(taken) as port, Turnback(port.url) as client:
        batch = client.batch()
        batch.add("a", label=1)
        with pytest.raises(ValueError, match="this is no label"):
            batch.add("b", label=label)
        batch.add("c", label="ja, größer")
        assert batch.flush() == Outcome(joined=2)
    (heard,) = port.heard
    assert heard.document == [{"receipt": "a", "label": 1}, {"receipt": "c", "label": "ja, größer"}]


@both
async def test_labels_that_together_are_too_large_for_one_request_go_in_several(kind: Kind) -> None:
    with FeedbackPort(taken, taken, taken) as port:
        client = kind(port.url)
        outcome = await client.batch([("r" * 1_000_000, at) for at in range(10)], items_max=10)
        await client.close()
    assert outcome == Outcome(joined=10)
    assert [len(heard.document) for heard in port.heard] == [4, 4, 2]


def test_pauses_grow_and_are_never_shorter_than_the_gateway_asks() -> None:
    attempts = Attempts(Patience(attempts=5, pause_s=1.0))
    pauses = [attempts.busy(httpx.Response(503)) for _ in range(3)]
    assert all(2**at / 2 <= pause <= 2**at for at, pause in enumerate(pauses))
    assert attempts.busy(httpx.Response(429, headers={"retry-after": "25"})) == 25
    with pytest.raises(NotTaken):
        attempts.busy(httpx.Response(503))
