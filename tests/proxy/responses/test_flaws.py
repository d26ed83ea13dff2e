"""What can be wrong with an answer that says 200, one by one."""

import pytest
from fakes.upstream_server import ok
from proxy.answering import V1, V2, following, output, read, reader, text, v2
from proxy.responses.test_streams import ANTHROPIC, CHAT, FINISH, HELLO, SSE, WHOLE_CHAT, data, delta, named
from proxy.talking import post
from proxy.watching import READ_ALL, watching

from app.domain.catalog.declarations import Credentials, Signature
from app.domain.catalog.models import Observation, Protocol
from app.domain.evidence.observed import Flaw
from app.proxy.responses.flaws import flaws_of
from app.proxy.responses.reader import Reader
from app.proxy.responses.reading import Follower

CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def flaws(by: Reader, body: bytes, signature: Signature | None = None) -> set[Flaw]:
    found = list(flaws_of(read(by, body), signature))
    assert len(found) == len(set(found))
    return set(found)


def message(**said: object) -> bytes:
    return text({"choices": [{"message": said, "finish_reason": "stop"}]})


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        (V1, text({"predictions": [1.0]}), set()),
        (V1, b'{"predictions": [NaN]}', {Flaw.NONFINITE}),
        (V1, b'{"predictions": [{"label": "a", "score": NaN}]}', {Flaw.NONFINITE}),
        (V1, text({"outcome": 1}), {Flaw.SCHEMA}),
        (V1, b"Internal Server Error", {Flaw.SCHEMA}),
        (V1, text({"predictions": []}), {Flaw.EMPTY}),
        (V2, v2(), {Flaw.EMPTY}),
        (V2, v2(output("x", "FP32", [0], [])), {Flaw.EMPTY}),
        # No protocol promises anything here.
        ("/score", text({}), set()),
        ("/score", text([]), set()),
    ],
)
def test_the_flaws_of_predictions(path: str, body: bytes, found: set[Flaw]) -> None:
    assert flaws(reader(path=path), body) == found


def test_a_pointer_to_nothing_is_a_wrong_shape_and_one_to_an_empty_list_is_empty() -> None:
    by = reader(Protocol.RAW, "/score", Observation(prediction="/verdicts"))
    assert flaws(by, text({"verdict": 1})) == {Flaw.SCHEMA}
    assert flaws(by, text({"verdicts": []})) == {Flaw.EMPTY}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (message(content="Hi"), None),
        (message(content=""), Flaw.EMPTY),
        (message(content=None), Flaw.EMPTY),
        (message(content=None, tool_calls=[{"id": "1"}]), None),
        (message(content=[{"type": "text", "text": "Hi"}]), None),
        (message(content=None, refusal="I cannot"), Flaw.REFUSED),
        (text({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}), Flaw.REFUSED),
        (text({"choices": [{"message": {"content": "a"}}, {"message": {"content": ""}}]}), None),
        (text({"choices": [{"text": "Hi", "finish_reason": "length"}]}), None),
        (text({"choices": [{"text": ""}]}), Flaw.EMPTY),
        (text({"choices": []}), Flaw.EMPTY),
        (text({"choices": [7, None, {"message": 3, "finish_reason": ["content_filter"]}]}), Flaw.EMPTY),
        (text({"data": [{"embedding": [0.5]}]}), None),
        (text({"data": []}), Flaw.EMPTY),
        (text({"output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}]}), None),
        (text({"output": [{"type": "reasoning", "summary": []}]}), Flaw.EMPTY),
        (text({"output": [{"type": "function_call", "name": "f"}]}), None),
        (text({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No"}]}]}), Flaw.REFUSED),
        (text({"output": [], "incomplete_details": {"reason": "content_filter"}}), Flaw.REFUSED),
        (text({"output": [{"type": ["message"]}]}), None),
        (text({"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}), None),
        (text({"content": [{"type": "text", "text": ""}], "stop_reason": "end_turn"}), Flaw.EMPTY),
        (text({"content": [{"type": "thinking", "thinking": "Hm"}], "stop_reason": "max_tokens"}), Flaw.EMPTY),
        (text({"content": [{"type": "tool_use", "id": "1"}], "stop_reason": "tool_use"}), None),
        (text({"content": [], "stop_reason": "end_turn"}), Flaw.EMPTY),
        (text({"content": [], "stop_reason": "refusal"}), Flaw.REFUSED),
        (text({"content": [], "stop_reason": {"refusal": 1}}), Flaw.EMPTY),
    ],
)
def test_a_completion_is_an_answer_empty_or_refused(body: bytes, found: Flaw | None) -> None:
    path = "/v1/messages" if b"stop_reason" in body else CHAT
    assert flaws(reader(path=path), body) == ({found} if found else set())


def test_an_answer_nested_as_deeply_as_can_be_is_read() -> None:
    nested = '{"message": ' * 900 + "1" + "}" * 900
    assert flaws(reader(path=CHAT), f'{{"choices": [{nested}]}}'.encode()) == {Flaw.EMPTY}
    assert flaws(reader(path=CHAT), f'{{"choices": {"[" * 900 + "]" * 900}}}'.encode()) == {Flaw.EMPTY}


@pytest.mark.parametrize(
    ("signature", "predictions", "fits"),
    [
        (Signature(classes=("a", "b")), ["a", "b", "a"], True),
        (Signature(classes=("a", "b")), ["a", "c"], False),
        (Signature(classes=("0", "1")), [0, 1, 1.0], True),
        (Signature(classes=("0", "1")), [2], False),
        (Signature(low=0.0, high=1.0), [0, 0.5, 1], True),
        (Signature(low=0.0), [-0.01], False),
        (Signature(high=1.0), [0.5, 1.01], False),
        (Signature(low=0.0, high=1.0), ["a"], True),
        (Signature(predictions_min=2), [1, 2], True),
        (Signature(predictions_min=2), [1], False),
    ],
)
def test_a_declared_signature_is_held_against_every_prediction(
    signature: Signature, predictions: list[object], *, fits: bool
) -> None:
    assert flaws(reader(path=V1), text({"predictions": predictions}), signature) == (set() if fits else {Flaw.SCHEMA})


def test_what_is_no_number_is_not_out_of_range_too() -> None:
    found = flaws(reader(path=V1), b'{"predictions": [NaN, 0.5]}', Signature(low=0.0, high=1.0))
    assert found == {Flaw.NONFINITE}


TWO_TOKENS = data({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})


@pytest.mark.parametrize(
    ("path", "stream", "found"),
    [
        (CHAT, WHOLE_CHAT, None),
        (CHAT, data(delta("", role="assistant")) + FINISH + data("[DONE]"), Flaw.EMPTY),
        (CHAT, data("[DONE]"), Flaw.EMPTY),
        (CHAT, data(delta("", role="assistant")) + data(delta("")) * 3 + TWO_TOKENS + data("[DONE]"), Flaw.EMPTY),
        (CHAT, data(delta(None, reasoning_content="Hm")) * 3 + TWO_TOKENS + data("[DONE]"), Flaw.EMPTY),
        (CHAT, data(delta(None, tool_calls=[{"index": 0}])) + TWO_TOKENS + data("[DONE]"), None),
        (CHAT, data(delta("")) + data(delta('the "content":"" of it')) + TWO_TOKENS + data("[DONE]"), None),
        (CHAT, data(delta("")) * 3 + HELLO + TWO_TOKENS + data("[DONE]"), None),
        (CHAT, HELLO + FINISH.replace(b'"stop"', b'"content_filter"') + data("[DONE]"), Flaw.REFUSED),
        (CHAT, data(delta(None, refusal="I cannot")) + FINISH + data("[DONE]"), Flaw.REFUSED),
        (CHAT, data(delta("", role="assistant", refusal=None)) + HELLO + FINISH + data("[DONE]"), None),
        (CHAT, data(delta('"finish_reason": "content_filter"')) + HELLO + FINISH + data("[DONE]"), None),
        (CHAT, data(delta('"refusal": "as a word"')) + HELLO + FINISH + data("[DONE]"), None),
        ("/v1/messages", ANTHROPIC + named("message_stop"), None),
        ("/v1/messages", ANTHROPIC.replace(b"end_turn", b"refusal") + named("message_stop"), Flaw.REFUSED),
    ],
)
@pytest.mark.parametrize("step", [1 << 20, 1, 7])
def test_a_streamed_completion_is_an_answer_empty_or_refused(
    path: str, stream: bytes, found: Flaw | None, step: int
) -> None:
    follower: Follower = following(reader(path=path), SSE, stream, step)
    assert follower.ended_well(clean_end=True)
    assert set(flaws_of(follower.read(clean_end=True), None)) == ({found} if found else set())


@pytest.mark.parametrize("tail", [b"", WHOLE_CHAT], ids=["cut", "whole"])
@pytest.mark.parametrize("usage", [b"", data({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})])
async def test_a_stream_that_ended_badly_is_flawed_and_one_that_ended_well_was_read(tail: bytes, usage: bytes) -> None:
    body = HELLO + usage + tail
    answer = CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with watching(answer, {"observation": READ_ALL}) as world:
        await world.talk.ask(post(path="/m/fraud" + CHAT))
        observed = world.read().of()
    assert (observed.judged, observed.bad, observed.read, observed.flawed) == (1, int(not tail), 1, int(not tail))
    assert observed.flaws == ({} if tail else {Flaw.STREAM: 1})


async def test_a_stream_no_protocol_describes_counts_as_read_too() -> None:
    answer = CHUNKED + b"8\r\ndata: 1\n\r\n0\r\n\r\n"
    async with watching(answer, {"observation": READ_ALL}) as world:
        await world.talk.ask(post(path="/m/fraud/events"))
        observed = world.read().of()
    assert (observed.judged, observed.read, observed.flawed) == (1, 1, 0)


async def test_an_answer_that_is_no_prediction_is_judged_and_not_read() -> None:
    async with watching(ok(b'{"state": "ready"}'), {"observation": READ_ALL}) as world:
        await world.talk.ask(post(path="/v2/models/fraud/ready"))
        observed = world.read().of()
    assert (observed.judged, observed.bad, observed.read, observed.flawed) == (1, 0, 0, 0)


async def test_a_version_whose_signature_is_declared_is_read_without_any_observation() -> None:
    credentials = Credentials(signature=Signature(classes=("yes",)))
    async with watching(ok(text({"predictions": ["no"]})), {}, credentials) as world:
        await world.talk.ask(post(path=V1))
        assert world.read().of().flaws == {Flaw.SCHEMA: 1}
