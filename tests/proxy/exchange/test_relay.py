"""Bodies in every framing, both ways, as they come and as fast as the slower side."""

import asyncio
import resource

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking

from app.domain.catalog.models import Timeouts
from app.domain.evidence.tally import Outcome


def reply(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (reply("content-length: 5", body=b"hello"), b"hello"),
        (reply("content-length: 0"), b""),
        (reply("transfer-encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"), b"hello"),
        (reply("transfer-encoding: chunked", body=b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n"), b"hello"),
        (reply("transfer-encoding: chunked", body=b"0\r\n\r\n"), b""),
        (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + reply("content-length: 5", body=b"hello"), b"hello"),
        (b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n" * 3 + reply("content-length: 5", body=b"hello"), b"hello"),
    ],
)
@pytest.mark.parametrize("step", [0, 1, 7])
async def test_every_framing_reaches_the_client_however_it_is_cut(raw: bytes, body: bytes, step: int) -> None:
    async def script(conversation: Conversation) -> None:
        for _ in range(2):
            await conversation.request()
            for start in range(0, len(raw), step or len(raw)):
                await conversation.send(raw[start : start + (step or len(raw))])
                await asyncio.sleep(0)

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(2):
                answer = await talk.ask(post())
                assert (answer.status, answer.body) == (200, body)
                assert answer.field("link") is None
        assert server.connections == (2 if raw.startswith(b"HTTP/1.0") else 1)
        assert outcomes(gateway) == {"v1": {Outcome.OK: 2}}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_body_that_ends_with_the_connection_is_relayed(version: str) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(reply("content-type: text/plain", body=b"he"))
        await asyncio.sleep(0.02)
        await conversation.send(b"llo")

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(f"GET /m/fraud HTTP/{version}\r\nHost: a\r\n\r\n".encode())
            assert answer.body == b"hello"
            assert answer.field("transfer-encoding") == ("chunked" if version == "1.1" else None)
        assert outcomes(gateway) == {"v1": {Outcome.OK: 1}}


async def test_http_1_0_gets_chunks_decoded() -> None:
    async with upstream(reply("transfer-encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n")) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(b"GET /m/fraud HTTP/1.0\r\n\r\n")
            assert (answer.body, answer.field("connection")) == (b"hello", "close")


@pytest.mark.parametrize("head", [reply("content-length: 10"), reply("transfer-encoding: chunked"), reply()])
async def test_an_answer_to_head_has_no_body_and_keeps_both_connections(head: bytes) -> None:
    async with upstream(head) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(3):
                answer = await talk.ask(get(method="HEAD"), to_head=True)
                assert answer.field("content-length") == ("10" if b"10" in head else None)
                assert answer.field("transfer-encoding") is None
        assert server.connections == 1


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", None),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n", "10"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", None),
    ],
)
async def test_an_answer_without_content_keeps_both_connections(head: bytes, length: str | None) -> None:
    async with upstream(head) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(3):
                answer = await talk.ask(get())
                assert answer.status == int(head[9:12])
                assert answer.field("content-length") == length
        assert server.connections == 1


async def test_a_stream_is_relayed_as_it_comes() -> None:
    more = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(reply("content-type: text/event-stream", "transfer-encoding: chunked"))
        for number in range(3):
            await conversation.send(b"9\r\ndata: %d\n\n\r\n" % number)
            await more.wait()
            more.clear()
        await conversation.send(b"0\r\n\r\n")

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(post())
            await talk.head()
            for number in range(3):
                assert await talk.chunk() == b"data: %d\n\n" % number
                assert outcomes(gateway) == {"v1": {}}
                more.set()
            assert await talk.chunk() == b""
        assert outcomes(gateway) == {"v1": {Outcome.OK: 1}}


async def test_a_slow_reader_holds_back_a_large_response_instead_of_memory() -> None:
    size = 48 * 1024 * 1024
    sent = 0

    async def script(conversation: Conversation) -> None:
        nonlocal sent
        await conversation.request()
        await conversation.send(reply(f"content-length: {size}"))
        piece = bytes(64 * 1024)
        while sent < size:
            await conversation.send(piece)
            sent += len(piece)

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(get())
            await talk.head()
            before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            seen = -1
            while seen != sent:  # everything between the two ends is full when nothing moves any more
                seen = sent
                await asyncio.sleep(0.1)
            assert sent < size / 2
            got = 0
            while got < size:
                got += len(await talk.reader.read(1 << 20))
            assert got == size
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 24 * 1024
            assert (await talk.is_closed()) if talk.reader.at_eof() else True
        assert outcomes(gateway) == {"v1": {Outcome.OK: 1}}


async def test_a_slow_upstream_holds_back_a_large_upload_instead_of_memory() -> None:
    size = 32 * 1024 * 1024
    go = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await go.wait()
        await conversation.reader.readexactly(size)
        await conversation.send(ok())

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            sent = 0

            async def upload() -> None:
                nonlocal sent
                await talk.send(get("/m/fraud", f"content-length: {size}", method="POST"))
                piece = bytes(64 * 1024)
                while sent < size:
                    await talk.send(piece)
                    sent += len(piece)

            uploading = asyncio.create_task(upload())
            seen = -1
            while seen != sent or not sent:
                seen = sent
                await asyncio.sleep(0.1)
            assert sent < size / 2
            go.set()
            await uploading
            assert (await talk.answer()).status == 200


@pytest.mark.parametrize("step", [1, 3, 1_000])
async def test_a_chunked_upload_arrives_whole_however_it_is_cut(step: int) -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            raw = get("/m/fraud", "Transfer-Encoding: Chunked", method="POST")
            raw += b"5;ext\r\nhello\r\n0001\r\n \r\nA\r\nbig world!\r\n0\r\nX-Trailer: dropped\r\n\r\n"
            for start in range(0, len(raw), step):
                await talk.send(raw[start : start + step])
                await asyncio.sleep(0)
            assert (await talk.answer()).status == 200
            assert (await talk.ask(get())).status == 200
        received = server.received[0]
        assert received.body == b"hello big world!"
        assert received.field("transfer-encoding") == b"chunked"
        assert received.field("content-length") is None


async def test_an_offer_of_h2c_is_not_taken_up_and_its_body_still_crosses() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(2):
                raw = post(b"hello", "/m/fraud", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")
                await talk.send(raw[:-3])
                await eventually(lambda: server.open)
                await talk.send(raw[-3:])
                assert (await talk.answer()).status == 200
        assert [received.body for received in server.received] == [b"hello", b"hello"]
        assert server.received[0].field("upgrade") is None


async def test_expect_100_continue_is_answered_here_and_not_forwarded() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(get("/m/fraud", "Expect: 100-continue", "content-length: 3", method="POST"))
            assert (await talk.head()) == (100, [])
            await talk.send(b"abc")
            assert (await talk.answer()).status == 200
        assert server.received[0].body == b"abc"
        assert server.received[0].field("expect") is None


async def test_an_upload_without_a_length_says_so_upstream() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.ask(get(method="POST"))
            await talk.ask(get())
        assert [received.field("content-length") for received in server.received] == [b"0", None]


async def test_large_bodies_cross_both_ways_unchanged() -> None:
    body = bytes(range(256)) * 4096

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.send(ok((await conversation.request()).body))

    async with upstream(script=script) as server:
        timeouts = Timeouts(first_byte_s=5.0)
        gateway = gateway_with(table_of(routed({"v1": server.url}, timeouts=timeouts)))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(3):
                writing = asyncio.create_task(talk.send(post(body)))
                assert (await talk.answer()).body == body
                await writing
        await eventually(lambda: outcomes(gateway) == {"v1": {Outcome.OK: 3}})
