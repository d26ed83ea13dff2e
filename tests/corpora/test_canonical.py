"""The judge itself: what is canonical passes, and each way of not being so is told."""

import pytest
from corpora.canonical import Wire

HEAD = b"POST /x HTTP/1.1\r\nhost: a\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /x?y HTTP/1.1\r\nhost: a:80\r\nx: y \t z\r\n\r\n",
        HEAD + b"content-length: 3\r\n\r\nabc",
        HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_canonical_request_is_read_without_a_flaw_however_it_is_cut(raw: bytes, step: int) -> None:
    wire = Wire()
    whole = [done for start in range(0, len(raw), step) for done in wire.feed(raw[start : start + step])]
    whole += [done for start in range(0, len(raw), step) for done in wire.feed(raw[start : start + step])]
    wire.end()
    assert (wire.flaws, len(whole)) == ([], 2)
    assert all(each.body == (b"abc" if each.method == b"POST" else b"") for each in whole)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /x HTTP/1.0\r\nhost: a\r\n\r\n",
        b"GET  /x HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /x HTTP/1.1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        HEAD + b"x : y\r\n\r\n",
        HEAD + b"x: a\nb: c\r\n\r\n",
        HEAD + b"x: a\r b\r\n\r\n",
        HEAD + b" folded\r\n\r\n",
        HEAD + b"x_y: z\r\n\r\n",
        HEAD + b"connection: close\r\n\r\n",
        HEAD + b"x-turnback-version: v2\r\n\r\n",
        HEAD + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        HEAD + b"content-length: 03\r\n\r\nabc",
        HEAD + b"content-length: +3\r\n\r\nabc",
        HEAD + b"content.length: 3\r\n\r\n",
        HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n03\r\nabc\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n\r\n",
        HEAD + b"\r\nabc",
        b"garbage",
    ],
)
def test_anything_that_two_servers_could_read_differently_is_a_flaw(raw: bytes) -> None:
    wire = Wire()
    wire.feed(raw)
    wire.end()
    assert wire.flaws
