"""One gateway on a loop without a network, played many times: client bytes in, both wires out."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from corpora.canonical import Forwarded, Wire
from fakes.upstream_server import ok
from fakes.wireless import WirelessLoop, WirelessTransport
from proxy.serving import configured, routed, table_of
from uvicorn.server import ServerState

from app.domain.catalog.models import Match
from app.proxy import Gateway, Limits

# So many rounds of the loop without a new byte on any wire, and everything has come to rest.
CALM_ROUNDS = 12


def cut(raw: bytes, positions: Iterable[int]) -> list[bytes]:
    """The bytes in pieces, cut at these positions as far as they lie within."""
    at = sorted({position % (len(raw) + 1) for position in positions} | {0, len(raw)})
    return [raw[start:end] for start, end in pairwise(at)]


class ModelServer:
    """The upstream's end of every connection: reads strictly, answers each whole request with its number."""

    def __init__(self, loop: WirelessLoop) -> None:
        self.wires: list[Wire] = []
        self.requests: list[Forwarded] = []
        self._loop = loop

    def accept(self, transport: WirelessTransport) -> None:
        wire = Wire()
        self.wires.append(wire)

        def hear(data: bytes) -> None:
            for request in wire.feed(data):
                self.requests.append(request)
                self._loop.call_soon(transport.deliver, self._answer(request, len(self.requests)))

        transport.on_write = hear

    @staticmethod
    def _answer(request: Forwarded, number: int) -> bytes:
        whole = ok(b"ok", b"x-nth: %d" % number)
        return whole[:-2] if request.method == b"HEAD" else whole

    @property
    def flaws(self) -> list[str]:
        for wire in self.wires:
            wire.end()
        return [flaw for wire in self.wires for flaw in wire.flaws]


@dataclass(frozen=True)
class Outcome:
    """What one client connection led to.

    Attributes:
        wire: What the client received.
        closed: Whether the gateway ended the connection, or its own half of it.
        whole: Requests that reached the upstream whole, in order.
        flaws: What was not canonical on the way there.
    """

    wire: bytes
    closed: bool
    whole: list[Forwarded] = field(default_factory=list)
    flaws: list[str] = field(default_factory=list)


class Rig:
    """Plays client connections against one gateway, which remembers heads from one to the next."""

    def __init__(self, loop: WirelessLoop) -> None:
        self.loop = loop
        self.gateway = new_gateway()
        self._config = configured(self.gateway)
        self._state = ServerState()

    def play(self, pieces: Sequence[bytes], *, calm: bool = False) -> Outcome:
        """One client sends these pieces.

        Args:
            pieces: As they are read from its socket.
            calm: Whether everything comes to rest between two of them.
        """
        return self.loop.run_until_complete(self._play(pieces, calm=calm))

    async def _play(self, pieces: Sequence[bytes], *, calm: bool) -> Outcome:
        server = ModelServer(self.loop)
        self.loop.accept = server.accept
        client = self.take_client()
        for piece in pieces:
            client.deliver(piece)
            if calm:
                await self.rest(client)
        await self.rest(client)
        outcome = Outcome(client.sent, client.closed or client.finished, list(server.requests), server.flaws)
        await self.leave(client)
        return outcome

    def take_client(self) -> WirelessTransport:
        protocol = self.gateway.protocol(self._config, self._state, {}, self.loop)
        return self.loop.take(protocol)

    async def leave(self, *clients: WirelessTransport) -> None:
        """The clients go, and the idle upstream connections with them, so that no play meets the last one's."""
        for client in clients:
            client.lose(None)
            await self.rest(client)
        self.gateway.swap(table_of())
        self.gateway.swap(_TABLE)
        await self.rest(clients[0])
        assert self.loop.errors == [], self.loop.errors
        assert not self.gateway.port.clients

    async def rest(self, client: WirelessTransport) -> None:
        """Until no round of the loop adds a byte for a while."""
        calm, seen = 0, -1
        while calm < CALM_ROUNDS:
            await asyncio.sleep(0)
            calm = calm + 1 if seen == len(client.sent) else 0
            seen = len(client.sent)


_TABLE = table_of(routed({"v1": "http://127.0.0.1:9"}, match=Match(path_prefix="/")))


def new_gateway() -> Gateway:
    """Its clock stands still and it never sweeps, so that no deadline passes however busy the machine is."""
    gateway = Gateway(time.time, coin=lambda: 0.0, monotonic=lambda: 1.0, limits=Limits(sweep_s=1e6))
    gateway.swap(_TABLE)
    return gateway


@contextmanager
def rig() -> Iterator[Rig]:
    loop = WirelessLoop()
    made = Rig(loop)
    try:
        yield made
    finally:
        made.gateway.close()
        loop.close()
