"""What is taken from an upstream's response head, and what is not."""

import pytest

from app.proxy.bounds.limits import DEFAULT_LIMITS, Limits
from app.proxy.http1.response_head import (
    BY_CHUNKS,
    BY_CLOSE,
    BY_LENGTH,
    EVENT_STREAM,
    JSON,
    JSON_LINES,
    NO_BODY,
    OTHER,
    Broken,
    ResponseHead,
)


def head(*lines: str, start: str = "HTTP/1.1 200 OK", limits: Limits = DEFAULT_LIMITS) -> ResponseHead:
    return ResponseHead("\r\n".join([start, *lines]).encode("latin-1"), limits)


@pytest.mark.parametrize(
    "line",
    [
        "Keep-Alive: timeout=5",
        "Proxy-Authenticate: Basic",
        "Proxy-Authorization: Basic x",
        "Proxy-Connection: close",
        "TE: trailers",
        "Trailer: x-checksum",
        "Upgrade: h2c",
        "X-Request-Id: theirs",
        "X-Turnback-Version: v9",
        "x-turnback-receipt: forged",
        "X-TURNBACK-anything-else: x",
    ],
)
def test_hop_by_hop_fields_and_those_that_are_the_gateways_own_do_not_cross(line: str) -> None:
    assert head(line, "server: x").lines == [b"server: x"]


def test_what_a_connection_field_nominates_does_not_cross() -> None:
    crossed = head("X-Internal: 1", "Connection: x-internal, keep-alive", "Connection: SERVER", "Server: x", "Etag: y")
    assert crossed.lines == [b"Etag: y"]
    assert crossed.keep_alive


def test_a_connection_field_cannot_nominate_the_length_away() -> None:
    crossed = head("content-length: 5", "connection: content-length")
    assert (crossed.lines, crossed.framing(to_head=False)) == ([b"content-length: 5"], BY_LENGTH)


def test_every_other_field_crosses_as_it_came_in_its_order() -> None:
    lines = ["Set-Cookie: a=1", "Content-TYPE:text/plain", "set-cookie: b=2", "x_under: 1", "X-Empty:"]
    assert head(*lines).lines == [line.encode() for line in lines]


@pytest.mark.parametrize(
    ("start", "lines", "to_head", "framing"),
    [
        ("HTTP/1.1 200 OK", ["content-length: 5"], False, BY_LENGTH),
        ("HTTP/1.1 200 OK", ["content-length: 0"], False, BY_LENGTH),
        ("HTTP/1.1 200 OK", ["content-length: \t5 "], False, BY_LENGTH),
        ("HTTP/1.1 200 OK", ["transfer-encoding: Chunked"], False, BY_CHUNKS),
        ("HTTP/1.1 200 OK", [], False, BY_CLOSE),
        ("HTTP/1.0 200 OK", [], False, BY_CLOSE),
        ("HTTP/1.1 200 OK", ["content-length: 5"], True, NO_BODY),
        ("HTTP/1.1 200 OK", ["transfer-encoding: chunked"], True, NO_BODY),
        ("HTTP/1.1 204 No Content", ["content-length: 5"], False, NO_BODY),
        ("HTTP/1.1 204 No Content", [], False, NO_BODY),
        ("HTTP/1.1 304 Not Modified", ["content-length: 5"], False, NO_BODY),
        ("HTTP/1.1 304 Not Modified", ["transfer-encoding: chunked"], False, NO_BODY),
        ("HTTP/1.1 205 Reset Content", ["content-length: 0"], False, BY_LENGTH),
    ],
)
def test_the_body_ends_as_rfc_9112_says(start: str, lines: list[str], framing: int, *, to_head: bool) -> None:
    assert head(*lines, start=start).framing(to_head=to_head) == framing


@pytest.mark.parametrize(
    "lines",
    [
        ["content-length: 5", "content-length: 5"],
        ["content-length: 5, 5"],
        ["content-length: 5", "Content-Length: 6"],
        ["content-length: "],
        ["content-length: +5"],
        ["content-length: -5"],
        ["content-length: 05"],
        ["content-length: 5.0"],
        ["content-length: 0x5"],
        ["content-length: 1" + "0" * 18],
        ["content-length: \u00b2"],
        ["content-length: 5", "transfer-encoding: chunked"],
        ["transfer-encoding: chunked", "content-length: 5"],
        ["transfer-encoding: chunked", "transfer-encoding: chunked"],
        ["transfer-encoding: chunked, chunked"],
        ["transfer-encoding: gzip, chunked"],
        ["transfer-encoding: identity"],
        ["transfer-encoding: "],
        ["transfer-encoding: chunked;x=y"],
        ["connection: a b"],
        ["content.length: 5"],
        ["content_length: 5"],
        ["transfer_encoding: chunked"],
        [": x"],
        ["no colon at all but a space"],
        ["a" * 70_000 + ": x"],
        ["x: y"] * 300,
    ],
)
def test_a_head_that_is_not_plainly_framed_is_broken(lines: list[str]) -> None:
    with pytest.raises(Broken):
        head(*lines)


@pytest.mark.parametrize(
    "start", ["HTTP/1.1 199 X", "HTTP/1.1 600 X", "HTTP/1.1 20", "HTTP/1.1 2 0", "", "HTTP/1.1 +20 X"]
)
def test_a_status_that_is_none_of_a_final_answer_is_broken(start: str) -> None:
    with pytest.raises(Broken):
        head(start=start)


def test_chunks_are_not_taken_from_http_1_0() -> None:
    with pytest.raises(Broken):
        head("transfer-encoding: chunked", start="HTTP/1.0 200 OK")


@pytest.mark.parametrize(
    ("start", "lines", "keep_alive"),
    [
        ("HTTP/1.1 200 OK", ["content-length: 0"], True),
        ("HTTP/1.1 200 OK", ["content-length: 0", "connection: keep-alive"], True),
        ("HTTP/1.1 200 OK", ["content-length: 0", "connection: Close"], False),
        ("HTTP/1.1 200 OK", ["content-length: 0", "connection: keep-alive, close"], False),
        ("HTTP/1.0 200 OK", ["content-length: 0"], False),
        ("HTTP/1.0 200 OK", ["content-length: 0", "connection: keep-alive"], False),
        ("HTTP/1.1 204 No Content", [], True),
        # Chunks announced where none may be are likely to come.
        ("HTTP/1.1 204 No Content", ["transfer-encoding: chunked"], False),
        ("HTTP/1.1 304 Not Modified", ["transfer-encoding: chunked"], False),
        ("HTTP/1.1 304 Not Modified", ["content-length: 10"], True),
    ],
)
def test_a_connection_stays_only_where_nothing_speaks_against_it(
    start: str, lines: list[str], *, keep_alive: bool
) -> None:
    assert head(*lines, start=start).keep_alive is keep_alive


def test_a_length_does_not_cross_where_no_content_may_be() -> None:
    assert head("content-length: 0", "etag: x", start="HTTP/1.1 204 No Content").lines == [b"etag: x"]
    assert head("content-length: 9", "etag: x", start="HTTP/1.1 304 Not Modified").lines[0] == b"content-length: 9"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("application/json", JSON),
        ("Application/JSON ; charset=utf-8", JSON),
        ("application/problem+json", JSON),
        ("text/event-stream", EVENT_STREAM),
        ("text/event-stream;charset=utf-8", EVENT_STREAM),
        ("application/x-ndjson", JSON_LINES),
        ("application/stream+json", JSON_LINES),
        ("text/plain", OTHER),
        ("application/octet-stream", OTHER),
        ("", OTHER),
    ],
)
def test_the_content_type_tells_what_a_body_is(value: str, kind: int) -> None:
    assert head(f"Content-Type: {value}").content.kind == kind


@pytest.mark.parametrize(
    ("lines", "coding"),
    [
        ([], b""),
        (["content-encoding: identity"], b""),
        (["Content-Encoding: GZip"], b"gzip"),
        (["content-encoding: gzip, br"], b"gzip, br"),
        (["content-encoding: gzip", "content-encoding: br"], b"gzip,br"),
    ],
)
def test_the_coding_is_one_name_or_none_that_is_known(lines: list[str], coding: bytes) -> None:
    assert head(*lines).content.coding == coding


@pytest.mark.parametrize(
    ("value", "length"), [("232", 232), ("0", 0), ("-1", -1), ("1e3", -1), ("", -1), ("9" * 30, -1)]
)
def test_the_header_before_binary_tensors_has_a_length_or_none(value: str, length: int) -> None:
    assert head(f"Inference-Header-Content-Length: {value}").content.header_length == length


def test_fields_named_like_those_of_the_content_do_not_pass_for_them() -> None:
    content = head("content-tape: application/json", "content-encodimg: gzip").content
    assert (content.kind, content.coding, content.header_length) == (OTHER, b"", -1)


def test_the_content_is_looked_up_once_for_all_exchanges_that_share_a_head() -> None:
    shared = head("content-type: application/json")
    assert shared.content is shared.content
