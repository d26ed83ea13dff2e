"""Upstreams that reset, flood or bomb: the client sees an abort or a 502, and nothing piles up."""

import asyncio
import gzip
import resource
import socket
import struct

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking

from app.domain.catalog.models import Timeouts
from app.domain.evidence.tally import Outcome

MIB = 1024 * 1024


def reset(conversation: Conversation) -> None:
    raw = conversation.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conversation.writer.transport.abort()


@pytest.mark.parametrize(
    ("head", "part"),
    [
        ("content-length: 100", b"short"),
        ("transfer-encoding: chunked", b"5\r\nhello\r\n"),
        ("transfer-encoding: chunked", b"5\r\nhello\r\n0\r\n"),
        ("content-type: text/plain", b"until the end"),
    ],
)
async def test_a_reset_in_the_middle_of_a_body_reaches_the_client_as_an_abort(head: str, part: bytes) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + part)
        await asyncio.sleep(0.05)
        reset(conversation)

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await talk.ask(post())
        assert outcomes(gateway) == {"v1": {Outcome.UPSTREAM_ERROR: 1}}


@pytest.mark.parametrize("begun", [False, True])
async def test_a_reset_before_a_whole_head_is_a_502(begun: bool) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        if begun:
            await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-le")
            await asyncio.sleep(0.05)
        reset(conversation)

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(post())
            assert (answer.status, answer.problem()["fault"]) == (502, "upstream")
        assert server.connections == 1
        assert outcomes(gateway) == {"v1": {Outcome.UPSTREAM_ERROR: 1}}


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early\r\nX: " + b"y" * 1_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000,
        b"X: y\r\n",
    ],
)
async def test_a_flood_in_place_of_a_head_is_a_502_long_before_it_fills_memory(flood: bytes) -> None:
    sent = 0

    async def script(conversation: Conversation) -> None:
        nonlocal sent
        await conversation.request()
        first = b"" if flood.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n"
        await conversation.send(first)
        while sent < 64 * MIB:
            await conversation.send(flood * 100)
            sent += len(flood) * 100

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            answer = await talk.ask(post())
            assert (answer.status, answer.problem()["type"].rpartition(":")[2]) == (502, "UpstreamMalformed")
            await server.quiet()
        assert sent < 8 * MIB
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 16 * 1024


async def test_a_compressed_bomb_crosses_both_ways_unopened() -> None:
    bomb = gzip.compress(bytes(64 * MIB))
    assert len(bomb) < MIB

    async def script(conversation: Conversation) -> None:
        request = await conversation.request()
        assert request.field("content-encoding") == b"gzip"
        await conversation.send(ok(request.body, b"content-encoding: gzip"))

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            answer = await talk.ask(post(bomb, "/m/fraud", "content-encoding: gzip"))
            assert (answer.body, answer.field("content-encoding")) == (bomb, "gzip")
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 16 * 1024


async def test_a_silent_upstream_leaves_the_others_to_be_served() -> None:
    async def silent(conversation: Conversation) -> None:
        await conversation.gone()

    timeouts = Timeouts(first_byte_s=0.5)
    async with upstream(script=silent) as hung, upstream() as well:
        models = (
            routed({"v1": hung.url}, name="hung", timeouts=timeouts),
            routed({"v1": well.url}, name="well"),
        )
        gateway = gateway_with(table_of(*models))
        async with serving(gateway) as port, talking(port) as waiting, talking(port) as talk:
            await waiting.send(get("/m/hung"))
            for _ in range(20):
                assert (await talk.ask(get("/m/well"))).status == 200
            assert (await waiting.answer()).status == 504
