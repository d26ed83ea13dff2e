"""The benchmarks' own load: raw sockets, closed loop for saturation, open loop for latency.

Runs in a process of its own: `python -m bench.client closed|open PORT ...` prints one JSON object.
Rule: in the open loop a latency counts from the moment the exchange was due, not from when it was sent.
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

from bench.message import INFER, MESSAGES, Message, request

OPEN_CONNECTIONS = 32
# How long the open loop waits for the last answers before it calls them failed.
GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of a load did.

    Attributes:
        failed: Answers other than 2xx, connections lost in mid-exchange, exchanges never answered.
        seconds: From the first request to the last answer counted.
        p50_us: Median latency from the due moment; None in the closed loop.
    """

    completed: int
    failed: int
    seconds: float
    p50_us: float | None


class Connection:
    """One keep-alive connection with at most one exchange on it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser = httptools.HttpResponseParser(self)
        self._answered = False
        self.status = 0
        self.due = 0.0

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, due: float, whole: bytes) -> None:
        self.due = due
        self._answered = False
        self._socket.sendall(whole)

    def receive(self) -> bool:
        """Read once; whether the answer is complete. Raises: ConnectionError when the server left."""
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError
        self._parser.feed_data(data)
        return self._answered

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._answered = True

    def close(self) -> None:
        self._socket.close()


class Load:
    """Connections to one server and what came back on them."""

    def __init__(self, port: int, connections: int, message: Message = INFER, *, numbered: bool = False) -> None:
        # SelectSelector, because epoll's timeout is whole milliseconds and the open loop needs less.
        self._selector = selectors.SelectSelector()
        self.idle = [Connection(port) for _ in range(connections)]
        for connection in self.idle:
            self._selector.register(connection, selectors.EVENT_READ, connection)
        self.open = connections
        self._port = port
        self._message = message
        self._numbered = numbered
        self._wholes = [request(port, message, turn=turn) for turn in range(len(message.paths))]
        self._sent = 0
        self.failed = 0
        self.latencies_s: list[float] = []

    def send(self, due: float) -> None:
        self.idle.pop().send(due, self._next())

    def _next(self) -> bytes:
        turn = self._sent
        self._sent += 1
        if self._numbered:
            return request(self._port, self._message, turn=turn, number=turn)
        return self._wholes[turn % len(self._wholes)]

    def collect(self, timeout_s: float) -> int:
        """Wait for answers and return to `idle` the connections that have theirs; how many they are."""
        before = len(self.latencies_s)
        for key, _ in self._selector.select(max(timeout_s, 0.0)):
            connection: Connection = key.data
            try:
                if connection.receive():
                    self._finish(connection)
            except (ConnectionError, httptools.HttpParserError):
                self._lose(connection)
        return len(self.latencies_s) - before

    def _finish(self, connection: Connection) -> None:
        self.latencies_s.append(perf_counter() - connection.due)
        self.failed += not 200 <= connection.status < 300
        self.idle.append(connection)

    def _lose(self, connection: Connection) -> None:
        self.failed += 1
        self.open -= 1
        self._selector.unregister(connection)
        connection.close()

    @property
    def in_flight(self) -> int:
        return self.open - len(self.idle)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            connection: Connection = key.data
            connection.close()
        self._selector.close()


def closed_loop(
    port: int, connections: int, seconds: float, message: Message = INFER, *, numbered: bool = False
) -> Outcome:
    """Every connection sends again as soon as it has its answer; what is in flight at the end is dropped."""
    load = Load(port, connections, message, numbered=numbered)
    start = now = perf_counter()
    while now < start + seconds and load.open:
        while load.idle:
            load.send(now)
        load.collect(start + seconds - now)
        now = perf_counter()
    load.close()
    return Outcome(len(load.latencies_s), load.failed, now - start, None)


def open_loop(port: int, rate: float, seconds: float) -> Outcome:
    """`rate` exchanges a second are due whatever the server does; all are waited for."""
    load = Load(port, OPEN_CONNECTIONS)
    start = now = perf_counter()
    due = deque(start + k / rate for k in range(int(rate * seconds)))
    total, last = len(due), due[-1]
    while (due or load.in_flight) and load.open and now < last + GRACE_S:
        while due and due[0] <= now and load.idle:
            load.send(due.popleft())
        waits_for_answer = not due or not load.idle
        load.collect((last + GRACE_S if waits_for_answer else due[0]) - now)
        now = perf_counter()
    load.close()
    completed = len(load.latencies_s)
    p50_us = median(load.latencies_s) * 1e6 if load.latencies_s else None
    return Outcome(completed, max(load.failed, total - completed), now - start, p50_us)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.client")
    parser.add_argument("loop", choices=["closed", "open"])
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--message", choices=MESSAGES, default=INFER.name)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--numbered", action="store_true", help="an id of its own in every request")
    parser.add_argument("--rate", type=float, default=500.0)
    return parser.parse_args()


def main() -> None:
    asked = _arguments()
    if asked.loop == "closed":
        message = MESSAGES[asked.message]
        outcome = closed_loop(asked.port, asked.connections, asked.seconds, message, numbered=asked.numbered)
    else:
        outcome = open_loop(asked.port, asked.rate, asked.seconds)
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
