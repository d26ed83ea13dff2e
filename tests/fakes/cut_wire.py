"""A wire between a client and Postgres that a test can cut around a commit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from pathlib import Path

SOCKET = ".s.PGSQL.5432"


class Cut(Enum):
    """What gets lost with the next commit."""

    NOTHING = "nothing"
    REQUEST = "request"  # Postgres never hears of the commit
    ANSWER = "answer"  # Postgres commits and nobody hears of it


class CutWire:
    """Relays bytes between Unix sockets; cuts once, then behaves."""

    def __init__(self, upstream: Path) -> None:
        self.next_cut = Cut.NOTHING
        self._upstream = upstream
        self._relays: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, folder: Path) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._serve, folder / SOCKET)
        async with server:
            yield
            await asyncio.gather(*self._relays, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        up_reader, up_writer = await asyncio.open_unix_connection(str(self._upstream))
        answers = asyncio.create_task(self._relay_answers(up_reader, writer))
        try:
            await self._relay_requests(reader, up_writer, answers)
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            for each in (writer, up_writer):
                each.close()
                with suppress(OSError):
                    await each.wait_closed()
            self._relays.discard(task)

    async def _relay_requests(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, answers: "asyncio.Task[None]"
    ) -> None:
        while data := await reader.read(65_536):
            cut = self.next_cut if b"COMMIT" in data else Cut.NOTHING
            if cut is not Cut.NOTHING:
                self.next_cut = Cut.NOTHING
            if cut is Cut.REQUEST:
                return
            if cut is Cut.ANSWER:
                answers.cancel()
                upstream.write(data)
                await upstream.drain()
                await asyncio.sleep(0.2)
                return
            upstream.write(data)
            await upstream.drain()

    @staticmethod
    async def _relay_answers(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            client.write(data)
            await client.drain()
        client.close()
