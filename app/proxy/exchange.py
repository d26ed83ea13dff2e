"""The life of one exchange: route, draw, forward, relay, record.

Rule: a client that leaves is never held against a version; a second attempt is made only where
the first cannot have been answered; and once a byte of an answer has been sent, a broken answer
is cut, never ended.
"""

from typing import TYPE_CHECKING, Final, Protocol

from app.proxy import chunks, problems, recorder
from app.proxy import response_head as framed
from app.proxy.counted import Counted
from app.proxy.framing import CRLF
from app.proxy.problems import STATUS_LINES, Problem
from app.proxy.request_head import RequestHead
from app.proxy.response_head import ResponseHead
from app.proxy.routes import Arm, Target
from app.proxy.upstreams import UpstreamConnection

if TYPE_CHECKING:
    from app.proxy.gateway import Gateway

CONNECTING, SENDING, AWAITING, RELAYING, OVER = range(5)
# Bodies up to here are cheaper copied behind their head than written apart.
_JOINED: Final = 16 * 1024


class Client(Protocol):
    """What an exchange needs of the connection its request came over.

    Attributes:
        is_write_paused: Whether the client does not read its answer fast enough.
        is_read_paused: Whether the client has to wait with its body.
    """

    is_write_paused: bool
    is_read_paused: bool

    def write(self, data: bytes) -> None: ...
    def exchange_ended(self, *, close: bool) -> None: ...
    def cut(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Exchange(Counted):
    """One inference request and its response.

    Attributes:
        to_head: Whether the request is HEAD, so that the response has no body.
        body_ended: Whether the whole request body has been read.
        close_after: Whether the client connection ends with this exchange.
    """

    __slots__ = (
        "_chunked",
        "_client",
        "_forwarded",
        "_gateway",
        "_held",
        "_held_bytes",
        "_moved",
        "_path",
        "_phase",
        "_reached",
        "_request",
        "_request_id",
        "_request_id_line",
        "_route",
        "_since",
        "_status",
        "_upstream",
        "body_ended",
        "close_after",
        "to_head",
    )

    def __init__(
        self,
        gateway: "Gateway",
        client: Client,
        request: RequestHead,
        target: Target,
        request_id: bytes,
        forwarded: bytes,
        now: float,
    ) -> None:
        super().__init__(gateway.recorder, target.route.stable, now)
        self._gateway = gateway
        self._client = client
        self._request = request
        self._request_id = request_id
        self._request_id_line = b"x-request-id: " + request_id
        self._forwarded = forwarded
        self._route = target.route
        self._path = request.url if not target.cut else _stripped(request.url, target.cut)
        self._since = now
        self._phase = CONNECTING
        self._moved = False
        self._reached = False
        self._chunked = False
        self._status = 0
        self._held: list[bytes] | None = None
        self._held_bytes = 0
        self._upstream: UpstreamConnection | None = None
        self.to_head = request.method == b"HEAD"
        self.body_ended = True
        self.close_after = not request.keep_alive

    @property
    def answering(self) -> bool:
        """Whether a byte of the upstream's answer may have been sent."""
        return self._phase == RELAYING

    # ------------------------------------------------------------------ request

    def start(self, tail: bytes, *, ended: bool) -> None:
        """Draw the arm and forward what has been read.

        Args:
            tail: The line end before the body, and body bytes as they go on the wire.
            ended: Whether these are all.
        """
        self.body_ended = ended
        self._held = [tail]
        self._held_bytes = len(tail)
        route = self._route
        arm: Arm | None = route.stable
        if route.others:
            arm = route.draw(self._gateway.coin, self._request.lines)
        if arm is None:
            self.count_excluded(route.stable, self._since)
        else:
            self.count_draw(arm)
        self._forward()

    def more_body(self, data: bytes, *, ended: bool) -> None:
        """Body bytes, as they go on the wire."""
        self.body_ended = ended
        self._moved = True
        held = self._held
        if held is not None:
            held.append(data)
            self._held_bytes += len(data)
        too_much = self._held_bytes > self._gateway.limits.held_bytes
        if self._phase == CONNECTING:
            if too_much:
                self._client.pause_reading()
            return
        if too_much:
            self._held = None
        if self._upstream is not None:
            self._upstream.write(data)
        if ended and self._phase == SENDING:
            self._phase = AWAITING
            self._since = self._gateway.monotonic()

    def _forward(self) -> None:
        """Send the request over an idle connection, or open one."""
        idle = self.arm.pool.idle
        if idle:
            upstream = self._upstream = idle.pop()
            upstream.send(self, self._payload())
            self._sent()
        else:
            self._connect()

    def _connect(self) -> None:
        self._phase = CONNECTING
        self._upstream = UpstreamConnection(self.arm.pool)
        self._upstream.open_for(self)

    def _payload(self) -> bytes:
        """Head and all held body bytes for the arm's upstream."""
        pool = self.arm.pool
        request = self._request
        held = self._held or [CRLF]
        return CRLF.join(
            (
                request.method + b" " + pool.base + self._path + b" HTTP/1.1",
                pool.host_line,
                *request.lines,
                self._request_id_line,
                self._forwarded,
                held[0] if len(held) == 1 else b"".join(held),
            )
        )

    def _sent(self) -> None:
        self._reached = True
        self._phase = AWAITING if self.body_ended else SENDING
        if self._held_bytes > self._gateway.limits.held_bytes:
            self._held = None

    # ------------------------------------------------------------------ called by the upstream connection

    def upstream_connected(self) -> None:
        upstream = self._upstream
        if upstream is None:
            return
        if self._client.is_write_paused:
            upstream.pause_reading()
        self._client.resume_reading()
        self._since = self._gateway.monotonic()
        payload = self._payload()
        self._sent()
        # Last, because a full upstream holds the client back again at once.
        upstream.write(payload)

    def connect_failed(self) -> None:
        self._upstream = None
        self._cannot_connect(recorder.CONNECT_ERROR, problems.UPSTREAM_REFUSED)

    def head_received(self, head: ResponseHead, framing: int, tail: bytes, *, ended: bool) -> None:
        """The response's head has come, perhaps with all of its body.

        Args:
            head: What it says.
            framing: How the body ends, see app.proxy.response_head.
            tail: The line end before the body, and body bytes; those of chunks decoded.
            ended: Whether these are all; then the upstream connection is somebody else's already.
        """
        now = self._gateway.monotonic()
        self.count_latency(now)
        self._since = now
        self._phase = RELAYING
        if ended:
            self._upstream = None
        self._status = head.status
        self._held = None
        pool = self.arm.pool
        if pool.brake.failures:
            pool.brake.release()
        lines = [STATUS_LINES[head.status], *head.lines, pool.version_line, self._request_id_line]
        if framing > framed.BY_LENGTH:
            tail = self._frame_anew(lines, tail, ended=ended)
        if self.close_after or not self.body_ended:
            self.close_after = True
            lines.append(b"connection: close")
        if len(tail) <= _JOINED:
            lines.append(tail)
            self._client.write(CRLF.join(lines))
        else:
            lines.append(b"")
            self._client.write(CRLF.join(lines))
            self._client.write(tail)
        if ended:
            self._end(now)

    def _frame_anew(self, lines: list[bytes], tail: bytes, *, ended: bool) -> bytes:
        """Say how a body without a length ends, and frame its first bytes."""
        if self._request.http_1_0:
            self.close_after = True
            return tail
        self._chunked = True
        lines.append(b"transfer-encoding: chunked")
        return CRLF + chunks.encode(tail[2:], last=ended)

    def body_received(self, data: bytes, *, ended: bool) -> None:
        self._moved = True
        if ended:
            self._upstream = None
        if self._chunked:
            data = chunks.encode(data, last=ended)
        if data:
            self._client.write(data)
        if ended:
            self._end(self._since)

    def upstream_broke(self, *, stale: bool, malformed: bool) -> None:
        """The connection ended, or its bytes made no sense, before the response was complete.

        Args:
            stale: It had answered before and sent no byte since; so it may have been closing.
            malformed: The bytes made no sense.
        """
        self._upstream = None
        if stale and self._held is not None and self._phase == AWAITING:
            self.arm.totals.retries += 1
            self._since = self._gateway.monotonic()
            self._connect()
        else:
            problem = problems.UPSTREAM_MALFORMED if malformed else problems.UPSTREAM_BROKE
            self._fail(recorder.UPSTREAM_ERROR, problem)

    def upstream_full(self) -> None:
        self._client.pause_reading()

    def upstream_drained(self) -> None:
        self._client.resume_reading()

    # ------------------------------------------------------------------ called by the client connection

    def client_full(self) -> None:
        if self._upstream is not None:
            self._upstream.pause_reading()

    def client_drained(self) -> None:
        if self._upstream is not None:
            self._upstream.resume_reading()

    def client_left(self) -> None:
        """Cancel the upstream at once."""
        self._settle(recorder.CANCELLED)

    # ------------------------------------------------------------------ endings

    def _end(self, now: float) -> None:
        """The answer is complete."""
        status = self._status
        self._phase = OVER
        self.count_outcome(
            recorder.OK if status < 400 else recorder.CLIENT_ERROR if status < 500 else recorder.UPSTREAM_ERROR, now
        )
        self._client.exchange_ended(close=self.close_after)

    def _settle(self, outcome: int) -> None:
        """Record an early end and let go of the upstream."""
        self._phase = OVER
        self.count_outcome(outcome, self._gateway.monotonic())
        upstream = self._upstream
        self._upstream = None
        if upstream is not None:
            upstream.drop()

    def _cannot_connect(self, outcome: int, problem: Problem) -> None:
        """Nothing reached the upstream: count that, and let stable answer if it was a canary's."""
        stable = self._route.stable
        if self.arm is stable or self._reached:
            self._fail(outcome, problem)
            return
        now = self._gateway.monotonic()
        self.arm.pool.brake.failed(now)
        self.arm.totals.fallbacks += 1
        self._settle(outcome)
        self._since = now
        self.count_excluded(stable, now)
        self._forward()

    def _fail(self, outcome: int, problem: Problem) -> None:
        """The upstream is to blame."""
        if self.is_evidence:
            self.arm.pool.brake.failed(self._gateway.monotonic())
        self._give_up(outcome, problem, f"version {self.arm.version} of model {self.arm.model}")

    def _give_up(self, outcome: int, problem: Problem, detail: str) -> None:
        """Say so, or cut an answer that had begun."""
        begun = self.answering
        self._settle(outcome)
        if begun:
            self._client.cut()
            return
        close = self.close_after or not self.body_ended
        self._client.write(
            problems.response(problem, detail, self._request_id, close=close, with_body=not self.to_head)
        )
        self._client.exchange_ended(close=close)

    # ------------------------------------------------------------------ deadlines

    def sweep(self, now: float) -> None:
        """Look at every deadline of this exchange."""
        if now - self._drawn > self._route.latency_horizon_s:
            self.count_latency(now)
        if self._moved:
            self._moved = False
            if self._phase in (SENDING, RELAYING):
                self._since = now
        if now - self._drawn > self.arm.pool.timeouts.total_s or now - self._since > self._allowed_s():
            self._out_of_time()

    def _allowed_s(self) -> float:
        """How long the present phase may go on without a byte."""
        timeouts = self.arm.pool.timeouts
        if self._phase == CONNECTING:
            return timeouts.connect_s
        if self._phase == AWAITING:
            return timeouts.first_byte_s
        return self._gateway.limits.client_idle_s if self._is_clients_turn() else timeouts.idle_s

    def _is_clients_turn(self) -> bool:
        """Whether the next byte has to be read or sent by the client."""
        if self._phase == RELAYING:
            return self._client.is_write_paused
        return self._phase == SENDING and not self._client.is_read_paused

    def _out_of_time(self) -> None:
        if self._phase == CONNECTING:
            self._cannot_connect(recorder.TIMEOUT, problems.UPSTREAM_TIMEOUT)
        elif self._is_clients_turn():
            self._give_up(recorder.CANCELLED, problems.REQUEST_TIMEOUT, "the client stopped sending or reading")
        else:
            self._fail(recorder.TIMEOUT, problems.UPSTREAM_TIMEOUT)


def _stripped(url: bytes, cut: int) -> bytes:
    """The path behind `/m/{model}`, always with a slash in front."""
    rest = url[cut:]
    return rest if rest.startswith(b"/") else b"/" + rest
