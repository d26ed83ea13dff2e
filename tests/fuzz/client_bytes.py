"""Hypothesis strategies for what a client might send: requests by grammar, bent a little, in a row."""

from typing import Final

from hypothesis import strategies as st

METHODS: Final = (b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"PATCH", b"OPTIONS")
ODD_METHODS: Final = (b"get", b"CONNECT", b"TRACE", b"M-SEARCH", b"GE(T", b"", b"PRI", b"HTTP/1.1", b"P\x00ST")
TARGETS: Final = (b"/x", b"/x/y?a=b&c", b"/v2/models/fraud/infer", b"//x", b"/", b"/x;y=z", b"/%2f%41", b"/x.y/.z")
ODD_TARGETS: Final = (
    *(b"http://a/x", b"HTTPS://A/x?y", b"http://a", b"http://b/x", b"http://a?x", b"http://u@a/x", b"ftp://a/x"),
    *(b"*", b"x", b"/x/../y", b"/x/%2E%2e", b"/./x", b"/x#y", b"/x\\y", b"/x\x80", b"/x\ty", b"", b"/x y", b'/x?"<>'),
)
VERSIONS: Final = (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1.1 ", b"http/1.1", b"HTTP/1.10", b"HTTP/1", b"")
FIELDS: Final = (
    *(b"Accept: */*", b"X-A: 1", b"x-a:2", b"X-B:\t b \t", b"Cookie: a=b; c", b"X-Empty:", b"Content-Type: a/b"),
    *(b"Connection: keep-alive", b"X-Request-Id: abc", b"X-Obs: caf\xe9", b"Authorization: Bearer x", b"X!#$: y"),
)
ODD_FIELDS: Final = (
    *(b"Connection: close", b"Connection: X-A, close", b"connection: x-a, host", b"Connection: Content-Length"),
    *(b"Connection: a b", b"Connection: ,", b"Connection: Upgrade", b"Proxy-Connection: close", b"TE: trailers"),
    *(b"Proxy-Connection: keep-alive", b"Keep-Alive: timeout=5", b"Upgrade: h2c", b"Upgrade: websocket"),
    *(b"Expect: 100-continue", b"Expect: x", b"Trailer: X-A", b"X-Turnback-Version: v2", b"X_A: 1", b"X A: 1"),
    *(b"X-A : 1", b" X-A: 1", b"\tfolded", b": 1", b"X-A", b"X\x80: 1", b"X-A: \x00", b"X-A: \x7f", b"X-A: a\rb"),
    *(b"X-A: a\nb", b"Host: a", b"Host: b", b"Host: a b", b"Host:", b"host: A", b"Content-Type: c/d"),
    *(b"Content-Length: 3", b"Content-Length: 0", b"Content-Length: 03", b"Content-Length: +3", b"Content-Length: 3,3"),
    *(b"Content-Length: -1", b"Content-Length:", b"Content-Length: 3 ", b"content-length:3", b"Content-Length: 0x3"),
    *(b"Content-Length: 9999999999", b"Content-Length: 99999999999999999999", b"Content.Length: 3"),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked", b"Transfer-Encoding: gzip, chunked"),
    *(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: xchunked"),
    *(
        b"Transfer-Encoding:",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer_Encoding: chunked",
        b"Transfer-Encoding : chunked",
    ),
)
CHUNKINGS: Final = (
    *(b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"0003\r\nabc\r\n000\r\n\r\n"),
    *(b"A\r\n0123456789\r\n0\r\n\r\n", b"3;x\r\nabc\r\n0;y=z\r\n\r\n", b'3;x="y z"\r\nabc\r\n0\r\nX-T: 1\r\n\r\n'),
)
ODD_CHUNKINGS: Final = (
    *(b"3\nabc\n0\n\n", b"3 \r\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n"),
    *(b"3\r\nabc0\r\n\r\n", b"3\r\nabc\r\n0\r\nHost: b\r\n\r\n", b"3\r\nabc\r\n0\r\nx\r\n\r\n", b"-1\r\n\r\n"),
    *(
        b"fffffffffffffffff\r\nabc",
        b"3\r\nabc\r\n0\r\n",
        b"3\r\nab",
        b"3;\r\nabc\r\n0\r\n\r\n",
        b"3; x\r\nabc\r\n0\r\n\r\n",
    ),
    *(b"3\r\r\nabc\r\n0\r\n\r\n", b"3;x\ny\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n X: y\r\n\r\n"),
    *(b"+3\r\nabc\r\n0\r\n\r\n", b"\r\n3\r\nabc\r\n0\r\n\r\n"),
)
BENDING: Final = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b" ", b"\t", b":", b",", b";", b"0", b"\x80", b"\x0b", b"G"),
)


def mostly(usual: tuple[bytes, ...], odd: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """One in about eight is odd."""
    return st.integers(0, 7).flatmap(lambda draw: st.sampled_from(odd if draw == 0 else usual))


@st.composite
def framed_bodies(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """The fields that frame a body, and the body, which now and then do not belong together."""
    kind = draw(st.integers(0, 9))
    if kind <= 3:
        return [], b""
    if kind <= 6:
        body = draw(st.sampled_from((b"", b"abc", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", b"0\r\n\r\n", b"\r\n")))
        wrong = draw(st.sampled_from((0, 0, 0, 0, 0, 0, 1, -1, 5)))
        return [b"Content-Length: %d" % max(len(body) + wrong, 0)], body
    return [b"Transfer-Encoding: chunked"], draw(mostly(CHUNKINGS, ODD_CHUNKINGS))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, mostly a valid one."""
    start = b" ".join(
        (draw(mostly(METHODS, ODD_METHODS)), draw(mostly(TARGETS, ODD_TARGETS)), draw(mostly((b"HTTP/1.1",), VERSIONS)))
    )
    framing, body = draw(framed_bodies())
    fields = draw(st.lists(mostly(FIELDS, ODD_FIELDS), max_size=3)) + framing
    hosts = draw(mostly((b"Host: a",), (b"X-No: host", b"Host: a:80", b"Host: [::1]:8000", b"Host: a\r\nHost: a")))
    lines = draw(st.permutations([hosts, *fields]))
    return draw(mostly((b"",), (b"\r\n", b"\r\n\r\n", b"\n"))) + b"\r\n".join([start, *lines, b"", body])


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Requests in a row, some of them the same again, sometimes with a few bytes bent."""
    row = draw(st.lists(requests(), min_size=1, max_size=3))
    if draw(st.booleans()):
        row.append(draw(st.sampled_from(row)))
    raw = b"".join(row)
    for _ in range(draw(st.sampled_from((0, 0, 0, 0, 1, 2)))):
        position = draw(st.integers(0, len(raw)))
        taken = draw(st.sampled_from((0, 0, 1, 2, 4)))
        raw = raw[:position] + draw(st.sampled_from((b"", *BENDING))) + raw[position + taken :]
    return raw


cuts = st.lists(st.integers(0, 400), max_size=8)
