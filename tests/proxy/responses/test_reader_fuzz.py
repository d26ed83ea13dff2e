"""No bytes an upstream sends make reading raise, or count an answer twice."""

import gzip
import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proxy.answering import binary, head_of, output, reader, strings, text, v2

from app.domain.catalog.models import Observation, Protocol
from app.domain.evidence.tally import Counter
from app.proxy.bounds.memory import Room
from app.proxy.responses.reader import agree
from app.proxy.responses.reading import Follower, Reading

PATHS = (
    "/v1/models/fraud:predict",
    "/v2/models/fraud/infer",
    "/v2/models/fraud/generate_stream",
    "/predictions/fraud",
    "/invocations",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    "/score",
)
KINDS = ("application/json", "text/event-stream", "application/x-ndjson", "application/octet-stream", "")
CODINGS = ("", "gzip", "deflate", "br")
OBSERVATIONS = (Observation(), Observation(prediction="/a/0", score="/b"), Observation(prediction=""))
KEYS = ("predictions", "outputs", "result", "error", "usage", "choices", "delta", "content", "type", "data", "a", "b")
PARTS = ("name", "datatype", "shape", "parameters", "binary_data_size", "label", "score", "probabilities")
TEXTS = ("message_stop", "response.completed", "FP32", "BYTES", "INT64", "prompt_tokens", "0.5:1:cat")
WORDS = (*KEYS, *PARTS, *TEXTS)

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5)
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=20,
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["score", "x"]) | leaves,
        "datatype": st.sampled_from(["FP16", "BF16", "FP32", "INT8", "UINT64", "BOOL", "BYTES"]) | leaves,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | documents,
        "data": st.lists(leaves, max_size=9) | documents,
    },
    optional={"parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 16) | leaves})},
)
SEEDS = (
    text({"predictions": [{"label": "cat", "score": 0.5}, [0.5, 0.5], float("nan")]}),
    v2(output("predict", "INT64", [2], [1, 0]), output("p", "FP32", [2, 2], [0.5, 0.5, 0.25, 0.75])),
    binary(("x", "FP32", [2], bytes(8)), ("s", "BYTES", [1], strings(b"0.5:1:cat")))[0],
    b'event: error\ndata: {"error": {}}\n\ndata: {"usage": {"prompt_tokens": 1}, "delta": 1}\n\ndata: [DONE]\n\n',
    gzip.compress(text({"predictions": [1]})),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid answer with a few bytes changed, taken out or put in."""
    body = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(body)))
        body[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(body)


bodies = (
    st.binary(max_size=200)
    | damaged()
    | documents.map(lambda document: json.dumps(document).encode())
    | st.lists(tensors, max_size=3).map(lambda outputs: text({"outputs": outputs}) + bytes(32))
    | st.lists(documents, max_size=4).map(lambda many: b"".join(b"data: " + text(each) + b"\n\n" for each in many))
)


def followers(body: bytes, protocol: Protocol, path: str, header: int) -> Iterator[tuple[Follower, Room]]:
    """Everybody who could be asked to follow this body."""
    for observation in OBSERVATIONS:
        for kind in KINDS:
            for coding in CODINGS:
                room = Room()
                by = reader(protocol, path, observation, room)
                fields = (f"content-type: {kind}", f"content-encoding: {coding}")
                more = (f"inference-header-content-length: {header}",) if header else ()
                follower = by.follow(head_of(*fields, *more), sampled=True)
                if follower is not None:
                    yield follower, room


@settings(deadline=None, max_examples=150)
@given(
    body=bodies,
    protocol=st.sampled_from(Protocol),
    path=st.sampled_from(PATHS),
    step=st.integers(1, 300),
    header=st.integers(0, 200),
    clean_end=st.booleans(),
)
def test_any_answer_is_read_without_raising_and_counted_once(
    body: bytes, protocol: Protocol, path: str, step: int, header: int, *, clean_end: bool
) -> None:
    for follower, room in followers(body, protocol, path, header):
        for start in range(0, len(body), step):
            follower.feed(body[start : start + step])
        well = follower.ended_well(clean_end=clean_end)
        reading = follower.read(clean_end=clean_end)
        assert clean_end or not well
        kinds = sum(reading.counters.get(kind, 0) for kind in (Counter.READ, Counter.SKIPPED, Counter.INVALID))
        assert kinds <= 1
        assert len(reading.predictions) <= 1000
        assert len(reading.scores) <= 1000
        assert all(type(each) in {float, str} for each in reading.predictions)
        assert all(type(each) is float for each in reading.scores)
        assert room.left == Room().left
        assert agree(reading, reading, body, body)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"predictions":' * 10_000,
        b'{"predictions": [' + b"[" * 900 + b"1" + b"]" * 900 + b"]}",
        b'{"predictions": ' + b"9" * 100_000 + b"}",
        b'{"outputs": [{"datatype": "FP32", "shape": [' + b"4294967296," * 31 + b'1], "data": []}]}',
        b'data: {"usage": ' * 10_000,
        b'data: {"error": "\n\n' * 10_000,
        b"\n\n" * 100_000,
        b"\r\n" * 100_000,
        b'"usage"' * 30_000,
        bytes(250_000),
        b"\xff" * 250_000,
    ],
)
def test_a_hostile_answer_is_read_without_raising(path: str, body: bytes) -> None:
    for follower, _ in followers(body, Protocol.AUTO, path, 0):
        follower.feed(body)
        follower.ended_well(clean_end=True)
        assert isinstance(follower.read(clean_end=True), Reading)
