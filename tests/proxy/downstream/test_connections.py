"""One connection, many requests: order, hold-back, reuse and ends."""

import asyncio

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking

from app.domain.evidence.tally import Outcome
from app.proxy import Limits
from app.proxy.downstream.listener import ClientConnection


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def script(conversation: Conversation) -> None:
        while True:
            request = await conversation.request()
            await asyncio.sleep(0.03 if b"slow" in request.line else 0)
            await conversation.send(ok(request.line + request.body))

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            chunked = get("/m/fraud/4", "transfer-encoding: chunked", method="POST") + b"3\r\nxyz\r\n0\r\n\r\n"
            await talk.send(
                get("/m/fraud/1/slow") + post(b"abc", "/m/fraud/2") + get("/nowhere") + chunked + get("/m/fraud/5/slow")
            )
            bodies = [(await talk.answer()).body for _ in range(5)]
        assert bodies[0] == b"GET /1/slow HTTP/1.1"
        assert bodies[1] == b"POST /2 HTTP/1.1abc"
        assert b"UnknownPath" in bodies[2]
        assert bodies[3] == b"POST /4 HTTP/1.1xyz"
        assert bodies[4] == b"GET /5/slow HTTP/1.1"


async def test_many_pipelined_requests_are_all_answered() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            talk.writer.write(get() * 1_500)
            for _ in range(1_500):
                assert (await talk.answer()).status == 200


async def test_requests_that_come_while_one_is_served_wait_their_turn_and_hold_the_client_back() -> None:
    go = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await go.wait()
        await conversation.send(ok(b"slow"))
        while True:
            await conversation.request()
            await conversation.send(ok(b"quick"))

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(get())
            await eventually(lambda: server.open)
            for _ in range(12):
                talk.writer.write(post(bytes(8_000)))
                await asyncio.sleep(0.002)
            (client,) = gateway.port.clients
            assert isinstance(client, ClientConnection)
            await eventually(lambda: client.is_read_paused)
            go.set()
            assert (await talk.answer()).body == b"slow"
            for _ in range(12):
                assert (await talk.answer()).body == b"quick"


async def test_a_client_that_pipelines_without_reading_is_not_served_ahead_of_its_reading() -> None:
    async with upstream(ok(bytes(200_000))) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            talk.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
            talk.writer.write(get() * 300)
            served = -1
            while served != len(server.received):
                served = len(server.received)
                await asyncio.sleep(0.1)
            assert served < 150
            talk.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
            for _ in range(300):
                assert len((await talk.answer()).body) == 200_000


async def test_an_upstream_that_closes_after_each_answer_is_connected_to_each_time() -> None:
    async with upstream(ok(b"ok", b"Connection: Close")) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(3):
                assert (await talk.ask(get())).field("connection") is None
        assert server.connections == 3


async def test_idle_upstream_connections_are_closed_after_a_while() -> None:
    async with upstream(ok(b"ok", b"Connection: keep-alive")) as server:
        limits = Limits(sweep_s=0.02, pool_idle_s=0.05)
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=limits)
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(get())).status == 200
            await server.quiet()
            assert (await talk.ask(get())).status == 200
        assert server.connections == 2


@pytest.mark.parametrize("raw", [get(), post(b"hello world")])
async def test_a_request_may_come_byte_by_byte(raw: bytes) -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(2):
                for byte in raw:
                    await talk.send(bytes([byte]))
                    await asyncio.sleep(0)
                assert (await talk.answer()).status == 200
        assert server.received[0].body == (b"hello world" if raw.endswith(b"d") else b"")


async def test_an_answer_before_the_end_of_the_upload_ends_both_connections() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await conversation.gone()

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(get("/m/fraud", "content-length: 1000000", method="POST") + bytes(1000))
            answer = await talk.answer()
            assert (answer.status, answer.body, answer.field("connection")) == (413, b"big", "close")
            assert await talk.is_closed()
            await server.quiet()
        assert outcomes(gateway) == {"v1": {Outcome.CLIENT_ERROR: 1}}


async def test_a_client_that_asks_for_it_is_closed_after_its_answer() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(get("/m/fraud", "Connection: close"))
            assert answer.field("connection") == "close"
            assert await talk.is_closed()
        assert server.connections == 1
