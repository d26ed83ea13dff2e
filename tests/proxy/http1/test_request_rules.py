"""What a request may be: refused, forwarded, and what of it crosses."""

import asyncio

import pytest
from fakes.upstream_server import Conversation, upstream
from fakes.waiting import eventually
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking

from app.domain.catalog.models import Match
from app.proxy import Limits

HOST = b"Host: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 40, 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
        *((b"GET / HTTP/1.1\r\nHost: a\r\nX: y%cz\r\n\r\n" % control, 400) for control in (0, 1, 8, 11, 12, 27, 127)),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\x80: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://user@a/ HTTP/1.1\r\nHost: user@a\r\n\r\n", 400),
        (b"GET http://user@a/ HTTP/1.0\r\n\r\n", 400),
        (b"GET http:///x HTTP/1.1\r\nHost: \r\n\r\n", 400),
        (b"GET http:///x HTTP/1.0\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"POST * HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /x/../y HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.9\r\nHost: a\r\n\r\n", 505),
        (b"GET / FTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX_Y: b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent.Length: 1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding.: chunked\r\n\r\n0\r\n\r\n", 400),
        *((b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\nxx" % value, 400) for value in (
            b"", b"+2", b"-2", b"02", b"0x2", b"2,2", b"2 2", b"2.0", b"\xb2", b"9" * 19, b"two",
        )),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nxx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        *((b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %b\r\n\r\n0\r\n\r\n" % value, 400) for value in (
            b"", b"gzip", b"identity", b"gzip, chunked", b"chunked, chunked", b"xchunked", b"chunked;a", b"\x0bchunked",
        )),
        (CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        *((CHUNKED + body, 400) for body in (
            b"x\r\n", b"-1\r\n", b"0x1\r\na\r\n", b" 1\r\na\r\n", b"1 \r\na\r\n", b"1\na\r\n", b"1;\r\na\r\n",
            b"1" * 300, b"0\r\nHost: b\r\n\r\n", b"0\r\nContent-Length: 3\r\n\r\n", b"0\r\nX\r\n\r\n",
        )),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: tea\r\n\r\nx", 417),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\ncontent-type: a/b\r\n\r\n", 400),
        *((b"GET / HTTP/1.1\r\nHost: a\r\n%b: a\r\n%b: a\r\n\r\n" % (name, name.lower()), 400) for name in (
            b"Authorization", b"Idempotency-Key", b"X-Turnback-Model", b"X-Turnback-Force-Version",
            b"X-Turnback-Override-Key",
        )),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"x" * 40_000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (CHUNKED + b"11000\r\n" + bytes(69_632), 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)  # fmt: skip
async def test_what_is_not_understood_is_refused_and_never_forwarded_whole(raw: bytes, status: int) -> None:
    async with upstream() as server:
        model = routed({"v1": server.url}, match=Match(path_prefix="/"))
        gateway = gateway_with(table_of(model), limits=Limits(sweep_s=0.02, body_bytes=65_536))
        async with serving(gateway) as port:
            for _ in range(2):
                async with talking(port) as talk:
                    answer = await talk.ask(raw)
                    assert answer.status == status
                    assert answer.problem()["fault"] == "client"
                    assert answer.field("connection") == "close"
                    assert await talk.is_closed()
        assert server.received == []


async def test_a_head_that_is_malformed_is_refused_before_it_ends() -> None:
    gateway = gateway_with(table_of())
    async with serving(gateway) as port, talking(port) as talk:
        assert (await talk.ask(b"GET / HTTP/1.1\r\nHost: a\nX: ")).status == 400


async def test_fields_cross_as_they_came_but_for_framing_and_hop_by_hop() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.ask(
                post(
                    b"abc",
                    "/v2/models/fraud/infer",
                    "Connection: keep-alive, X-Secret, content-length",
                    "X-Secret: 1",
                    "Keep-Alive: timeout=5",
                    "TE: trailers",
                    "Proxy-Authorization: x",
                    "X-Turnback-Anything: v2",
                    "X-Forwarded-For: 6.6.6.6",
                    "Forwarded: for=6.6.6.6",
                    "X-Real-IP: 6.6.6.6",
                    "X-Kept:  two  words ",
                    "X-Kept: again",
                    "ce-id: 7",
                    "Inference-Header-Content-Length: 3",
                )
            )
        (received,) = server.received
        lines = received.head.decode().split("\r\n")[1:-2]
        request_id = received.field("x-request-id")
        traceparent = received.field("traceparent")
        assert request_id is not None
        assert traceparent is not None
        assert sorted(lines) == sorted(
            [
                f"host: 127.0.0.1:{server.port}",
                "content-length: 3",
                "X-Kept:  two  words ",
                "X-Kept: again",
                "ce-id: 7",
                "Inference-Header-Content-Length: 3",
                f"x-request-id: {request_id.decode()}",
                f"traceparent: {traceparent.decode()}",
                "x-forwarded-proto: http",
                f"x-forwarded-port: {port}",
                "x-forwarded-for: 127.0.0.1",
                "x-forwarded-host: gateway.test",
                'forwarded: for=127.0.0.1;proto=http;host="gateway.test"',
            ]
        )


async def test_response_fields_cross_but_for_framing_and_hop_by_hop() -> None:
    reply = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: x\r\n"
        b"X-Turnback-Version: forged\r\nX-Request-Id: other\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nDCLK_imp: 1\r\n\r\nok"
    )
    async with upstream(reply) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(get("/m/fraud", "x-request-id: mine"))
        assert sorted(each for each in answer.fields if each[0] != "x-turnback-receipt") == [
            ("content-length", "2"),
            ("dclk_imp", "1"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
            ("x-request-id", "mine"),
            ("x-turnback-version", "v1"),
        ]


@pytest.mark.parametrize(
    ("sent", "honoured"), [("abc-123_~", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("", False)]
)
async def test_a_sane_request_id_travels_on_and_another_is_replaced(sent: str, honoured: bool) -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(get("/m/fraud", f"X-Request-Id: {sent}"))
        told = answer.field("x-request-id")
        assert told
        assert (told == sent) is honoured
        assert server.received[0].field("x-request-id") == told.encode()


async def test_request_ids_made_here_differ() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            told = {(await talk.ask(get())).field("x-request-id") for _ in range(5)}
        assert len(told) == 5


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"GET http://a:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n", b"GET /x?y HTTP/1.1"),
        (b"GET HTTPS://A HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1"),
        (b"GET http://[::1]:8080/f HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", b"GET /f HTTP/1.1"),
        (b"\r\n\r\nGET /blank HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /blank HTTP/1.1"),
        (b"OPTIONS /cors HTTP/1.1\r\nHost: a\r\n\r\n", b"OPTIONS /cors HTTP/1.1"),
        (b'GET ///with_"quotes"?foo="bar" HTTP/1.1\r\nHost: a\r\n\r\n', b'GET ///with_"quotes"?foo="bar" HTTP/1.1'),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX.Custom|Pipe: caf\xc3\xa9\r\n\r\n", b"GET / HTTP/1.1"),
        (get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: A"), b"GET / HTTP/1.1"),
        (b"DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", b"DELETE /x HTTP/1.1"),
    ],
)  # fmt: skip
async def test_unusual_but_valid_requests_are_served(raw: bytes, line: bytes) -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, match=Match(path_prefix="/"))))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(2):
                assert (await talk.ask(raw)).status == 200
        assert [received.line for received in server.received] == [line, line]


@pytest.mark.parametrize(
    "raw",
    [
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
async def test_options_of_the_server_itself_is_answered_here(raw: bytes) -> None:
    async with serving(gateway_with(table_of())) as port, talking(port) as talk:
        for _ in range(2):
            answer = await talk.ask(raw)
            assert (answer.status, answer.field("connection")) == (204, None)


async def test_options_of_the_server_itself_waits_for_the_body_it_does_not_want() -> None:
    async with serving(gateway_with(table_of())) as port, talking(port) as talk:
        for _ in range(2):
            await talk.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
            await asyncio.sleep(0.01)
            answer = await talk.ask(b"llo")
            assert (answer.status, answer.field("connection")) == (204, None)


async def test_a_proxy_connection_field_means_nothing() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for number in range(3):
                fields = ("Proxy-Connection: close", f"x-number: {number}")
                assert (await talk.ask(get("/m/fraud", *fields))).status == 200
        assert b"roxy-" not in server.received[0].head


async def test_http_1_0_takes_its_host_from_an_absolute_target() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, match=Match(host="a.test", path_prefix="/"))))
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(b"GET http://a.test:80/x HTTP/1.0\r\n\r\n")).status == 200
        assert server.received[0].field("x-forwarded-host") == b"a.test:80"


@pytest.mark.parametrize("host", [b"", HOST])
async def test_http_1_0_is_served_once_with_or_without_a_host(host: bytes) -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(b"POST /m/fraud HTTP/1.0\r\n" + host + b"Content-Length: 2\r\n\r\nhi")
            answer = await talk.answer()
            assert (answer.status, answer.body, answer.field("connection")) == (200, b"ok", "close")
            assert await talk.is_closed()
        assert server.received[0].body == b"hi"


@pytest.mark.parametrize(
    "first",
    [get(), post(b"hello"), CHUNKED.replace(b"POST /", b"POST /m/fraud") + b"5\r\nhello\r\n0\r\n\r\n"],
)
@pytest.mark.parametrize(
    "second", [b"GET / HTTP/1.1\r\nHost: a\nb\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"hello", b"\r\n\r\nGET  /", b"\x00"]
)
async def test_a_request_is_not_believed_when_what_came_behind_it_is_none(first: bytes, second: bytes) -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port:
            async with talking(port) as talk:
                # The head may be known or not; it makes no difference.
                assert (await talk.ask(first)).status == 200
            async with talking(port) as talk:
                assert (await talk.ask(first + second)).status == 400
                assert await talk.is_closed()
        assert len(server.received) == 1


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (b"\r\n\r\n" + get("/m/fraud/2"), 200),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
        (get("/" + "x" * 9_000), 414),
    ],
)
async def test_a_request_is_served_when_what_came_behind_it_is_one_if_only_to_be_refused(
    second: bytes, status: int
) -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(get() + second)
            assert (await talk.answer()).status == 200
            assert (await talk.answer()).status == status


@pytest.mark.parametrize("cut", range(1, 40, 3))
async def test_the_beginning_of_a_request_may_come_behind_another_one(cut: int) -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(get() + get()[:cut])).status == 200
            assert (await talk.ask(get()[cut:])).status == 200


async def test_a_chunked_body_that_breaks_off_midway_is_refused_and_cut_upstream() -> None:
    cut = False

    async def script(conversation: Conversation) -> None:
        nonlocal cut
        await conversation.head()
        await conversation.gone()
        cut = True

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(b"POST /m/fraud HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            await eventually(lambda: server.open)
            await talk.send(b"zz\r\n")
            assert (await talk.answer()).status == 400
            await server.quiet()
        assert cut


async def test_a_chunked_body_that_breaks_off_under_an_answer_cuts_both() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await conversation.gone()

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(b"POST /m/fraud HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            await talk.head()
            await talk.send(b"zz\r\n")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await talk.reader.readexactly(100)
            await server.quiet()


async def test_requests_alike_share_what_was_read_of_their_heads_and_nothing_else() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as one, talking(port) as two:
            for body in (b"1", b"2", b"3"):
                assert (await one.ask(post(body))).status == 200
                assert (await two.ask(post(body))).status == 200
            await one.send(post(b"4")[:-1])
            assert (await two.ask(post(b"5"))).status == 200
            assert (await one.ask(b"4")).status == 200
        assert sorted(received.body for received in server.received) == [b"1", b"1", b"2", b"2", b"3", b"3", b"4", b"5"]
        assert len({received.field("x-request-id") for received in server.received}) == 8
        assert len(gateway.port.heads.known) == 1


async def test_heads_that_come_twice_are_remembered_within_bounds_and_others_are_not() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for number in range(600):
                assert (await talk.ask(get("/m/fraud", f"x-trace: {number}"))).status == 200
            assert not gateway.port.heads.known
            for number in range(1_200):
                assert (await talk.ask(get("/m/fraud", f"x-trace: {number // 2}"))).status == 200
                assert len(gateway.port.heads.known) <= 512
            for _ in range(3):
                await talk.ask(get("/m/fraud", "x-long: " + "y" * 2_000))
        assert max(map(len, gateway.port.heads.known)) <= 1024
