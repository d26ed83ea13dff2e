"""Hypothesis strategies for what an upstream might send: answers by grammar, bent a little."""

from typing import Final

from fuzz.client_bytes import BENDING, CHUNKINGS, ODD_CHUNKINGS, mostly
from hypothesis import strategies as st

STATUS_LINES: Final = (
    *(b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 500 Oh", b"HTTP/1.1 502 Bad", b"HTTP/1.0 200 OK"),
    *(
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 201 ",
        b"HTTP/1.1 200",
        b"HTTP/1.1 599 \xe9",
    ),
)
ODD_STATUS_LINES: Final = (
    *(b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 100 Continue", b"HTTP/1.1 20 OK", b"HTTP/1.1 600 X"),
    *(b"HTTP/1.1 099 X", b"HTTP/1.1 2000 X", b"HTTP/2.0 200 OK", b"HTTP/1.2 200 OK", b"HTTP/1.1  200 OK"),
    *(b"http/1.1 200 OK", b"ICY 200 OK", b"", b"HTTP/1.1 200\tOK", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 +20 OK"),
)
FIELDS: Final = (
    *(b"Content-Type: a/b", b"X-A: 1", b"x-a:2", b"X-B:\t b \t", b"Set-Cookie: a=b", b"Set-Cookie: c=d", b"X-Empty:"),
    *(b"Connection: keep-alive", b"X_A: 1", b"X-Obs: caf\xe9", b"Content-Encoding: gzip", b"Keep-Alive: timeout=5"),
)
ODD_FIELDS: Final = (
    *(b"Connection: close", b"Connection: X-A, close", b"Connection: a b", b"Connection: upgrade", b"Upgrade: h2c"),
    *(b"Connection: Content-Length", b"Connection: ,", b"Trailer: X-A", b"X A: 1", b"X-A : 1"),
    b"Proxy-Connection: close",
    *(b" X-A: 1", b"\tfolded", b": 1", b"X-A", b"X\x80: 1", b"X-A: \x00", b"X-A: a\rb", b"X-A: a\nb", b"X-A: \x7f"),
    *(
        b"Content-Length: 3",
        b"Content-Length: 03",
        b"Content-Length: +3",
        b"Content-Length: 3,3",
        b"Content-Length: -1",
    ),
    *(b"Content-Length:", b"content-length:3 ", b"Content.Length: 3"),
    b"Content-Length: 99999999999999999999",
    *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"),
    *(
        b"transfer-encoding:\tChunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding:",
        b"Transfer_Encoding: chunked",
    ),
)
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
INTERIM: Final = (b"", b"", CONTINUE, b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n", b"HTTP/1.1 102 \r\n\r\n")
ODD_INTERIM: Final = (
    *(CONTINUE * 9, b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\n", b"\r\n", b"HTTP/1.1 1"),
    *(b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 100 Continue\nX: y\r\n\r\n", b"HTTP/1.1 100 \r\nX\r\n\r\n"),
)
SURPLUS: Final = (b"", b"", b"", b"\r\n", b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON")


@st.composite
def framed_bodies(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """The fields that frame a body, and the body, which now and then do not belong together."""
    kind = draw(st.integers(0, 9))
    if kind <= 1:
        return [], draw(st.sampled_from((b"", b"until the end")))
    if kind <= 5:
        body = draw(st.sampled_from((b"", b"abc", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n", b"\r\n")))
        wrong = draw(st.sampled_from((0, 0, 0, 0, 0, 0, 1, -1, 5)))
        return [b"Content-Length: %d" % max(len(body) + wrong, 0)], body
    return [b"Transfer-Encoding: chunked"], draw(mostly(CHUNKINGS, ODD_CHUNKINGS))


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """What an upstream sends in answer to one request, mostly something valid."""
    framing, body = draw(framed_bodies())
    fields = draw(st.lists(mostly(FIELDS, ODD_FIELDS), max_size=3)) + framing
    lines = [draw(mostly(STATUS_LINES, ODD_STATUS_LINES)), *draw(st.permutations(fields)), b"", body]
    raw = draw(mostly(INTERIM, ODD_INTERIM)) + b"\r\n".join(lines) + draw(st.sampled_from(SURPLUS))
    for _ in range(draw(st.sampled_from((0, 0, 0, 0, 1, 2)))):
        position = draw(st.integers(0, len(raw)))
        taken = draw(st.sampled_from((0, 0, 1, 2, 4, 400)))
        raw = raw[:position] + draw(st.sampled_from((b"", *BENDING))) + raw[position + taken :]
    return raw
