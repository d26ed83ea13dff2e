"""A TCP wire between clients and Postgres that a test can break in the ways networks and servers break.

Rule: what is held is delivered when the wire passes again; what was swallowed never is, and its link stays dead.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum

from sqlalchemy import make_url

_RESET = struct.pack("ii", 1, 0)


class Wire(Enum):
    """How the wire behaves now."""

    PASSES = "passes"
    REFUSES = "refuses"  # nobody listens, and what was open is closed
    RESETS = "resets"  # every connection ends with a reset
    HANGS = "hangs"  # taken, and answered only when it passes again
    SWALLOWS = "swallows"  # a black hole: taken, and never answered


class FaultWire:
    """Relays a local TCP port to Postgres' Unix socket or TCP address.

    Attributes:
        most_open: How many connections there were at once, at the most.
    """

    def __init__(self, url: str) -> None:
        """Args: url: of the real server."""
        self._url = make_url(url)
        self._armed: tuple[bytes, Wire] | None = None
        self._hit = asyncio.Event()
        self._mode = Wire.PASSES
        self._passes = asyncio.Event()
        self._passes.set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._links: dict[asyncio.Task[None], socket.socket] = {}
        self.most_open = 0

    @property
    def url(self) -> str:
        """Where clients find it."""
        query = {name: value for name, value in self._url.query.items() if name not in {"host", "port"}}
        address = self._url.set(host="127.0.0.1", port=self._port, query=query)
        return address.render_as_string(hide_password=False)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._links)

    def breaks_at(self, marker: bytes, mode: Wire) -> asyncio.Event:
        """Break as soon as a client says this; what it says meets the fault already. Set when it happened."""
        self._armed = (marker, mode)
        self._hit = asyncio.Event()
        return self._hit

    def breaks(self, mode: Wire) -> None:
        """Behave so from now on, towards connections that are open too."""
        self._mode = mode
        self._passes.clear()
        if mode is Wire.REFUSES and self._server is not None:
            self._server.close()
            self._server = None
        if mode in {Wire.REFUSES, Wire.RESETS}:
            self._cut_all(reset=mode is Wire.RESETS)

    async def passes(self) -> None:
        """Behave from now on."""
        self._armed = None
        self._mode = Wire.PASSES
        await self._listen()
        self._passes.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["FaultWire"]:
        await self._listen()
        try:
            yield self
        finally:
            if self._server is not None:
                self._server.close()
            self._cut_all(reset=False)
            await asyncio.gather(*self._links, return_exceptions=True)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    def _cut_all(self, *, reset: bool) -> None:
        for task, raw in self._links.items():
            if reset:
                with suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._links[task] = raw
        self.most_open = max(self.most_open, len(self._links))
        upstream: asyncio.StreamWriter | None = None
        try:
            if self._mode is Wire.RESETS:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return
            up_reader, upstream = await self._connect()
            await self._relay_both(reader, writer, up_reader, upstream)
        except (asyncio.CancelledError, OSError):
            pass  # the test cut it, or one side went away
        finally:
            self._links.pop(task, None)
            for each in (writer, upstream):
                if each is not None:
                    # Whatever was still to be written belongs to nobody any more.
                    each.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = str(self._url.query.get("host") or self._url.host or "127.0.0.1")
        port = self._url.port or 5432
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _relay_both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> None:
        link = _Link()
        ways = {
            asyncio.create_task(self._relay(reader, upstream, link, self._trip)),
            asyncio.create_task(self._relay(up_reader, writer, link, lambda _: None)),
        }
        try:
            # Whoever ends first, the client or the server, ends both.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def _trip(self, data: bytes) -> None:
        if self._armed is not None and self._armed[0] in data:
            _, mode = self._armed
            self._armed = None
            self.breaks(mode)
            self._hit.set()

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        link: "_Link",
        seen: Callable[[bytes], None],
    ) -> None:
        while data := await reader.read(65_536):
            seen(data)
            if self._mode is Wire.SWALLOWS:
                link.dead = True
            if link.dead:
                continue
            # It may have become a black hole while it hung.
            await self._passes.wait()
            writer.write(data)
            await writer.drain()


class _Link:
    """One client's connection; dead once something of it was swallowed."""

    dead = False
