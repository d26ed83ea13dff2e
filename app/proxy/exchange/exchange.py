"""The life of one exchange: route, draw, forward, relay, record.

Rule: a client that leaves is never held against a version; an exchange is recorded before the last
byte of its answer is written; and once a byte of an answer has been sent, a broken answer is cut,
never ended.
"""

from typing import Final

from app.domain.evidence.tally import Counter
from app.proxy.exchange.attempt import Attempt
from app.proxy.exchange.client import AnsweredClient
from app.proxy.exchange.context import ExchangeContext
from app.proxy.exchange.forwarded_request import ForwardedRequest
from app.proxy.exchange.mirror import Primary
from app.proxy.exchange.witness import Witness
from app.proxy.http1 import chunks, problems
from app.proxy.http1 import response_head as framed
from app.proxy.http1.framing import CRLF
from app.proxy.http1.problems import Problem
from app.proxy.http1.response_head import ResponseHead
from app.proxy.routing.arm import ServingArm
from app.proxy.upstream.endpoint import Upstream
from app.recording import recorder
from app.recording.accounting import Accounting

# Bodies up to here are cheaper copied behind their head than written apart.
_JOINED: Final = 16 * 1024
QUEUED, CONNECTING, SENDING, AWAITING, RELAYING, OVER = range(6)


class Exchange:  # ADR 0156
    """One inference request and its response.

    Attributes:
        accounting: What it adds to the tallies.
        to_head: Whether the request is HEAD, so that the response has no body.
        body_ended: Whether the whole request body has been read.
        close_after: Whether the client connection ends with this exchange.
    """

    __slots__ = (
        "_arm",
        "_attempt",
        "_chunked",
        "_client",
        "_context",
        "_moved",
        "_phase",
        "_request",
        "_route",
        "_since",
        "_status",
        "_witness",
        "accounting",
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
        self._context = context
        self._client = client
        self._request = request
        self._route = route = request.target.route
        self._arm: ServingArm = route.stable
        self.accounting = Accounting(context.recorder, route.stable, now)
        self._attempt = Attempt(request, route.stable.pool, tail)
        self._witness: Witness | None = None
        self._since = now
        self._phase = QUEUED
        self._status = 0
        self._moved = self._chunked = False
        self.to_head = request.head.method == b"HEAD"
        self.body_ended = ended
        self.close_after = close_after

    def start(self) -> None:
        """Draw the arm and forward what has been read."""
        if self._request.head.forced_version:
            self._obey()
        else:
            self._draw()
            if self._route.is_watched:
                self._take_note()
            self._forward()

    @property
    def answering(self) -> bool:
        """Whether a byte of the upstream's answer may have been sent."""
        return self._phase == RELAYING

    # ------------------------------------------------------------------ who serves it

    def _obey(self) -> None:
        """Send it where an operator wants it, outside of all evidence."""
        head = self._request.head
        arm = self._route.arms.get(head.forced_version)
        if not self._context.may_override(head.override_key):
            self._give_up(recorder.CANCELLED, problems.OVERRIDE_REFUSED, "the override key is not the operators'")
        elif arm is None:
            self._give_up(recorder.CANCELLED, problems.UNKNOWN_VERSION, f"model {self._arm.model} has no such version")
        else:
            self._arm = arm
            self.accounting.count_excluded(arm, self._since)
            self._context.recorder.count(arm, {Counter.FORCED: 1}, self._since)
            self._take_note()
            self._forward()

    def _draw(self) -> None:
        """Toss the coin, where there is something to toss it for."""
        route = self._route
        if not route.others:
            self.accounting.count_draw(route.stable)
        elif route.open_brakes.brakes and route.is_held_back():
            self.accounting.count_excluded(route.stable, self._since)
        elif route.sticky is None:
            self._arm = arm = route.draw(self._context.coin())
            self.accounting.count_draw(arm)
        else:
            place = route.sticky.place(self._request.head.lines, self._context.coin)
            self._arm = arm = route.draw(place.point)
            self.accounting.count_draw(arm, place.unit, route.sticky.salted_at)
        if route.mirror is not None and self._arm is not route.mirror and self._context.coin() < route.mirror_share:
            self._witness = witness = Witness(self._context, self._request)
            witness.primary = Primary(route.mirror)

    def _take_note(self) -> None:
        """The arm that serves from now on may be one that somebody looks at."""
        if self._route.is_watched:
            if self._witness is None:
                self._witness = Witness(self._context, self._request)
            self._witness.take_note(self._arm, self.accounting)

    # ------------------------------------------------------------------ the request

    def more_body(self, data: bytes, *, ended: bool) -> None:
        """Body bytes, as they go on the wire."""
        self.body_ended = ended
        self._moved = True
        attempt = self._attempt
        too_much = attempt.keep(data, self._context.limits.held_bytes)
        if self._phase <= CONNECTING:
            if too_much:
                self._client.pause_reading()
            return
        if too_much:
            attempt.held = None
        attempt.write(data)
        if ended and self._phase == SENDING:
            self._phase = AWAITING
            self._since = self._context.monotonic()

    def _forward(self) -> None:
        """Send the request to the arm, once its bulkhead has a place for it."""
        pool = self._arm.pool
        if self._attempt.take_place(pool):
            self._send_to(pool.only or pool.choose(self._since))
        elif pool.wait(self):
            self._phase = QUEUED
        else:
            self._turned_away()

    def admitted(self) -> None:
        """The bulkhead has a place now."""
        self._attempt.be_placed()
        self._since = self._context.monotonic()
        self._client.resume_reading()
        self._send_to(self._arm.pool.choose(self._since))

    def _send_to(self, upstream: Upstream) -> None:
        if self._attempt.send_to(upstream, self):
            self._phase = AWAITING if self.body_ended else SENDING
        else:
            self._phase = CONNECTING

    # ------------------------------------------------------------------ called by the upstream connection

    def upstream_connected(self) -> None:
        attempt = self._attempt
        connection, upstream = attempt.connection, attempt.upstream
        if connection is None or upstream is None:
            return
        if self._client.is_write_paused:
            connection.pause_reading()
        self._client.resume_reading()
        self._since = self._context.monotonic()
        self._phase = AWAITING if self.body_ended else SENDING
        attempt.send(connection, upstream)

    def connect_failed(self, *, own_fault: bool) -> None:
        """No connection was made.

        Args:
            own_fault: Whether this process had nothing to make one with; never held against the version.
        """
        self._attempt.connection = None
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
        attempt = self._attempt
        attempt.connection = None
        upstream = attempt.upstream
        if stale and upstream is not None and self._phase == AWAITING and attempt.may_repeat():
            self._arm.totals.retries += 1
            self._since = self._context.monotonic()
            self._phase = CONNECTING
            attempt.connect(upstream, self)
        else:
            problem = problems.UPSTREAM_MALFORMED if malformed else problems.UPSTREAM_BROKE
            self._fail(recorder.UPSTREAM_ERROR, problem)

    def upstream_full(self) -> None:
        self._client.pause_reading()

    def upstream_drained(self) -> None:
        self._client.resume_reading()

    def head_received(self, head: ResponseHead, framing: int, tail: bytes, ended: bool) -> None:
        """The response's head has come, perhaps with all of its body.

        Args:
            head: What it says.
            framing: How the body ends, see app.proxy.http1.response_head.
            tail: The line end before the body, and body bytes; those of chunks decoded.
            ended: Whether these are all; then the upstream connection is somebody else's already.
        """
        self._since = now = self._context.monotonic()
        self.accounting.count_latency(now)
        self._phase = RELAYING
        self._status = head.status
        if self._witness is not None or framing > framed.BY_LENGTH:
            self._watch(head, framing, tail)
        attempt = self._attempt
        attempt.held = None
        lines = self._answer_lines(head, now)
        if framing > framed.BY_LENGTH:
            tail = self._frame_anew(lines, tail, ended=ended)
        if self.close_after or not self.body_ended:
            self.close_after = True
            lines.append(b"connection: close")
        if ended:
            attempt.connection = None
            self._record(now)
        if len(tail) <= _JOINED:
            lines.append(tail)
            self._client.write(CRLF.join(lines))
        else:
            lines.append(b"")
            self._client.write(CRLF.join(lines))
            self._client.write(tail)
        if ended:
            self._end()

    def body_received(self, data: bytes, ended: bool, wire: bytes) -> None:
        """Bytes of the answer's body, those of chunks decoded; after the last the connection is somebody else's.

        Args:
            data: The payload.
            ended: Whether this is the last of it.
            wire: The same as one canonical chunk, when it came as one.
        """
        self._moved = True
        if self._witness is not None:
            self._witness.hear(data)
        if self._chunked:
            data = wire or chunks.encode(data, last=ended)
        if ended:
            self._attempt.connection = None
            self._record(self._since)
        if data:
            self._client.write(data)
        if ended:
            self._end()

    # ------------------------------------------------------------------ the answer

    def _answer_lines(self, head: ResponseHead, now: float) -> list[bytes]:
        """The status line and the fields that cross or are the gateway's own, the receipt among them."""
        arm, request, accounting, route = self._arm, self._request, self.accounting, self._route
        pool = arm.pool
        upstream = self._attempt.upstream
        if upstream is not None and (upstream.failures or pool.brake.failures):
            pool.answered(upstream)
        if arm is not route.stable and (self._witness is None or self._witness.note is None):
            self._context.observer.answered(
                arm, accounting.second, accounting.generation, request.exchange_id, request.request_id, head.status
            )
        slices = route.watched.slices.packed(request.head.lines) if route.signs_slices else b""
        signer = arm.signer if accounting.generation else arm.signer_without_coin
        receipt = signer.receipt(accounting.second, request.exchange_id, slices)
        lines = [head.front, pool.version_lines + request.request_id, receipt]
        if self._context.server_timing:
            lines.append(b"server-timing: upstream;dur=%.1f" % ((now - self.accounting.drawn) * 1e3))
        return lines

    def _watch(self, head: ResponseHead, framing: int, tail: bytes) -> None:
        """Let whoever wants to know what the answer says hear it."""
        if self._witness is None:
            self._witness = Witness(self._context, self._request)
        body = self._attempt.held if self.body_ended else None
        self._witness.begin(head, framing, tail, body, self._since - self.accounting.drawn)

    def _frame_anew(self, lines: list[bytes], tail: bytes, *, ended: bool) -> bytes:
        """Say how a body without a length ends, and frame its first bytes."""
        if self._request.head.http_1_0:
            self.close_after = True
            return tail
        self._chunked = True
        lines.append(b"transfer-encoding: chunked")
        return CRLF + chunks.encode(tail[2:], last=ended)

    # ------------------------------------------------------------------ called by the client connection

    def client_full(self) -> None:
        if self._attempt.connection is not None:
            self._attempt.connection.pause_reading()

    def client_drained(self) -> None:
        if self._attempt.connection is not None:
            self._attempt.connection.resume_reading()

    def client_left(self) -> None:
        """Cancel the upstream at once."""
        self._settle(recorder.CANCELLED)

    # ------------------------------------------------------------------ where an attempt ends

    def _cannot_connect(self, outcome: int, problem: Problem) -> None:
        """Nothing reached the upstream: another one of the version may answer, or stable for a canary."""
        now = self._context.monotonic()
        attempt = self._attempt
        upstream = attempt.upstream
        if upstream is None or attempt.was_sent:
            self._fail(outcome, problem)
        elif attempt.may_go_elsewhere(now):
            self._arm.totals.retries += 1
            self._since = now
            other = attempt.leave_upstream(upstream, now)
            self._client.resume_reading()
            self._send_to(other)
        elif self._may_fall_back():
            upstream.failed(now)
            attempt.pool.brake.failed(now)
            self._fall_back(outcome, now)
        else:
            self._fail(outcome, problem)

    def _turned_away(self) -> None:
        """The arm's bulkhead and its queue are full: nothing was sent."""
        if self._may_fall_back():
            self._fall_back(recorder.OVERLOADED, self._context.monotonic())
        else:
            detail = f"version {self._arm.version} of model {self._arm.model} has all it can hold"
            self._give_up(recorder.OVERLOADED, problems.VERSION_OVERLOADED, detail)

    def _may_fall_back(self) -> bool:  # ADR 0013
        stable = self._route.stable
        return self._arm is not stable and self.accounting.is_evidence and stable.pool.budget.take()

    def _fall_back(self, outcome: int, now: float) -> None:
        """Count the canary's failure and let stable answer, without a coin."""
        stable = self._route.stable
        self._arm.totals.fallbacks += 1
        self._settle(outcome)
        self._since = now
        self._arm = stable
        self.accounting.count_excluded(stable, now)
        self._take_note()
        self._client.resume_reading()
        self._forward()

    def _fail(self, outcome: int, problem: Problem) -> None:
        """The upstream is to blame."""
        upstream = self._attempt.upstream
        if upstream is not None:
            now = self._context.monotonic()
            upstream.failed(now)
            if self.accounting.is_evidence:
                self._arm.pool.brake.failed(now)
        self._give_up(outcome, problem, f"version {self._arm.version} of model {self._arm.model}")

    # ------------------------------------------------------------------ endings

    def _record(self, now: float) -> None:
        """Count the outcome of an answer whose last byte is about to be written."""
        status = self._status
        self._phase = OVER
        outcome = recorder.OK if status < 400 else recorder.CLIENT_ERROR if status < 500 else recorder.UPSTREAM_ERROR
        witness = self._witness
        if witness is not None:
            outcome = witness.judged(outcome)
            witness.end(outcome, self._context.monotonic(), self.accounting)
        self.accounting.count_outcome(outcome, now)

    def _end(self) -> None:
        """The answer is written."""
        self._attempt.let_go()
        if self._witness is not None:
            self._witness.pass_on(clean_end=True)
        self._client.exchange_ended(close=self.close_after)

    def _settle(self, outcome: int) -> None:
        """Record an early end and let go of the upstream."""
        now = self._context.monotonic()
        witness = self._witness
        if witness is not None:
            witness.end(outcome, now, self.accounting)
            witness.end_early(self._attempt.held if self.body_ended else None)
        self.accounting.count_outcome(outcome, now)
        self._attempt.let_go()
        if self._phase == QUEUED:
            self._arm.pool.stop_waiting(self)
        self._phase = OVER
        if witness is not None:
            witness.pass_on(clean_end=False)

    def _give_up(self, outcome: int, problem: Problem, detail: str) -> None:
        """Say so to the client, or cut an answer that had begun."""
        begun = self.answering
        self._settle(outcome)
        if begun:
            self._client.cut()
            return
        close = self.close_after or not self.body_ended
        request_id = self._request.request_id
        self._client.write(problems.response(problem, detail, request_id, close=close, with_body=not self.to_head))
        self._client.exchange_ended(close=close)

    # ------------------------------------------------------------------ deadlines

    def sweep(self, now: float) -> None:
        """Look at every deadline of this exchange."""
        if now - self.accounting.drawn > self._route.latency_horizon_s:
            self.accounting.count_latency(now)
        # While it is the client's turn, its connection watches how fast it is.
        if self._moved or self._is_clients_turn():
            self._moved = False
            if self._phase in (SENDING, RELAYING):
                self._since = now
        pool = self._arm.pool
        if now - self.accounting.drawn > pool.timeouts.total_s or now - self._since > self._allowed_s():
            self._out_of_time()
        elif pool.cuts(self.accounting.drawn, now):
            detail = f"version {self._arm.version} lost its traffic"
            self._give_up(recorder.CANCELLED, problems.VERSION_WITHDRAWN, detail)

    def _allowed_s(self) -> float:
        """How long the present phase may go on without a byte."""
        timeouts = self._arm.pool.timeouts
        if self._phase <= CONNECTING:
            return timeouts.connect_s
        if self._phase == AWAITING:
            return timeouts.first_byte_s
        return timeouts.idle_s

    def _is_clients_turn(self) -> bool:
        """Whether the next byte has to be read or sent by the client."""
        if self._phase == RELAYING:
            return self._client.is_write_paused
        return self._phase == SENDING and not self._client.is_read_paused

    def _out_of_time(self) -> None:
        if self._phase == QUEUED:
            self._turned_away()
        elif self._phase == CONNECTING:
            self._cannot_connect(recorder.TIMEOUT, problems.UPSTREAM_TIMEOUT)
        elif self._is_clients_turn():
            self._give_up(recorder.CANCELLED, problems.REQUEST_TIMEOUT, "the client stopped sending or reading")
        else:
            self._fail(recorder.TIMEOUT, problems.UPSTREAM_TIMEOUT)
