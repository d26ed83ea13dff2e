"""One gateway and one upstream for a whole collection; each case's bytes are its own.

Rule: after each case the upstream connections are closed and read to their end, so every byte
that was forwarded is attributed to the case it came from, however many play at once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from corpora.canonical import Forwarded, Wire
from corpora.cases import Case
from fakes.upstream_server import Conversation, UpstreamServer, ok, upstream
from fakes.waiting import PATIENCE_S, eventually
from proxy.serving import gateway_with, routed, serving, table_of

from app.domain.catalog.models import Match, Timeouts
from app.domain.catalog.routing import RoutingTable
from app.proxy import Gateway, Limits

# The gateway's own deadlines end every connection, so that no test has to guess when an answer is over.
DEADLINES = Limits(sweep_s=0.02, head_s=0.25, keep_alive_s=0.2, client_idle_s=0.25, linger_s=0.1)
AT_ONCE = 16


@dataclass
class Told:
    """What a client got.

    Attributes:
        wire: Everything it received.
        closed: Whether the gateway ended the connection in time.
    """

    wire: bytes = b""
    closed: bool = False


async def tell(port: int, raw: bytes) -> Told:
    """Send these bytes and read until the gateway ends the connection."""
    told = Told()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(raw)
            while piece := await reader.read(65_536):
                told.wire += piece
        told.closed = True
    except ConnectionError:
        told.closed = True
    except TimeoutError:
        pass
    finally:
        writer.close()
    return told


@dataclass
class Recording:
    """An upstream that reads as strictly as one can and answers each request with its number.

    Attributes:
        wires: What came over each connection of the present case.
        requests: The requests that came whole, in that order.
    """

    wires: list[Wire] = field(default_factory=list)
    requests: list[Forwarded] = field(default_factory=list)

    async def serve(self, conversation: Conversation) -> None:
        wire = Wire()
        self.wires.append(wire)
        try:
            while data := await conversation.reader.read(65_536):
                for request in wire.feed(data):
                    await conversation.send(self._answer(request))
        finally:
            wire.end()

    def _answer(self, request: Forwarded) -> bytes:
        self.requests.append(request)
        head = ok(b"ok", b"x-nth: %d" % len(self.requests))
        return head[:-2] if request.method == b"HEAD" else head

    @property
    def begun(self) -> list[Forwarded]:
        """Every request whose head came, complete or not."""
        return [request for wire in self.wires for request in wire.requests]

    @property
    def flaws(self) -> list[str]:
        return [flaw for wire in self.wires for flaw in wire.flaws]

    def clear(self) -> None:
        self.wires.clear()
        self.requests.clear()


@dataclass
class Stand:
    """A gateway that forwards everything to one upstream, whose port alone the gateway knows."""

    gateway: Gateway
    port: int
    upstream: UpstreamServer
    _revision: int = 1

    async def settle(self) -> None:
        """Until nothing of the last case is under way and no upstream connection is kept."""
        await eventually(lambda: not self.gateway.port.clients)
        self._revision += 1
        self.gateway.swap(_everything_to(self.upstream.url, self._revision))
        await self.upstream.quiet()


def _everything_to(url: str, revision: int = 1) -> RoutingTable:
    # A version that differs is another pool, and the one before it lets go of its connections.
    timeouts = Timeouts(connect_s=5.0, first_byte_s=0.4, idle_s=0.4, total_s=PATIENCE_S + revision)
    return table_of(routed({"v1": url}, match=Match(path_prefix="/"), timeouts=timeouts), revision=revision)


@asynccontextmanager
async def standing(script: Callable[[Conversation], Awaitable[None]]) -> AsyncIterator[Stand]:
    async with upstream(script=script) as server:
        gateway = gateway_with(_everything_to(server.url), limits=DEADLINES)
        async with serving(gateway) as port:
            yield Stand(gateway, port, server)


Player = Callable[[Iterable[Case]], Awaitable[None]]


async def play_at_once(cases: Iterable[Case], player: Player) -> None:
    """Several players share the cases, each with a stand of its own; the first error ends them all."""
    waiting = iter(list(cases))
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(_played(player, waiting))


async def _played(player: Player, waiting: Iterable[Case]) -> None:
    await player(waiting)
