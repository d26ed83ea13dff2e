"""Clients that leave, stall or will not end: cut in time and never held against a version."""

import asyncio

import pytest
from fakes.upstream_server import Conversation, upstream
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking

from app.domain.evidence.tally import Outcome
from app.proxy import Limits

QUICK = Limits(sweep_s=0.02, head_s=0.1, keep_alive_s=0.1, client_idle_s=0.1, linger_s=0.1)


async def silent(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.gone()


async def streaming(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await conversation.gone()


@pytest.mark.parametrize("begun", [True, False])
async def test_a_client_that_leaves_cancels_the_upstream_and_is_not_held_against_the_version(begun: bool) -> None:
    async with upstream(script=streaming if begun else silent) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port:
            for _ in range(3):
                async with talking(port) as talk:
                    await talk.send(post())
                    if begun:
                        await talk.head()
                    else:
                        await eventually(lambda: server.open)
                await server.quiet()
        assert outcomes(gateway) == {"v1": {Outcome.CANCELLED: 3}}
        (version,) = gateway.recorder.since_start().versions
        assert version.in_flight == 0


async def test_a_client_that_leaves_while_connecting_leaves_nothing_behind() -> None:
    async with upstream(script=silent) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(post())
            await writer.drain()
            writer.transport.abort()
            await eventually(lambda: outcomes(gateway) == {"v1": {Outcome.CANCELLED: 1}})
            await server.quiet()


async def test_a_client_that_leaves_during_its_upload_is_not_held_against_the_version() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port:
            async with talking(port) as talk:
                await talk.send(get("/m/fraud", "content-length: 100", method="POST") + b"half")
                await eventually(lambda: server.open)
            await server.quiet()
        assert outcomes(gateway) == {"v1": {Outcome.CANCELLED: 1}}


async def test_a_head_that_does_not_end_is_a_408() -> None:
    async with serving(gateway_with(table_of(), limits=QUICK)) as port, talking(port) as talk:
        answer = await talk.ask(b"GET /m/fraud HTTP/1.1\r\nHost: a\r\n")
        assert (answer.status, answer.problem()["fault"]) == (408, "client")
        assert await talk.is_closed()


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=QUICK)
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(get())).status == 200
            assert await talk.is_closed()
        async with serving(gateway) as port, talking(port) as talk:
            assert await talk.is_closed()


async def test_blank_lines_do_not_keep_a_connection_alive() -> None:
    async with serving(gateway_with(table_of(), limits=QUICK)) as port, talking(port) as talk:
        while not talk.writer.is_closing():
            talk.writer.write(b"\r\n")
            await asyncio.sleep(0.01)


async def test_a_body_that_stops_coming_is_a_408_and_the_clients_own_doing() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=QUICK)
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(get("/m/fraud", "content-length: 100", method="POST") + b"half")
            assert (answer.status, answer.problem()["fault"]) == (408, "client")
            assert await talk.is_closed()
            await server.quiet()
        assert outcomes(gateway) == {"v1": {Outcome.CANCELLED: 1}}


async def test_a_client_that_does_not_read_is_cut_and_not_held_against_the_version() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        while True:
            await conversation.send(bytes(65_536))

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=QUICK)
        async with serving(gateway) as port, talking(port) as talk:
            talk.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
            await talk.send(get())
            await eventually(lambda: outcomes(gateway) == {"v1": {Outcome.CANCELLED: 1}})
            await server.quiet()


async def test_a_client_that_goes_on_sending_after_a_refusal_is_cut() -> None:
    async with serving(gateway_with(table_of(), limits=QUICK)) as port, talking(port) as talk:
        assert (await talk.ask(b"BAD\r\n\r\n")).status == 400

        async def go_on() -> None:
            while True:
                await talk.send(b"x" * 1000)
                await asyncio.sleep(0.005)

        with pytest.raises(ConnectionError):
            await go_on()
