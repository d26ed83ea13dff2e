"""Hostile clients in a process of their own: each attacks until it is cut, or goes when the input ends."""

import asyncio
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import orjson
import uvloop

PAUSE_S = 0.2
POST = b"POST /m/fraud/swallow HTTP/1.1\r\nHost: a\r\n"


async def slow_head(writer: asyncio.StreamWriter) -> None:
    """Slowloris: a head that comes byte by byte and never ends."""
    for byte in POST + b"X-Slow: " + b"x" * 10_000:
        await _send(writer, bytes([byte]))
        await asyncio.sleep(PAUSE_S)


async def slow_body(writer: asyncio.StreamWriter) -> None:
    """R-U-Dead-Yet: a declared body, sent byte by byte."""
    await _send(writer, POST + b"Content-Length: 100000\r\n\r\n")
    while True:
        await _send(writer, b"x")
        await asyncio.sleep(PAUSE_S)


async def slow_read(writer: asyncio.StreamWriter) -> None:
    """Asks for an endless answer and reads none of it."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
    await _send(writer, b"GET /m/fraud/endless HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.sleep(60)


async def endless_chunks(writer: asyncio.StreamWriter) -> None:
    """A chunked body without an end, as fast as it is taken."""
    await _send(writer, POST + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"4000\r\n" + bytes(0x4000) + b"\r\n"
    while True:
        await _send(writer, chunk)
        await asyncio.sleep(0.01)


async def many_fields(writer: asyncio.StreamWriter) -> None:
    """A head of 10,000 fields."""
    await _send(writer, POST + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n")
    await asyncio.sleep(60)


async def large_head(writer: asyncio.StreamWriter) -> None:
    """A head of 1 MiB."""
    await _send(writer, POST + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n")
    await asyncio.sleep(60)


async def idle(writer: asyncio.StreamWriter) -> None:
    """Connects and says nothing."""
    await asyncio.sleep(60)


ATTACKS: dict[str, Callable[[asyncio.StreamWriter], Awaitable[None]]] = {
    attack.__name__: attack
    for attack in (slow_head, slow_body, slow_read, endless_chunks, many_fields, large_head, idle)
}


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


class Crowd:
    """Attackers at once, and what each of them got."""

    def __init__(self, port: int, names: list[str], size: int) -> None:
        self._port = port
        self._names = [names[number % len(names)] for number in range(size)]
        self._connected = 0
        # More at once overflow the listener's queue, and then the kernel waits for seconds.
        self._connecting = asyncio.Semaphore(50)
        self._ended: Counter[str] = Counter()
        self._slowest_s = 0.0

    async def attack(self) -> None:
        """Until the gateway has ended every connection."""
        await asyncio.gather(*(self._attack(name) for name in self._names))
        say(ended=dict(self._ended), slowest_s=self._slowest_s)

    async def _attack(self, name: str) -> None:
        async with self._connecting:
            reader, writer = await _connect(self._port)
        started = time.monotonic()
        self._connected += 1
        if self._connected == len(self._names):
            say(connected=self._connected)
        attacking = asyncio.ensure_future(ATTACKS[name](writer))
        reading = asyncio.ensure_future(_first_line(reader))
        try:
            # One who is cut while it sends may still read why.
            await asyncio.wait((attacking, reading), return_when=asyncio.FIRST_COMPLETED)
            self._ended[f"{name} {await reading}"] += 1
            self._slowest_s = max(self._slowest_s, time.monotonic() - started)
        finally:
            attacking.cancel()
            await asyncio.gather(attacking, return_exceptions=True)
            writer.transport.abort()


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection with little room for answers, so that it is the gateway that has to hold them, or not."""
    raw = socket.socket()
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=raw)


async def _first_line(reader: asyncio.StreamReader) -> str:
    """The status of the answer, "cut" without one; returns when the connection has ended."""
    got = b""
    with suppress(ConnectionError):
        while piece := await reader.read(65_536):
            got = (got + piece)[:64]
    return got.split(b" ")[1].decode() if got else "cut"


def say(**facts: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(facts) + b"\n")
    sys.stdout.buffer.flush()


async def until_told_to_go(crowd: Crowd) -> None:
    asked = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    attacking = asyncio.ensure_future(crowd.attack())
    await asked.read()
    attacking.cancel()
    await asyncio.gather(attacking, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(until_told_to_go(Crowd(int(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3]))))
