"""One request's way to an upstream: admitted, sent, and sent again only where that is safe.

Rule: a second attempt is made only where the first cannot have been answered, within the retry budget,
and towards stable only; what nothing reached may be sent elsewhere, what was read may not.
"""

from app.proxy.exchange.client import AnsweredClient
from app.proxy.exchange.context import ExchangeContext
from app.proxy.exchange.forwarded_request import ForwardedRequest
from app.proxy.http1 import problems
from app.proxy.http1.framing import CRLF
from app.proxy.http1.problems import Problem
from app.proxy.http1.response_head import ResponseHead
from app.proxy.responses.reader import Reader
from app.proxy.routing.arm import ServingArm
from app.proxy.routing.table import CompiledRoute
from app.proxy.upstream.connection import UpstreamConnection
from app.proxy.upstream.connection_port import Carrier
from app.proxy.upstream.endpoint import Upstream
from app.recording import recorder
from app.recording.accounting import Counted

QUEUED, CONNECTING, SENDING, AWAITING, RELAYING, OVER = range(6)


class Outgoing(Counted):
    """The request's half of an exchange.

    Attributes:
        to_head: Whether the request is HEAD, so that the response has no body.
        body_ended: Whether the whole request body has been read.
        close_after: Whether the client connection ends with this exchange.
    """

    __slots__ = (
        "_arm",
        "_client",
        "_connection",
        "_context",
        "_held",
        "_held_bytes",
        "_moved",
        "_phase",
        "_placed",
        "_reached",
        "_request",
        "_retried",
        "_route",
        "_since",
        "_upstream",
        "body_ended",
        "close_after",
        "to_head",
    )

    def __init__(
        self,
        context: ExchangeContext,
        client: AnsweredClient,
        request: ForwardedRequest,
        tail: bytes,
        now: float,
        *,
        ended: bool,
        close_after: bool,
    ) -> None:
        """Nothing is drawn or sent yet.

        Args:
            context: What the process shares.
            client: Where the request came from.
            request: All of it but its body.
            tail: The line end before the body, and body bytes as they go on the wire.
            now: The monotonic clock's reading.
            ended: Whether these are all of the body.
            close_after: Whether the client connection ends with this exchange.
        """
        route = request.target.route
        super().__init__(context.recorder, route.stable, now)
        self._context = context
        self._client = client
        self._request = request
        self._route: CompiledRoute = route
        self._arm: ServingArm = route.stable
        self._since = now
        self._phase = QUEUED
        self._moved = False
        self._reached = False
        self._retried = False
        self._placed = False
        self._held: list[bytes] | None = [tail]
        self._held_bytes = len(tail)
        self._upstream: Upstream | None = None
        self._connection: Carrier | None = None
        self.to_head = request.head.method == b"HEAD"
        self.body_ended = ended
        self.close_after = close_after

    # ------------------------------------------------------------------ the request's bytes

    def more_body(self, data: bytes, *, ended: bool) -> None:
        """Body bytes, as they go on the wire."""
        self.body_ended = ended
        self._moved = True
        held = self._held
        if held is not None:
            held.append(data)
            self._held_bytes += len(data)
        too_much = self._held_bytes > self._context.limits.held_bytes
        if self._phase <= CONNECTING:
            if too_much:
                self._client.pause_reading()
            return
        if too_much:
            self._held = None
        if self._connection is not None:
            self._connection.write(data)
        if ended and self._phase == SENDING:
            self._phase = AWAITING
            self._since = self._context.monotonic()

    @property
    def reader(self) -> Reader:
        """Who reads answers like this one's."""
        return self._request.target.reader

    def _request_tail(self) -> bytes | None:
        """The line end before the body and the body as it goes on the wire; None when not all of it is held."""
        held = self._held
        if held is None or not self.body_ended:
            return None
        return held[0] if len(held) == 1 else b"".join(held)

    def _payload(self, upstream: Upstream) -> bytes:
        """Head and all held body bytes for this upstream of the arm's version."""
        held = self._held or [CRLF]
        return self._request.payload(self._arm.pool, upstream, held[0] if len(held) == 1 else b"".join(held))

    # ------------------------------------------------------------------ attempts

    def _forward(self) -> None:
        """Send the request to the arm, once its bulkhead has a place for it."""
        pool = self._arm.pool
        if pool.in_flight < pool.concurrency:
            pool.in_flight += 1
            self._placed = True
            self._attempt(pool.only or pool.choose(self._since))
        elif pool.wait(self):
            self._phase = QUEUED
        else:
            self._turned_away()

    def admitted(self) -> None:
        """The bulkhead has a place now."""
        self._placed = True
        self._since = self._context.monotonic()
        self._client.resume_reading()
        self._attempt(self._arm.pool.choose(self._since))

    def _attempt(self, upstream: Upstream) -> None:
        """Send over an idle connection, or open one."""
        self._upstream = upstream
        upstream.in_flight += 1
        if upstream.idle:
            connection = self._connection = upstream.idle.pop()
            connection.send(self, self._payload(upstream))
            self._sent()
        else:
            self._connect(upstream)

    def _connect(self, upstream: Upstream) -> None:
        self._phase = CONNECTING
        connection = self._connection = UpstreamConnection(upstream)
        connection.open_for(self)

    def _sent(self) -> None:
        self._reached = True
        self._phase = AWAITING if self.body_ended else SENDING
        if self._held_bytes > self._context.limits.held_bytes:
            self._held = None

    def _let_go(self) -> None:
        """Give back what is held of the arm: the connection, the upstream, the place in the bulkhead."""
        if self._connection is not None:
            self._drop_connection()
        upstream = self._upstream
        if upstream is not None:
            self._upstream = None
            upstream.in_flight -= 1
        if self._placed:
            self._placed = False
            self._arm.pool.leave()
        elif self._phase == QUEUED:
            self._arm.pool.stop_waiting(self)

    # ------------------------------------------------------------------ called by the upstream connection

    def upstream_connected(self) -> None:
        connection, upstream = self._connection, self._upstream
        if connection is None or upstream is None:
            return
        if self._client.is_write_paused:
            connection.pause_reading()
        self._client.resume_reading()
        self._since = self._context.monotonic()
        payload = self._payload(upstream)
        self._sent()
        # Last, because a full upstream holds the client back again at once.
        connection.write(payload)

    def connect_failed(self, *, own_fault: bool) -> None:
        """No connection was made.

        Args:
            own_fault: Whether this process had nothing to make one with; never held against the version.
        """
        self._connection = None
        if own_fault:
            self._give_up(recorder.CANCELLED, problems.GATEWAY_EXHAUSTED, "nothing is left to reach an upstream with")
        else:
            self._cannot_connect(recorder.CONNECT_ERROR, problems.UPSTREAM_REFUSED)

    def upstream_broke(self, *, stale: bool, malformed: bool) -> None:
        """The connection ended, or its bytes made no sense, before the response was complete.

        Args:
            stale: It had answered before and sent no byte since; so it may have been closing.
            malformed: The bytes made no sense.
        """
        self._connection = None
        upstream = self._upstream
        pool = self._arm.pool
        if stale and upstream is not None and self._held is not None and self._phase == AWAITING and pool.budget.take():
            self.arm.totals.retries += 1
            self._since = self._context.monotonic()
            self._connect(upstream)
        else:
            problem = problems.UPSTREAM_MALFORMED if malformed else problems.UPSTREAM_BROKE
            self._fail(recorder.UPSTREAM_ERROR, problem)

    def head_received(self, head: ResponseHead, framing: int, tail: bytes, ended: bool) -> None:
        """The answer's head; of the response's half."""
        raise NotImplementedError

    def body_received(self, data: bytes, ended: bool, wire: bytes) -> None:
        """Bytes of the answer's body; of the response's half."""
        raise NotImplementedError

    def upstream_full(self) -> None:
        self._client.pause_reading()

    def upstream_drained(self) -> None:
        self._client.resume_reading()

    # ------------------------------------------------------------------ where an attempt ends

    def _cannot_connect(self, outcome: int, problem: Problem) -> None:
        """Nothing reached the upstream: another one of the version may answer, or stable for a canary."""
        now = self._context.monotonic()
        pool = self._arm.pool
        upstream = self._upstream
        if self._reached or upstream is None:
            self._fail(outcome, problem)
        elif not self._retried and pool.has_another(upstream, now) and pool.budget.take():
            self._retried = True
            self.arm.totals.retries += 1
            upstream.failed(now)
            upstream.in_flight -= 1
            self._since = now
            self._drop_connection()
            self._client.resume_reading()
            self._attempt(pool.choose(now, apart_from=upstream))
        elif self._may_fall_back():
            upstream.failed(now)
            pool.brake.failed(now)
            self._fall_back(outcome, now)
        else:
            self._fail(outcome, problem)

    def _turned_away(self) -> None:
        """The arm's bulkhead and its queue are full: nothing was sent."""
        if self._may_fall_back():
            self._fall_back(recorder.OVERLOADED, self._context.monotonic())
        else:
            self._give_up(
                recorder.OVERLOADED,
                problems.VERSION_OVERLOADED,
                f"version {self.arm.version} of model {self.arm.model} has all it can hold",
            )

    def _may_fall_back(self) -> bool:
        stable = self._route.stable
        return self._arm is not stable and self.is_evidence and stable.pool.budget.take()

    def _fall_back(self, outcome: int, now: float) -> None:
        """Count the canary's failure and let stable answer, without a coin."""
        stable = self._route.stable
        self.arm.totals.fallbacks += 1
        self._settle(outcome)
        self._since = now
        self._arm = stable
        self.count_excluded(stable, now)
        self._take_note()
        self._client.resume_reading()
        self._forward()

    def _take_note(self) -> None:
        """The arm that serves from now on may be one that somebody looks at."""
        raise NotImplementedError

    def _fail(self, outcome: int, problem: Problem) -> None:
        """The upstream is to blame."""
        upstream = self._upstream
        if upstream is not None:
            now = self._context.monotonic()
            upstream.failed(now)
            if self.is_evidence:
                self._arm.pool.brake.failed(now)
        self._give_up(outcome, problem, f"version {self.arm.version} of model {self.arm.model}")

    def _settle(self, outcome: int) -> None:
        """Record an early end and let go of the upstream."""
        self.count_outcome(outcome, self._context.monotonic())
        self._let_go()
        self._phase = OVER

    def _drop_connection(self) -> None:
        connection = self._connection
        self._connection = None
        if connection is not None:
            connection.drop()

    def _give_up(self, outcome: int, problem: Problem, detail: str) -> None:
        """Say so to the client, or cut an answer that had begun."""
        raise NotImplementedError
