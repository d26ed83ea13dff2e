"""The model server of the benchmarks: answers 1 KiB, 100 KiB or a stream, and counts, as cheaply as Python can.

Runs in a process of its own: `python -m bench.upstream PORT`. `GET /count` says how many exchanges it
answered, so that a load's own count can be checked; it counts everything else.
"""

import asyncio
import sys
from typing import cast

import uvloop

from bench.message import (
    EVENT_INTERVAL_S,
    EVENTS,
    INFER,
    LARGE,
    STREAM,
    STREAM_END,
    STREAM_HEAD,
    answer,
    event,
)

_ANSWER = answer(INFER)
_ANSWERS = {path.encode(): answer(LARGE) for path in LARGE.paths}
_STREAMS = frozenset(path.encode() for path in STREAM.paths)
_CHUNKS = [event(number) for number in range(EVENTS)] + [event(EVENTS) + STREAM_END]
_POST = b"POST "
_LENGTH = b"\r\ncontent-length:"
_LENGTH_REQUIRED = b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Counter:
    """Exchanges answered by all connections."""

    def __init__(self) -> None:
        self.answered = 0


class UpstreamProtocol(asyncio.Protocol):
    """One connection; understands requests framed by Content-Length only."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._pending = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have this interface without being its subclasses.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._pending:
            data = self._pending + data
        while data:
            end = _message_end(data)
            if end is None:
                self._transport.write(_LENGTH_REQUIRED)
                self._transport.close()
                return
            if not 0 < end <= len(data):
                break
            self._answer(data)
            data = data[end:]
        self._pending = data

    def _answer(self, data: bytes) -> None:
        if data.startswith(b"GET /count "):
            text = str(self._counter.answered)
            self._transport.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            return
        self._counter.answered += 1
        path = data[len(_POST) : data.index(b" ", len(_POST))]
        if path in _STREAMS:
            self._transport.write(STREAM_HEAD)
            loop = asyncio.get_running_loop()
            self._later(loop, 0, loop.time() + EVENT_INTERVAL_S)
        else:
            self._transport.write(_ANSWERS.get(path, _ANSWER))

    def _later(self, loop: asyncio.AbstractEventLoop, number: int, due: float) -> None:
        self._timer = loop.call_at(due, self._send_event, loop, number, due)

    def _send_event(self, loop: asyncio.AbstractEventLoop, number: int, due: float) -> None:
        self._transport.write(_CHUNKS[number])
        if number < EVENTS:
            self._later(loop, number + 1, due + EVENT_INTERVAL_S)


def _message_end(data: bytes) -> int | None:
    """Where the first request in `data` ends; 0 while its head is not complete, None without a length."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return 0
    head = data[:head_end].lower()
    at = head.find(_LENGTH)
    if at < 0:
        return head_end + 4 if head.startswith(b"get ") else None
    line_end = head.find(b"\r\n", at + 2)
    length = head[at + len(_LENGTH) : line_end if line_end > 0 else head_end]
    return head_end + 4 + int(length)


async def serve(port: int) -> None:
    """Serve on loopback until the process ends."""
    counter = Counter()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: UpstreamProtocol(counter), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
