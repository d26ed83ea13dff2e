"""A model server over a real socket whose answers a test writes byte by byte."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fakes.waiting import eventually

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: chunked\r\n", re.IGNORECASE)


@dataclass
class Received:
    """One request as it arrived, its chunked body decoded."""

    head: bytes
    body: bytes

    @property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    def field(self, name: str) -> bytes | None:
        """The value of the only field of that name, None without one."""
        start = name.encode() + b": "
        values = [line[len(start) :] for line in self.head.split(b"\r\n")[1:] if line.startswith(start)]
        assert len(values) <= 1
        return values[0] if values else None


@dataclass
class Conversation:
    """One connection to the fake: what a script may read and write."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        return await self.reader.readuntil(_HEAD_END)

    async def request(self) -> Received:
        head = await self.head()
        if _CHUNKED.search(head):
            return Received(head, await self._chunks())
        length = _LENGTH.search(head)
        return Received(head, await self.reader.readexactly(int(length[1])) if length else b"")

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
            if not size:
                return body

    async def send(self, data: bytes) -> None:
        # uvloop has another error for a transport that was reset than for one that is being reset.
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Return when the other side has closed or reset the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


Script = Callable[[Conversation], Awaitable[None]]


def ok(body: bytes = b"ok", *fields: bytes) -> bytes:
    """A plain 200 response."""
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *fields, b"", body])


@dataclass
class UpstreamServer:
    """Serves connections with a script; the default answers every request with `reply`.

    Attributes:
        tls: What it shows and asks for, when it speaks TLS.
        received: Requests the default script has answered, in order.
        connections: How many connections were ever made.
        open: How many are open now.
    """

    reply: bytes = field(default_factory=ok)
    script: Script | None = None
    tls: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port again after a stop."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def quiet(self) -> None:
        """Wait until no connection is open."""
        await eventually(lambda: not self.open)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(Conversation(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step closes nothing itself.
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, conversation: Conversation) -> None:
        self.connections += 1
        self.open += 1
        try:
            await (self.script or self._answer_all)(conversation)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            conversation.writer.close()

    async def _answer_all(self, conversation: Conversation) -> None:
        while True:
            self.received.append(await conversation.request())
            await conversation.send(self.reply)


@asynccontextmanager
async def upstream(
    reply: bytes | None = None, script: Script | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[UpstreamServer]:
    """A running fake model server."""
    server = UpstreamServer(ok() if reply is None else reply, script, tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
