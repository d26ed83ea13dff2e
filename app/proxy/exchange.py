"""The life of one exchange: route, draw, forward, relay, record.

Rule: an exchange counts for the arm that was drawn, once; a client that leaves is never held
against a version; and once a byte of an answer has been sent, a broken answer is cut, not ended.
"""

from typing import TYPE_CHECKING, Final, Protocol

from app.domain.histogram import latency_bin
from app.domain.tally import TallyKey
from app.proxy import chunks, problems, recorder
from app.proxy import response_head as framed
from app.proxy.problems import STATUS_LINES, Problem
from app.proxy.request_head import RequestHead
from app.proxy.response_head import ResponseHead
from app.proxy.routes import Arm, CompiledRoute, Target
from app.proxy.upstreams import UpstreamConnection

if TYPE_CHECKING:
    from app.proxy.gateway import Gateway

CONNECTING, SENDING, AWAITING, RELAYING, OVER = range(5)
_JOINED: Final = 16 * 1024  # bodies up to here are cheaper copied behind their head than written apart


class Client(Protocol):
    """What an exchange needs of the connection its request came over."""

    def write(self, data: bytes) -> None: ...
    def exchange_ended(self, *, close: bool) -> None: ...
    def cut(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    @property
    def is_write_paused(self) -> bool: ...
    @property
    def is_read_paused(self) -> bool: ...


class Exchange:
    """One inference request and its response.

    Attributes:
        to_head: Whether the request is HEAD, so that the response has no body.
        body_ended: Whether the whole request body has been read.
        moved: Whether bytes moved since the last sweep.
    """

    __slots__ = (
        "_arm",
        "_cell",
        "_chunked",
        "_client",
        "_close",
        "_gateway",
        "_held",
        "_held_bytes",
        "_http_1_0",
        "_latency_told",
        "_lines",
        "_method",
        "_path",
        "_phase",
        "_reached",
        "_request_id",
        "_route",
        "_since",
        "_started",
        "_status",
        "_upstream",
        "body_ended",
        "moved",
        "to_head",
    )

    def __init__(
        self, gateway: "Gateway", client: Client, head: RequestHead, target: Target, request_id: bytes, started: float
    ) -> None:
        self._gateway = gateway
        self._client = client
        self._route: CompiledRoute = target.route
        self._started = started
        self._since = started
        self._method = head.method
        self._path = head.url if not target.cut else _stripped(head.url, target.cut)
        self._lines = head.lines
        self._request_id = request_id
        self._http_1_0 = head.http_1_0
        self._close = not head.keep_alive or gateway.draining
        self.to_head = head.method == b"HEAD"
        self.body_ended = True
        self.moved = False
        self._phase = CONNECTING
        self._status = 0
        self._chunked = False
        self._latency_told = False
        self._reached = False
        self._held: list[bytes] | None = None
        self._held_bytes = 0
        self._upstream: UpstreamConnection | None = None
        self._cell: recorder.Cell | None = None
        self._arm: Arm = target.route.stable

    # ------------------------------------------------------------------ request

    def start(self, body: bytes, *, ended: bool) -> None:
        """Draw the arm and forward what has been read.

        Args:
            body: Body bytes as they go on the wire.
            ended: Whether these are all.
        """
        self.body_ended = ended
        self._held = [body] if body else []
        self._held_bytes = len(body)
        self._draw()
        self._forward()

    def more_body(self, data: bytes, *, ended: bool) -> None:
        """Body bytes, as they go on the wire."""
        self.body_ended = ended
        self.moved = True
        held = self._held
        if held is not None:
            held.append(data)
            self._held_bytes += len(data)
        if self._phase == CONNECTING:
            if self._held_bytes > self._gateway.limits.held_bytes:
                self._client.pause_reading()
            return
        if self._held_bytes > self._gateway.limits.held_bytes:
            self._held = None
        if self._upstream is not None:
            self._upstream.write(data)
        if ended and self._phase == SENDING:
            self._phase = AWAITING
            self._since = self._gateway.monotonic()

    def _draw(self) -> None:
        gateway = self._gateway
        route = self._route
        arm = route.stable
        diverted = False
        if route.others:
            if route.is_braked():
                diverted = True
            else:
                arm = route.draw(route.point(self._lines, gateway.coin))
        self._arm = arm
        cell = self._current_cell(arm)
        if diverted:
            cell.excluded += 1
            arm.totals.excluded += 1
        else:
            cell.exchanges += 1
            arm.totals.exchanges += 1
            self._cell = cell

    def _current_cell(self, arm: Arm) -> recorder.Cell:
        tallies = self._gateway.recorder
        second = tallies.second
        if self._started >= tallies.second_ends:
            second = tallies.tell_second(self._started)
        cell = arm.cell
        if cell is None or arm.cell_second != second:
            cell = arm.cell = tallies.cell(TallyKey(second, arm.model, arm.generation, arm.version))
            arm.cell_second = second
        return cell

    def _forward(self) -> None:
        """Send the request over an idle connection, or open one."""
        pool = self._arm.pool
        idle = pool.idle
        if idle:
            upstream = self._upstream = idle.pop()
            upstream.send(self, self._payload())
            self._sent()
        else:
            self._phase = CONNECTING
            self._upstream = UpstreamConnection(pool)
            self._upstream.open_for(self)

    def _payload(self) -> bytes:
        """Head and all held body bytes for the arm's upstream."""
        pool = self._arm.pool
        lines = self._lines
        lines[0] = b"%b %b%b HTTP/1.1" % (self._method, pool.base, self._path)
        lines[1] = pool.host_line
        held = self._held
        if held:
            return b"%b\r\n\r\n%b" % (b"\r\n".join(lines), held[0] if len(held) == 1 else b"".join(held))
        return b"\r\n".join(lines) + b"\r\n\r\n"

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
        upstream.write(self._payload())
        self._since = self._gateway.monotonic()
        self._sent()
        self._client.resume_reading()

    def connect_failed(self) -> None:
        self._upstream = None
        self._cannot_connect(recorder.CONNECT_ERROR, problems.UPSTREAM_REFUSED)

    def head_received(self, head: ResponseHead, framing: int, body: bytes, *, ended: bool) -> None:
        gateway = self._gateway
        now = gateway.monotonic()
        self._tell_latency(now)
        self._since = now
        self._phase = RELAYING
        self._status = status = head.status
        self._held = None
        arm = self._arm
        if arm.pool.brake.failures:
            arm.pool.brake.release()
        lines = head.lines
        lines[0] = STATUS_LINES[status]
        lines.append(arm.pool.version_line)
        lines.append(b"x-request-id: " + self._request_id)
        if framing == framed.BY_LENGTH:
            lines.append(b"content-length: %d" % head.length)
        else:
            body = self._other_framing(head, framing, body, ended=ended)
        if self._close or not self.body_ended:
            self._close = True
            lines.append(b"connection: close")
        if len(body) <= _JOINED:
            self._client.write(b"%b\r\n\r\n%b" % (b"\r\n".join(lines), body))
        else:
            self._client.write(b"\r\n".join(lines) + b"\r\n\r\n")
            self._client.write(body)
        if ended:
            self._end()

    def _other_framing(self, head: ResponseHead, framing: int, body: bytes, *, ended: bool) -> bytes:
        """Say how a body without a plain length ends, and frame its first bytes."""
        if framing == framed.NO_BODY:
            if head.length >= 0 and head.status != 204:
                head.lines.append(b"content-length: %d" % head.length)
            return b""
        if self._http_1_0:
            self._close = True
            return body
        self._chunked = True
        head.lines.append(b"transfer-encoding: chunked")
        return chunks.encode([body]) + (chunks.LAST_CHUNK if ended else b"")

    def body_received(self, data: bytes, *, ended: bool) -> None:
        self.moved = True
        if self._chunked:
            data = chunks.encode([data])
            if ended:
                data += chunks.LAST_CHUNK
        if data:
            self._client.write(data)
        if ended:
            self._end()

    def upstream_broke(self, *, malformed: bool) -> None:
        """The connection ended, or its bytes made no sense, before the response was complete."""
        upstream = self._upstream
        self._upstream = None
        if self._phase == OVER:
            return
        stale = upstream is not None and upstream.reused and upstream.silent and not malformed
        if stale and self._held is not None and self.body_ended and self._phase == AWAITING:
            self._arm.totals.retries += 1
            self._retry()
            return
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

    def close_after(self) -> None:
        """Let the client connection end with this exchange."""
        self._close = True

    @property
    def answering(self) -> bool:
        """Whether a byte of the answer may have been sent."""
        return self._phase == RELAYING

    def client_left(self) -> None:
        """Cancel the upstream at once; nothing of this is held against the version."""
        self._settle(recorder.CANCELLED)
        self._drop_upstream()

    # ------------------------------------------------------------------ endings

    def _end(self) -> None:
        status = self._status
        self._settle(
            recorder.OK if status < 400 else recorder.CLIENT_ERROR if status < 500 else recorder.UPSTREAM_ERROR
        )
        self._upstream = None
        self._client.exchange_ended(close=self._close)

    def _settle(self, outcome: int) -> None:
        """Record how it ended; the first call counts."""
        self._phase = OVER
        cell = self._cell
        if cell is not None:
            self._tell_latency(0.0)
            cell.outcomes[outcome] += 1
            self._arm.totals.outcomes[outcome] += 1
            self._cell = None

    def _tell_latency(self, now: float) -> None:
        """Count the time from the draw until now, once; 0 asks the clock."""
        cell = self._cell
        if cell is None or self._latency_told:
            return
        self._latency_told = True
        waited_s = (now or self._gateway.monotonic()) - self._started
        index = latency_bin(waited_s * 1e6)
        cell.bins[index] = cell.bins.get(index, 0) + 1
        bins = self._arm.totals.bins
        bins[index] = bins.get(index, 0) + 1

    def _cannot_connect(self, outcome: int, problem: Problem) -> None:
        """Nothing reached the upstream: count that, and let stable answer if it was a canary's."""
        arm = self._arm
        stable = self._route.stable
        if self._phase == OVER:
            return
        if arm is stable or self._reached:
            self._fail(outcome, problem)
            return
        arm.pool.brake.failed(self._gateway.monotonic())
        arm.totals.fallbacks += 1
        self._settle(outcome)
        self._arm = stable
        cell = self._current_cell(stable)
        cell.excluded += 1
        stable.totals.excluded += 1
        self._since = self._gateway.monotonic()
        self._forward()

    def _retry(self) -> None:
        """Try once more on a fresh connection."""
        self._phase = CONNECTING
        self._since = self._gateway.monotonic()
        self._upstream = UpstreamConnection(self._arm.pool)
        self._upstream.open_for(self)

    def _fail(self, outcome: int, problem: Problem) -> None:
        """The upstream is to blame: say so, or cut an answer that had begun."""
        answered = self._phase == RELAYING
        if self._cell is not None:
            self._arm.pool.brake.failed(self._gateway.monotonic())
        self._give_up(outcome, problem, answered=answered)

    def _give_up(self, outcome: int, problem: Problem, *, answered: bool) -> None:
        self._settle(outcome)
        self._drop_upstream()
        if answered:
            self._client.cut()
            return
        close = self._close or not self.body_ended
        detail = f"version {self._arm.version} of model {self._arm.model}"
        self._client.write(
            problems.response(problem, detail, self._request_id, close=close, with_body=not self.to_head)
        )
        self._client.exchange_ended(close=close)

    def _drop_upstream(self) -> None:
        upstream = self._upstream
        self._upstream = None
        if upstream is not None:
            upstream.drop()

    # ------------------------------------------------------------------ deadlines

    def sweep(self, now: float) -> None:
        """Look at every deadline of this exchange."""
        if not self._latency_told and now - self._started > self._route.latency_horizon_s:
            self._tell_latency(now)
        if self.moved:
            self.moved = False
            if self._phase in (SENDING, RELAYING):
                self._since = now
        if now - self._started > self._arm.pool.timeouts.total_s or now - self._since > self._allowed_s():
            self._out_of_time()

    def _allowed_s(self) -> float:
        """How long the present phase may go on without a byte."""
        timeouts = self._arm.pool.timeouts
        if self._phase == CONNECTING:
            return timeouts.connect_s
        if self._phase == AWAITING:
            return timeouts.first_byte_s
        if self._is_clients_turn():
            return self._gateway.limits.client_idle_s
        return timeouts.idle_s

    def _is_clients_turn(self) -> bool:
        """Whether the next byte has to be sent or read by the client."""
        return self._client.is_write_paused if self._phase == RELAYING else not self._client_held_back()

    def _client_held_back(self) -> bool:
        return self.body_ended or self._client.is_read_paused

    def _out_of_time(self) -> None:
        if self._phase == CONNECTING:
            self._drop_upstream()
            self._cannot_connect(recorder.TIMEOUT, problems.UPSTREAM_TIMEOUT)
        elif self._phase in (SENDING, RELAYING) and self._is_clients_turn():
            self._give_up(recorder.CANCELLED, problems.REQUEST_TIMEOUT, answered=self._phase == RELAYING)
        else:
            self._fail(recorder.TIMEOUT, problems.UPSTREAM_TIMEOUT)


def _stripped(url: bytes, cut: int) -> bytes:
    rest = url[cut:]
    return rest if rest.startswith(b"/") else b"/" + rest
