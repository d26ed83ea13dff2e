"""Clients that leave in the middle of a stream: the upstream is let go at once, without waiting for a timer."""

import asyncio
import logging
import socket
import struct
import time

import pytest
from fakes.upstream_server import Conversation, Script, upstream
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get

from app.domain.evidence.tally import Outcome
from app.proxy import Limits

LOG = logging.getLogger(__name__)
CLIENTS = 20
# No sweep comes to help within a test's patience.
ONLY_AT_ONCE = Limits(sweep_s=300.0)


async def streaming(conversation: Conversation) -> None:
    """A token every few milliseconds, for ever."""
    await conversation.request()
    await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await conversation.send(b"d\r\ndata: token\n\n\r\n")
        await asyncio.sleep(0.005)


async def silent_after_its_head(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    await conversation.gone()


@pytest.mark.parametrize("script", [streaming, silent_after_its_head])
@pytest.mark.parametrize("resets", [False, True])
async def test_twenty_clients_that_leave_in_mid_stream_free_twenty_upstream_connections_at_once(
    script: Script, resets: bool
) -> None:
    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=ONLY_AT_ONCE)
        async with serving(gateway) as port:
            clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CLIENTS)]
            for reader, writer in clients:
                writer.write(get())
                await reader.readuntil(b"\r\n\r\n")
            assert server.open == CLIENTS
            left = time.perf_counter()
            for _, writer in clients:
                leave(writer, resets=resets)
            await eventually(lambda: not server.open)
            LOG.info("twenty upstream connections gone after %.4f s", time.perf_counter() - left)
            await asyncio.gather(*(writer.wait_closed() for _, writer in clients), return_exceptions=True)
        assert outcomes(gateway) == {"v1": {Outcome.CANCELLED: CLIENTS}}
        (version,) = gateway.recorder.since_start().versions
        assert version.in_flight == 0


def leave(writer: asyncio.StreamWriter, *, resets: bool) -> None:
    if resets:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
