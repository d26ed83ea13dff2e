"""Streams are complete or they are not, however their bytes are cut."""

import json
from tracemalloc import get_traced_memory, start, stop

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxy.answering import following, head_of, pieces, reader

from app.domain.catalog.models import Protocol
from app.domain.evidence.tally import Counter
from app.proxy.responses.reader import Reader
from app.proxy.responses.reading import Usage
from app.proxy.responses.sse import MAX_EVENT

SSE = head_of("content-type: text/event-stream; charset=utf-8")
LINES = head_of("content-type: application/x-ndjson")
CHAT = "/v1/chat/completions"


def data(*documents: object, end: str = "\n\n") -> bytes:
    """Events with JSON data, or with text as it stands."""
    texts = [each if isinstance(each, str) else json.dumps(each) for each in documents]
    return "".join(f"data: {text}{end}" for text in texts).encode()


def delta(content: str | None, **more: object) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": content} | more, "finish_reason": None}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}


def named(kind: str, **document: object) -> bytes:
    return f"event: {kind}\n".encode() + data({"type": kind, **document})


HELLO = data(delta("", role="assistant"), delta("Hel"), delta("lo"))
FINISH = data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
WHOLE_CHAT = HELLO + FINISH + data("[DONE]")
ANTHROPIC = (
    named("message_start", message={"usage": {"input_tokens": 25, "output_tokens": 1}})
    + named("ping")
    + named("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"})
    + named("content_block_delta", index=0, delta={"type": "text_delta", "text": " you"})
    + named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 15})
)
RESPONSES = named("response.created", response={"error": None, "usage": None}) + named(
    "response.output_text.delta", delta="an error occurs when incomplete"
)
OVERLOADED = {"error": {"message": "out of memory", "type": "server_error", "code": 500}}

# Protocol, path, body, whether it ended well.
CASES = {
    "openai whole": (Protocol.AUTO, CHAT, WHOLE_CHAT, True),
    "openai with CRLF": (Protocol.AUTO, CHAT, WHOLE_CHAT.replace(b"\n", b"\r\n"), True),
    "openai without a space after the colon": (Protocol.AUTO, CHAT, WHOLE_CHAT.replace(b"data: ", b"data:"), True),
    "openai behind the gateway's own prefix": (Protocol.AUTO, f"/m/fraud{CHAT}?a=b", WHOLE_CHAT, True),
    "openai last event without its end": (Protocol.AUTO, CHAT, WHOLE_CHAT[:-2], True),
    "openai without its end": (Protocol.AUTO, CHAT, HELLO + FINISH, False),
    "openai with nothing at all": (Protocol.AUTO, CHAT, b"", False),
    "openai error instead of an end": (Protocol.AUTO, CHAT, HELLO + data(OVERLOADED), False),
    "openai error before an end": (Protocol.AUTO, CHAT, HELLO + data(OVERLOADED, "[DONE]"), False),
    "openai error as its last bytes": (Protocol.AUTO, CHAT, HELLO + data(OVERLOADED)[:-2], False),
    "openai error event": (Protocol.AUTO, CHAT, HELLO + b"event: error\ndata: busy\n\n" + data("[DONE]"), False),
    "vllm's old error": (Protocol.AUTO, CHAT, data({"object": "error", "message": "x"}, "[DONE]"), False),
    "openai error over several lines": (Protocol.AUTO, CHAT, b'data: {"error":\ndata: "x"}\n\ndata: [DONE]\n\n', False),
    "openai says [DONE] in a text": (Protocol.AUTO, CHAT, HELLO + data(delta("[DONE]")), False),
    "openai text about errors": (
        Protocol.AUTO,
        CHAT,
        HELLO + data(delta('an "error": {"error": 1}\n\ndata: {"error": 2}'), delta("event: error"), "[DONE]"),
        True,
    ),
    "openai error null": (Protocol.AUTO, CHAT, data(delta("a") | {"error": None}, "[DONE]"), True),
    "openai comments": (Protocol.AUTO, CHAT, b": error\n\n" + WHOLE_CHAT, True),
    "declared openai under another path": (Protocol.OPENAI, "/llm/completions", data({"choices": []}, "[DONE]"), True),
    "declared openai, cut": (Protocol.OPENAI, "/llm/completions", data({"choices": []}), False),
    "openai speech promises no end": (Protocol.OPENAI, "/v1/audio/speech", data({"type": "speech.audio.delta"}), True),
    "a raw stream under an openai path": (Protocol.RAW, CHAT, HELLO, True),
    "responses whole": (Protocol.AUTO, "/v1/responses", RESPONSES + named("response.completed"), True),
    "responses at their token limit": (Protocol.AUTO, "/v1/responses", RESPONSES + named("response.incomplete"), True),
    "responses untyped": (Protocol.AUTO, "/v1/responses", RESPONSES + data({"type": "response.completed"}), True),
    "responses failed": (
        Protocol.AUTO,
        "/v1/responses",
        RESPONSES + named("response.failed", response=OVERLOADED) + named("response.completed"),
        False,
    ),
    "responses cut": (Protocol.AUTO, "/v1/responses", RESPONSES, False),
    "responses longer than an event may be": (
        Protocol.AUTO,
        "/v1/responses",
        RESPONSES + named("response.completed", response={"output": "x" * 2 * MAX_EVENT}),
        True,
    ),
    "responses longer than an event may be, untyped": (
        Protocol.AUTO,
        "/v1/responses",
        RESPONSES + data({"type": "response.completed", "response": {"output": "x" * 2 * MAX_EVENT}}),
        True,
    ),
    "anthropic whole": (Protocol.AUTO, "/v1/messages", ANTHROPIC + named("message_stop"), True),
    "anthropic cut": (Protocol.AUTO, "/v1/messages", ANTHROPIC, False),
    "anthropic error": (Protocol.AUTO, "/v1/messages", ANTHROPIC + named("error", error={"type": "overloaded"}), False),
    "triton whole": (Protocol.AUTO, "/v2/models/m/generate_stream", data({"text_output": "an error"}) * 3, True),
    "triton error": (
        Protocol.AUTO,
        "/v2/models/m/generate_stream",
        data({"text_output": "a"}, {"error": "failed to run"}),
        False,
    ),
    "triton error without data": (
        Protocol.AUTO,
        "/v2/models/m/generate_stream",
        data({"text_output": "a"}) + b'{"error":"failed to run"}',
        False,
    ),
    "mlserver whole": (
        Protocol.AUTO,
        "/v2/models/m/infer_stream",
        data({"model_name": "m", "outputs": [], "parameters": {"headers": {"x-error": "no"}}}),
        True,
    ),
    "a model that computes an error": (Protocol.RAW, "/fit", data({"error": 0.25}, {"error": [], "loss": 1}), True),
    "bentoml without framing": (Protocol.AUTO, "/generate", b"tok0 tok1 tok2 ", True),
    "bentoml writing JSON about errors": (Protocol.BENTOML, "/generate", b'{"error": "is a word"}\n\nmore', True),
    "bentoml longer than an event may be": (Protocol.BENTOML, "/generate", b"tok " * MAX_EVENT, True),
    "an event longer than may be, then an error": (
        Protocol.RAW,
        "/x",
        data("x" * 2 * MAX_EVENT) + data({"error": "x"}),
        False,
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("step", [1 << 20, 1, 7, 1000])
def test_a_stream_ended_well_or_not_however_it_is_cut(name: str, step: int) -> None:
    protocol, path, body, well = CASES[name]
    if len(body) > MAX_EVENT and step < 1000:
        step += 997
    for observation_of in (reader(protocol, path), reader(protocol, path, observation=None)):
        assert following(observation_of, SSE, body, step).ended_well(clean_end=True) is well


@pytest.mark.parametrize("name", CASES)
def test_no_stream_that_broke_off_ended_well(name: str) -> None:
    protocol, path, body, _ = CASES[name]
    assert not following(reader(protocol, path), SSE, body).ended_well(clean_end=False)


@given(
    cuts=st.lists(st.integers(1, 40), min_size=1), name=st.sampled_from([n for n in CASES if len(CASES[n][2]) < 4096])
)
def test_no_cutting_changes_a_verdict_or_a_count(cuts: list[int], name: str) -> None:
    protocol, path, body, well = CASES[name]
    by = reader(protocol, path)
    whole = following(by, SSE, body)
    follower = following(by, SSE)
    left = body
    for cut in cuts:
        follower.feed(left[:cut])
        left = left[cut:]
    follower.feed(left)
    assert follower.ended_well(clean_end=True) is well
    assert follower.read(clean_end=True) == whole.read(clean_end=True)


@pytest.mark.parametrize(
    ("body", "well"),
    [
        (b'{"response":"an error"}\n{"response":"","done":true}\n', True),
        (b'{"response":"a"}\n{"error":"model runner has stopped"}\n', False),
        (b'{"response":"a"}\n{"error":"model runner has stopped"}', False),
        (b'["error"]\n"error"\nerror\n', True),
    ],
)
@pytest.mark.parametrize("step", [1 << 20, 1, 9])
def test_a_line_of_json_may_say_of_a_failure(body: bytes, *, well: bool, step: int) -> None:
    assert following(reader(path="/api/generate"), LINES, body, step).ended_well(clean_end=True) is well


@pytest.mark.parametrize(
    ("path", "body", "usage"),
    [
        # OpenAI sends one more chunk, but only to those who ask for it; every other says "usage": null.
        (
            CHAT,
            HELLO
            + data(
                {"choices": [], "usage": None},
                {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
                "[DONE]",
            ),
            Usage(9, 2),
        ),
        # vLLM and its likes may have no choices in it.
        (
            CHAT,
            HELLO + data({"choices": None, "usage": {"prompt_tokens": 9, "completion_tokens": 2}}, "[DONE]"),
            Usage(9, 2),
        ),
        # LitServe says it unasked, beside the reason why it ended.
        (
            CHAT,
            HELLO
            + data(delta(None) | {"usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}, "[DONE]"),
            Usage(3, 4),
        ),
        # Some say it again and again; the last counts.
        (
            CHAT,
            data(
                *(delta("a") | {"usage": {"prompt_tokens": 5, "completion_tokens": n}} for n in range(1, 9)), "[DONE]"
            ),
            Usage(5, 8),
        ),
        ("/v1/messages", ANTHROPIC + named("message_stop"), Usage(25, 15)),
        (
            "/v1/responses",
            RESPONSES + named("response.completed", response={"usage": {"input_tokens": 6, "output_tokens": 7}}),
            Usage(6, 7),
        ),
        # Nobody said it: counted by what came, without who speaks and why it ended.
        (CHAT, WHOLE_CHAT, Usage(0, 2, is_estimated=True)),
        (CHAT, WHOLE_CHAT.replace(b'": ', b'":').replace(b", ", b","), Usage(0, 2, is_estimated=True)),
        (
            "/v1/completions",
            data(
                *({"choices": [{"text": "a", "finish_reason": None}]} for _ in range(3)),
                {"choices": [{"text": "", "finish_reason": "stop"}]},
                "[DONE]",
            ),
            Usage(0, 3, is_estimated=True),
        ),
    ],
)
@pytest.mark.parametrize("step", [1 << 20, 1, 13])
def test_a_whole_streams_usage_is_read(path: str, body: bytes, usage: Usage, step: int) -> None:
    follower = following(reader(path=path), SSE, body, step)
    assert follower.ended_well(clean_end=True)
    reading = follower.read(clean_end=True)
    assert reading.usage == usage
    assert reading.counters[Counter.READ] == 1
    assert reading.counters[Counter.PROMPT_TOKENS] == usage.prompt
    assert reading.counters[Counter.COMPLETION_TOKENS] == usage.completion
    assert (Counter.USAGE_ESTIMATED in reading.counters) is usage.is_estimated


@pytest.mark.parametrize(
    ("path", "body", "usage"),
    [
        (CHAT, HELLO, Usage(0, 2, is_estimated=True)),
        (CHAT, HELLO[:-30], Usage(0, 2, is_estimated=True)),
        (CHAT, data(delta("a"), delta("b"), delta("c")), Usage(0, 3, is_estimated=True)),
        ("/v1/messages", ANTHROPIC[: ANTHROPIC.index(b"event: message_delta")], Usage(25, 2, is_estimated=True)),
        ("/v1/responses", RESPONSES, Usage(0, 1, is_estimated=True)),
        (CHAT, b"", None),
    ],
)
def test_what_a_stream_took_before_it_broke_off_is_estimated(path: str, body: bytes, usage: Usage | None) -> None:
    follower = following(reader(path=path), SSE, body)
    assert not follower.ended_well(clean_end=False)
    assert follower.read(clean_end=False).usage == usage


def test_usage_that_is_null_does_not_hide_one_that_was_said() -> None:
    said = delta("a") | {"usage": {"prompt_tokens": 4, "completion_tokens": 1}}
    body = data(delta("") | {"usage": None}, said, delta(None) | {"usage": None}, "[DONE]")
    assert following(reader(path=CHAT), SSE, body).read(clean_end=True).usage == Usage(4, 1)


def test_usage_in_a_text_is_not_usage() -> None:
    body = HELLO + data(delta('{"usage": {"prompt_tokens": 1000, "completion_tokens": 1000}}'), "[DONE]")
    usage = following(reader(path=CHAT), SSE, body).read(clean_end=True).usage
    assert usage is not None
    assert usage.is_estimated


@pytest.mark.parametrize("count", [-1, True, 1.5, "7", None, 1 << 40])
def test_counts_that_are_none_are_not_taken(count: object) -> None:
    body = HELLO + data({"usage": {"prompt_tokens": count, "completion_tokens": count}}, "[DONE]")
    usage = following(reader(path=CHAT), SSE, body).read(clean_end=True).usage
    assert usage is not None
    assert usage.is_estimated


def test_a_language_models_stream_that_is_none_is_invalid() -> None:
    reading = following(reader(path=CHAT), SSE, b"It works!").read(clean_end=True)
    assert reading.counters == {Counter.INVALID: 1}


def test_a_stream_that_is_only_judged_says_nothing() -> None:
    follower = reader(path=CHAT).follow(SSE, sampled=False)
    assert follower is not None
    follower.feed(WHOLE_CHAT)
    assert follower.ended_well(clean_end=True)
    assert follower.read(clean_end=True).counters == {}


def test_a_compressed_stream_is_not_judged_but_counted_as_skipped() -> None:
    head = head_of("content-type: text/event-stream", "content-encoding: gzip")
    assert reader(path=CHAT, observation=None).follow(head, sampled=False) is None
    follower = following(reader(path=CHAT), head, b"\x1f\x8b" + bytes(100))
    assert follower.ended_well(clean_end=True)
    assert follower.read(clean_end=True).counters == {Counter.SKIPPED: 1}


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_an_endless_stream_is_followed_in_bounded_memory(end: bytes) -> None:
    by: Reader = reader(path=CHAT)
    follower = following(by, SSE)
    line = b'data: {"usage": {"error": [DONE] ' * 128 + end
    start()
    try:
        for _ in range(2000):
            for piece in pieces(line, 1024):
                follower.feed(piece)
        held, most = get_traced_memory()
    finally:
        stop()
    assert most < 4 * MAX_EVENT
    assert held < 3 * MAX_EVENT
