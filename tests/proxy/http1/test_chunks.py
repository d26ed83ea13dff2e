"""The chunked coding: decoded however it is cut, never looser than llhttp."""

from itertools import pairwise

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.proxy.http1.chunks import LAST_CHUNK, ChunkDecoder, MalformedChunk, encode

EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b';a="b c"', b';a="\\"";b'])
TRAILERS = st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: b\r\nVary: *\r\n"])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A payload and one way to encode it."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=300), max_size=6))
    encoded = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), draw(EXTENSIONS), piece) for piece in pieces)
    return b"".join(pieces), encoded + b"0" + draw(EXTENSIONS) + b"\r\n" + draw(TRAILERS) + b"\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The same bytes in several reads."""
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


@given(body=bodies(), rest=st.binary(max_size=20), places=st.lists(st.integers(0, 5_000), max_size=12))
def test_a_body_is_decoded_however_its_bytes_are_cut(body: tuple[bytes, bytes], rest: bytes, places: list[int]) -> None:
    payload, encoded = body
    decoder = ChunkDecoder()
    decoded = b""
    behind = b""
    for read in cut(encoded + rest, places):
        if decoder.done:
            behind += read
        else:
            decoded += decoder.feed(read)
    assert decoder.done
    assert decoded == payload
    assert decoder.rest + behind == rest


class Listening:
    """Takes down what llhttp makes of a body."""

    def __init__(self) -> None:
        self.body = b""
        self.done = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.done = True


PARTS = [b"0", b"1", b"2", b"\r\n", b"\n", b"\r", b";", b"a", b"=", b'"b"', b'"', b" ", b"\t", b"X:", b"\r\n0\r\n\r\n"]


@given(st.lists(st.sampled_from(PARTS), max_size=10).map(b"".join))
@example(b"1;a=b\r\na\r\n0\r\nX:\r\n\r\n")
def test_llhttp_accepts_whatever_is_accepted_here_and_reads_the_same(encoded: bytes) -> None:
    decoder = ChunkDecoder()
    try:
        payload = decoder.feed(encoded)
    except MalformedChunk:
        return
    if not decoder.done:
        return
    listening = Listening()
    parser = httptools.HttpResponseParser(listening)
    taken = encoded[: len(encoded) - len(decoder.rest)]
    parser.feed_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + taken)
    assert listening.done
    assert listening.body == payload


@given(payloads=st.lists(st.binary(max_size=100), max_size=5))
def test_what_is_encoded_here_is_decoded_to_the_same(payloads: list[bytes]) -> None:
    encoded = b"".join(encode(payload, last=False) for payload in payloads) + encode(b"", last=True)
    decoder = ChunkDecoder()
    assert decoder.feed(encoded) == b"".join(payloads)
    assert decoder.done


def test_an_empty_payload_does_not_end_the_body() -> None:
    assert encode(b"", last=False) == b""
    assert encode(b"", last=True) == LAST_CHUNK


@pytest.mark.parametrize(
    "encoded",
    [
        b"g\r\n",
        b"\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhelloX",
        b"5 \r\nhello\r\n",
        b"5\t\r\nhello\r\n",
        b"5;\r\nhello\r\n",
        b"5; a\r\nhello\r\n",
        b"5 ;a\r\nhello\r\n",
        b'5;a="b\r\nhello\r\n',
        b"5;a=b c\r\nhello\r\n",
        b"0000000000000001\r\n",
        b"1" * 300,
        b"1;" + b"a" * 300 + b"\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 2_000 + b"\r\n",
    ],
)
def test_what_is_not_chunked_is_refused(encoded: bytes) -> None:
    with pytest.raises(MalformedChunk):
        ChunkDecoder().feed(encoded)
