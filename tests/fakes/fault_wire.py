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
    """Relays a local TCP port to Postgres' Unix socket or TCP address."""

    def __init__(self, url: str, *, on_request: Callable[[bytes], None] = lambda _: None) -> None:
        """Args: url: of the real server; on_request: sees what clients send before the wire decides about it."""
        self._url = make_url(url)
        self._on_request = on_request
        self._mode = Wire.PASSES
        self._passes = asyncio.Event()
        self._passes.set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._links: dict[asyncio.Task[None], socket.socket] = {}

    @property
    def url(self) -> str:
        """Where clients find it."""
        query = {name: value for name, value in self._url.query.items() if name not in {"host", "port"}}
        address = self._url.set(host="127.0.0.1", port=self._port, query=query)
        return address.render_as_string(hide_password=False)

    @property
    def mode(self) -> Wire:
        return self._mode

    async def become(self, mode: Wire) -> None:
        """Behave so from now on, towards connections that are open too."""
        self._mode = mode
        if mode is Wire.PASSES:
            await self._listen()
            self._passes.set()
            return
        self._passes.clear()
        if mode is Wire.REFUSES and self._server is not None:
            self._server.close()
            self._server = None
        if mode in {Wire.REFUSES, Wire.RESETS}:
            self._cut_all(reset=mode is Wire.RESETS)

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
        task, raw = asyncio.current_task(), writer.get_extra_info("socket")
        assert task is not None
        self._links[task] = raw
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
                    each.transport.abort() if each is writer else each.close()

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
            asyncio.create_task(self._relay(reader, upstream, link, self._on_request)),
            asyncio.create_task(self._relay(up_reader, writer, link, lambda _: None)),
        }
        try:
            # Whoever ends first, the client or the server, ends both.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

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
