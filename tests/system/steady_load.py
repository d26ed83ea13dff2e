"""A small raw HTTP client that keeps a steady rate and remembers every answer."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

BODY = b'{"inputs":[]}'


@dataclass
class Answers:
    """What the client saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    by_version: Counter[tuple[str, int]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    first_at: float = 0.0
    last_at: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.statuses.values())

    @property
    def failed(self) -> int:
        return self.total - self.statuses[200] + len(self.broken)

    @property
    def per_s(self) -> float:
        return self.total / max(self.last_at - self.first_at, 1e-9)


class Load:
    """Sends to one or more gateways, by turns, until stopped.

    Args:
        ports: Inference ports on loopback.
        rate: Requests a second over all connections; a late one is sent at once, none is skipped.
    """

    def __init__(self, ports: list[int], model: str, *, rate: float, connections: int = 16) -> None:
        self.answers = Answers()
        self._model = model
        self._ports = ports
        self._interval = connections / rate
        self._connections = connections
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.answers.first_at = time.monotonic()
        self._tasks = [asyncio.create_task(self._send_steadily(number)) for number in range(self._connections)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        self.answers.last_at = time.monotonic()

    async def _send_steadily(self, number: int) -> None:
        due = time.monotonic() + self._interval * number / self._connections
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._stopping.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += self._interval
            try:
                streams = streams or await self._connected(number)
                if not await self._exchange(*streams):
                    streams[1].close()
                    streams = None
            except (OSError, asyncio.IncompleteReadError, ValueError, IndexError) as broken:
                self.answers.broken.append(repr(broken))
                if streams is not None:
                    streams[1].close()
                streams = None
        if streams is not None:
            streams[1].close()

    async def _connected(self, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the first gateway by turn that takes one, as a balancer makes it."""
        turn = number % len(self._ports)
        *others, last = self._ports[turn:] + self._ports[:turn]
        for port in others:
            with suppress(ConnectionRefusedError):
                return await asyncio.open_connection("127.0.0.1", port)
        return await asyncio.open_connection("127.0.0.1", last)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection can go on."""
        answer = await request(reader, writer, self._model)
        self.answers.statuses[answer.status] += 1
        self.answers.versions[answer.version] += 1
        self.answers.by_version[answer.version, answer.status] += 1
        return answer.keeps_alive


@dataclass(frozen=True)
class Answer:
    """What one answer said."""

    status: int
    version: str
    keeps_alive: bool


async def request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, model: str) -> Answer:
    """Send one inference request and read its whole answer."""
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: gateway\r\ncontent-length: {len(BODY)}\r\n\r\n"
    writer.write(head.encode() + BODY)
    status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    await reader.readexactly(int(fields["content-length"]))
    version = fields.get("x-turnback-version", "")
    return Answer(int(status_line.split(" ")[1]), version, fields.get("connection", "") != "close")
