"""The demo's client: replays requests at a fixed rate over raw keep-alive connections and counts every answer.

Rule: open loop. Arrivals follow the schedule, not the answers; only the bound on requests in flight can hold one back.
"""

import asyncio
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import time
from typing import NamedTuple, cast

import httptools
import orjson

from app.demo.flights import chance_in

BEAT_S = 0.004
MAX_CONNECTIONS = 256
GATEWAY = "gateway"
UPSTREAM = "upstream"
TRANSPORT = "transport"
NO_VERSION = ""


class Request(NamedTuple):
    """One request as it goes over the wire, and which of the flights it is about."""

    content: bytes
    flight: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request.

    Attributes:
        status: HTTP status, 0 when no whole answer came.
        version: Which version the gateway says answered, or NO_VERSION.
        server: Which version the model server itself says it is, or NO_VERSION.
        fault: Whose fault an unserved request was, as the gateway's problem says, or "transport".
        flight: Which of the flights it is about, or None.
        request_id: What the gateway calls the exchange, or nothing.
        receipt: The proof that a label must bring back, or nothing.
        chance: Of being late, as the model says; None when it says nothing.
    """

    status: int
    version: str
    server: str
    fault: str | None
    seconds: float
    flight: int | None = None
    request_id: str = ""
    receipt: str = ""
    chance: float | None = None


@dataclass(slots=True)
class Counts:
    """Everything the client saw.

    Attributes:
        answers: Whole answers of any status.
        served: Whole answers by the version the gateway names.
        bad: Answers of 500 and above that are a model server's fault, by version.
        mislabelled: Answers whose model server names another version than the gateway.
        at: When each whole answer came, in Unix seconds, by version and in order.
        seconds: How long each whole answer took, by version and in the same order.
        ids: What the gateway called each whole answer's exchange, by version and in the same order.
    """

    sent: int = 0
    answers: int = 0
    served: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    mislabelled: int = 0
    at: dict[str, "array[float]"] = field(default_factory=dict)
    seconds: dict[str, "array[float]"] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)

    def add(self, answer: Answer, now: float) -> None:
        self.statuses[answer.status] += 1
        if answer.fault is not None:
            self.faults[answer.fault] += 1
        if answer.status == 0:
            return
        self.answers += 1
        if answer.version == NO_VERSION:
            return
        self.served[answer.version] += 1
        self.at.setdefault(answer.version, array("d")).append(now)
        self.seconds.setdefault(answer.version, array("f")).append(answer.seconds)
        self.ids.setdefault(answer.version, []).append(answer.request_id)
        if answer.status >= 500 and answer.fault in {None, UPSTREAM}:
            self.bad[answer.version] += 1
        self.mislabelled += answer.server not in {NO_VERSION, answer.version}

    @property
    def failed_by_gateway(self) -> int:
        """Requests without an answer for which no model server can be blamed: all of them are valid."""
        return self.faults.total() - self.faults[UPSTREAM]


class Connection(asyncio.Protocol):
    """One keep-alive connection; serves one request at a time."""

    def __init__(self, client: "Replay") -> None:
        self._client = client
        self._clock = client.clock
        self._transport: asyncio.Transport | None = None
        self._sent_at: float | None = None
        self._flight: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body = b""

    def send(self, request: Request) -> None:
        self._sent_at = self._clock()
        self._flight = request.flight
        if self._transport is None or self._transport.is_closing():
            self._fail()
        else:
            self._transport.write(request.content)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
            self._fail()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._client.forget(self)
        self._fail()

    # httptools calls these.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        if self._sent_at is None:
            self.close()
            return
        answer = self._answer(self._clock() - self._sent_at)
        keep = self._parser.should_keep_alive()
        self._sent_at = None
        self._begin()
        self._client.answered(answer)
        if keep:
            self._client.idle(self)
        else:
            self.close()

    def _answer(self, seconds: float) -> Answer:
        is_problem = self._headers.get(b"content-type", b"").startswith(b"application/problem+json")
        return Answer(
            status=self._parser.get_status_code(),
            version=self._header(b"x-turnback-version"),
            server=self._header(b"x-model-version"),
            fault=_fault(self._body) if is_problem else None,
            seconds=seconds,
            flight=self._flight,
            request_id=self._header(b"x-request-id"),
            receipt=self._header(b"x-turnback-receipt"),
            chance=chance_in(self._body),
        )

    def _header(self, name: bytes) -> str:
        """The value of a header, empty if it is missing."""
        return self._headers.get(name, b"").decode("latin-1")

    def _fail(self) -> None:
        if self._sent_at is None:
            return
        now = self._clock()
        answer = Answer(0, NO_VERSION, NO_VERSION, TRANSPORT, now - self._sent_at, self._flight)
        self._sent_at = None
        self._client.answered(answer)


def _fault(problem: bytes) -> str:
    """Whose fault the gateway's own answer says it was; one that does not say is the gateway's."""
    try:
        document = orjson.loads(problem)
    except orjson.JSONDecodeError:
        return GATEWAY
    fault = document.get("fault") if isinstance(document, dict) else None
    return fault if isinstance(fault, str) else GATEWAY


class Replay:
    """Sends requests at a rate until told to stop, then waits for the answers under way.

    Attributes:
        finished: Set when there are no more requests to send.
    """

    def __init__(
        self,
        host: str,
        port: int,
        requests: Iterator[Request],
        per_second: float,
        hear: Callable[[Answer], None] = lambda _answer: None,
    ) -> None:
        """Args: hear: Gets every answer as it comes."""
        loop = asyncio.get_running_loop()
        self.clock: Callable[[], float] = loop.time
        self.counts = Counts()
        self.finished = asyncio.Event()
        self._started_at = self.clock()
        self._stopped_at: float | None = None
        self._address = (host, port)
        self._requests = requests
        self._per_second = per_second
        self._hear = hear
        self._idle: deque[Connection] = deque()
        self._connections: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[Request] = deque()
        self._due = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        return self.counts.sent - sum(self.counts.statuses.values())

    def start(self) -> None:
        self._started_at = self.clock()
        self._beat()

    @property
    def seconds(self) -> float:
        """From the first request to now, or to the last answer once stopped."""
        return (self._stopped_at or self.clock()) - self._started_at

    async def stop(self, patience_s: float = 35.0) -> None:
        """Send nothing more, wait for every answer, close. An answer still missing then has failed."""
        self._cancel()
        give_up = self.clock() + patience_s
        while (self._waiting or self.in_flight) and self.clock() < give_up:  # noqa: ASYNC110 -- two counters, not one event
            await asyncio.sleep(BEAT_S)
        self._stopped_at = self.clock()
        await asyncio.gather(*self._opening)
        self.abandon()
        await asyncio.sleep(BEAT_S)

    def abandon(self) -> None:
        """Send nothing more and hang up at once."""
        self._cancel()
        for connection in list(self._connections):
            connection.close()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def idle(self, connection: Connection) -> None:
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def answered(self, answer: Answer) -> None:
        self.counts.add(answer, time())
        self._hear(answer)

    def _beat(self) -> None:
        """Send what the schedule says is due by now."""
        due = int((self.clock() - self._started_at) * self._per_second)
        while self._due < due and len(self._waiting) < MAX_CONNECTIONS:
            request = next(self._requests, None)
            if request is None:
                self.finished.set()
                return
            self._due += 1
            self._arrive(request)
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _arrive(self, request: Request) -> None:
        if self._idle:
            self._send(self._idle.pop(), request)
            return
        self._waiting.append(request)
        if len(self._connections) + len(self._opening) < MAX_CONNECTIONS:
            task = asyncio.ensure_future(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _send(self, connection: Connection, request: Request) -> None:
        self.counts.sent += 1
        connection.send(request)

    async def _open(self) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(self), *self._address)
        except OSError:
            self._unreachable()
            return
        self._connections.add(connection)
        self.idle(connection)

    def _unreachable(self) -> None:
        """A request that found no connection is a failed one, not one that was never made."""
        if self._waiting:
            self._waiting.popleft()
            self.counts.sent += 1
            self.answered(Answer(0, NO_VERSION, NO_VERSION, TRANSPORT, 0.0))
