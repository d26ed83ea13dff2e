"""The load of event streams: how many events came and how soon the first one did.

Runs in a process of its own: `python -m bench.streams PORT STREAMS WAVES` prints one JSON object. A wave
opens all its streams within one interval of their events, each on a connection that is kept for the next.
Rule: a stream that lacks an event, has one too many or does not end is a failure.
"""

import argparse
import json
import selectors
import socket
from collections import deque
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter

import httptools

from bench.message import EVENT_INTERVAL_S, EVENTS, STREAM, request

# How much later than it should a wave may end.
GRACE_S = 5.0
_EVENT_END = b"\n\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What all waves got.

    Attributes:
        events: Received, `[DONE]` included.
        failed: Streams without a proper end.
        first_p50_ms: Median from a request to its first event; None without any.
    """

    events: int
    failed: int
    first_p50_ms: float | None


class Stream:
    """One connection, one stream at a time."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._whole = request(port, STREAM)
        self._parser = httptools.HttpResponseParser(self)
        self._tail = b""
        self._sent = 0.0
        self.events = 0
        self.first_s: float | None = None
        self.ended = True

    def fileno(self) -> int:
        return self._socket.fileno()

    def start(self) -> None:
        self.events = 0
        self.first_s = None
        self.ended = False
        self._tail = b""
        self._sent = perf_counter()
        self._socket.sendall(self._whole)

    def receive(self) -> None:
        """Read once. Raises: ConnectionError when the server left."""
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        # The end of an event may be cut in two.
        text = self._tail + body
        self.events += text.count(_EVENT_END)
        self._tail = b"" if text.endswith(_EVENT_END) else text[-1:]
        if self.events and self.first_s is None:
            self.first_s = perf_counter() - self._sent

    def on_message_complete(self) -> None:
        self.ended = True

    @property
    def went_well(self) -> bool:
        return self.ended and self.events == EVENTS + 1 and self._parser.get_status_code() == 200

    def close(self) -> None:
        self._socket.close()


class Wave:
    """All streams of one wave, until each ended or time is up."""

    def __init__(self, streams: list[Stream], selector: selectors.BaseSelector) -> None:
        self._selector = selector
        start = perf_counter()
        spacing_s = EVENT_INTERVAL_S / len(streams)
        self._due = deque((start + number * spacing_s, stream) for number, stream in enumerate(streams))
        self._open = len(streams)
        self._deadline = start + EVENT_INTERVAL_S * (EVENTS + 2) + GRACE_S

    def play(self) -> None:
        while self._open and (now := perf_counter()) < self._deadline:
            while self._due and self._due[0][0] <= now:
                self._due.popleft()[1].start()
            until = self._due[0][0] if self._due else self._deadline
            for key, _ in self._selector.select(max(until - now, 0.0)):
                self._receive(key.data)

    def _receive(self, stream: Stream) -> None:
        try:
            stream.receive()
        except (ConnectionError, httptools.HttpParserError):
            self._selector.unregister(stream)
            self._open -= 1
        else:
            self._open -= stream.ended


def play(port: int, streams: int, waves: int) -> Outcome:
    """`waves` times `streams` at once."""
    # SelectSelector, because epoll's timeout is whole milliseconds.
    selector = selectors.SelectSelector()
    opened = [Stream(port) for _ in range(streams)]
    for stream in opened:
        selector.register(stream, selectors.EVENT_READ, stream)
    events = failed = 0
    firsts_s: list[float] = []
    for _ in range(waves):
        Wave(opened, selector).play()
        events += sum(stream.events for stream in opened)
        failed += sum(not stream.went_well for stream in opened)
        firsts_s += [stream.first_s for stream in opened if stream.first_s is not None]
        if failed:
            break
    for stream in opened:
        stream.close()
    selector.close()
    return Outcome(events, failed, median(firsts_s) * 1e3 if firsts_s else None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.streams")
    for name in ("port", "streams", "waves"):
        parser.add_argument(name, type=int)
    asked = parser.parse_args()
    print(json.dumps(asdict(play(asked.port, asked.streams, asked.waves))))


if __name__ == "__main__":
    main()
