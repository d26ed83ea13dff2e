"""What an upstream's answer may bring to a client, and to the answer after it."""

import asyncio

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, talking


async def test_an_upstream_speaks_neither_for_the_gateway_nor_past_it() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nX-Turnback-Version: v9\r\nx-turnback-receipt: forged\r\nX-Request-Id: theirs\r\n"
        b"Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nTrailer: x-sum\r\n"
        b"X-Turnback-Receipt: 1:forged\r\n"
        b"X-Kept: 1\r\nX-Kept: 2\r\nTransfer-Encoding: chunked\r\n\r\n2;e=1\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    async with upstream(answer) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(2):
                got = await talk.ask(get("/m/fraud", "x-request-id: mine"))
                assert (got.status, got.body) == (200, b"ok")
                own = {"x-turnback-version": "v1", "x-request-id": "mine", "transfer-encoding": "chunked"}
                assert {name: got.field(name) for name in own} == own
                kept = [("x-kept", "1"), ("x-kept", "2")]
                assert str(got.field("x-turnback-receipt")).count(":") == 8
                assert [each for each in got.fields if each[0] not in {*own, "x-turnback-receipt"}] == kept
        assert server.connections == 1


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_chunks_behind_an_answer_without_content_never_meet_the_next_answer(status: str) -> None:
    async def script(conversation: Conversation) -> None:
        request = await conversation.request()
        if b"/clean" in request.line:
            await conversation.send(ok(b"clean"))
            return
        await conversation.send(f"HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        await asyncio.sleep(0.02)
        await conversation.send(b"6\r\nPOISON\r\n0\r\n\r\n")
        await conversation.gone()

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(3):
                got = await talk.ask(get("/m/fraud/empty"))
                assert (got.status, got.body, got.field("transfer-encoding")) == (int(status[:3]), b"", None)
                assert (await talk.ask(get("/m/fraud/clean"))).body == b"clean"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + ok(),
        b"HTTP/1.1 199 Odd\r\n\r\nnot a head\r\n\r\n" + ok(),
    ],
)
async def test_an_answer_that_two_readers_could_take_for_two_is_a_502(answer: bytes) -> None:
    async def script(conversation: Conversation) -> None:
        request = await conversation.request()
        await conversation.send(ok(b"clean") if b"/clean" in request.line else answer)

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(get("/m/fraud/odd"))).status == 502
            assert (await talk.ask(get("/m/fraud/clean"))).body == b"clean"
