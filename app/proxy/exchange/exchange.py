"""The life of one exchange: route, draw, forward, relay, record.

Rule: a client that leaves is never held against a version; an exchange is recorded before the last
byte of its answer is written; and once a byte of an answer has been sent, a broken answer is cut,
never ended.
"""

from typing import Final

from app.domain.evidence.tally import Counter
from app.proxy.exchange.attempt import AWAITING, CONNECTING, OVER, QUEUED, RELAYING, SENDING, Outgoing
from app.proxy.exchange.client import AnsweredClient
from app.proxy.exchange.context import ExchangeContext
from app.proxy.exchange.forwarded_request import ForwardedRequest
from app.proxy.exchange.mirror import Primary
from app.proxy.http1 import chunks, problems
from app.proxy.http1 import response_head as framed
from app.proxy.http1.framing import CRLF
from app.proxy.http1.problems import Problem
from app.proxy.http1.response_head import ResponseHead
from app.proxy.observing.note import Note
from app.proxy.responses.reading import Follower
from app.recording import recorder

# Bodies up to here are cheaper copied behind their head than written apart.
_JOINED: Final = 16 * 1024


class Exchange(Outgoing):
    """One inference request and its response."""

    __slots__ = ("_chunked", "_follower", "_note", "_primary", "_status")

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
        """As the request's half."""
        super().__init__(context, client, request, tail, now, ended=ended, close_after=close_after)
        self._chunked = False
        self._status = 0
        self._follower: Follower | None = None
        self._note: Note | None = None
        self._primary: Primary | None = None

    @property
    def answering(self) -> bool:
        """Whether a byte of the upstream's answer may have been sent."""
        return self._phase == RELAYING

    def start(self) -> None:
        """Draw the arm and forward what has been read."""
        if self._request.head.forced_version:
            self._obey()
        else:
            self._draw()
            if self._route.is_watched:
                self._take_note()
            self._forward()

    def _obey(self) -> None:
        """Send it where an operator wants it, outside of all evidence."""
        request = self._request.head
        arm = self._route.arms.get(request.forced_version)
        if not self._context.may_override(request.override_key):
            self._give_up(recorder.CANCELLED, problems.OVERRIDE_REFUSED, "the override key is not the operators'")
        elif arm is None:
            self._give_up(recorder.CANCELLED, problems.UNKNOWN_VERSION, f"model {self.arm.model} has no such version")
        else:
            self._arm = arm
            self.count_excluded(arm, self._since)
            self._recorder.count(arm, {Counter.FORCED: 1}, self._since)
            self._take_note()
            self._forward()

    def _draw(self) -> None:
        """Toss the coin, where there is something to toss it for."""
        route = self._route
        if not route.others:
            self.count_draw(route.stable)
        elif route.open_brakes.brakes and route.is_held_back():
            self.count_excluded(route.stable, self._since)
        elif route.sticky is None:
            self._arm = arm = route.draw(self._context.coin())
            self.count_draw(arm)
        else:
            place = route.sticky.place(self._request.head.lines, self._context.coin)
            self._arm = arm = route.draw(place.point)
            self.count_draw(arm, place.unit, route.sticky.salted_at)
        if route.mirror is not None and self._arm is not route.mirror and self._context.coin() < route.mirror_share:
            self._primary = Primary(route.mirror)

    def _take_note(self) -> None:
        route = self._route
        if not route.is_watched:
            return
        share = route.watched.sample_share
        sampled = share >= 1.0 or self._context.coin() < share
        self._note = Note(
            route.watched,
            self._arm,
            self._request.head,
            self._request.request_id,
            self.second,
            self.generation,
            is_stable=self._arm is route.stable,
            sampled=sampled,
            is_inference=self.reader.is_inference,
        )

    # ------------------------------------------------------------------ called by the upstream connection

    def head_received(self, head: ResponseHead, framing: int, tail: bytes, ended: bool) -> None:
        """The response's head has come, perhaps with all of its body.

        Args:
            head: What it says.
            framing: How the body ends, see app.proxy.http1.response_head.
            tail: The line end before the body, and body bytes; those of chunks decoded.
            ended: Whether these are all; then the upstream connection is somebody else's already.
        """
        now = self._context.monotonic()
        self.count_latency(now)
        self._since = now
        self._phase = RELAYING
        self._status = head.status
        if framing > framed.BY_LENGTH or self._primary is not None or self._note is not None:
            self._follow(head, framing, tail)
        if self._note is not None:
            self._note_head(self._note, head, tail)
        self._held = None
        lines = self._answer_lines(head, now)
        if framing > framed.BY_LENGTH:
            tail = self._frame_anew(lines, tail, ended=ended)
        if self.close_after or not self.body_ended:
            self.close_after = True
            lines.append(b"connection: close")
        if ended:
            self._connection = None
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

    def _answer_lines(self, head: ResponseHead, now: float) -> list[bytes]:
        """The status line and the fields that cross or are the gateway's own."""
        pool = self._arm.pool
        upstream = self._upstream
        if upstream is not None and (upstream.failures or pool.brake.failures):
            pool.answered(upstream)
        lines = [head.front, pool.version_lines + self._request.request_id, self._receipt_line()]
        if self._context.server_timing:
            lines.append(b"server-timing: upstream;dur=%.1f" % ((now - self._drawn) * 1e3))
        return lines

    def _note_head(self, note: Note, head: ResponseHead, tail: bytes) -> None:
        note.status = head.status
        note.size = len(tail) - len(CRLF)
        self._keep_body(note)

    def _keep_body(self, note: Note) -> None:
        """Keep the request's body while it is there, where something in it is looked for."""
        if note.reads and self._route.watched.reads_requests:
            tail = self._request_tail()
            note.body = None if tail is None else self._context.room.kept(tail)

    def _receipt_line(self) -> bytes:
        """What feedback must bring back."""
        exchange = self._request.exchange_id
        arm = self._arm
        if self._note is not None:
            self._note.exchange = exchange
        elif arm is not self._route.stable:
            self._context.observer.answered(
                arm, self.second, self.generation, exchange, self._request.request_id, self._status
            )
        slices = b""
        if self._route.signs_slices:
            slices = self._route.watched.slices.packed(self._request.head.lines)
        signer = arm.signer if self.generation else arm.signer_without_coin
        return signer.receipt(self.second, exchange, slices)

    def _follow(self, head: ResponseHead, framing: int, tail: bytes) -> None:
        """Let whoever wants to know what the answer says hear it."""
        reader = self.reader
        primary = self._primary
        if primary is not None:
            primary.begin(head, self._since - self._drawn, self._request_tail(), reader.tap(head))
            primary.feed(tail[2:])
        if framing == framed.NO_BODY:
            return
        reads = self._note is not None and self._note.reads
        follower = self._follower = reader.follow(head, sampled=reads)
        if follower is not None:
            follower.feed(tail[2:])

    def _frame_anew(self, lines: list[bytes], tail: bytes, *, ended: bool) -> bytes:
        """Say how a body without a length ends, and frame its first bytes."""
        if self._request.head.http_1_0:
            self.close_after = True
            return tail
        self._chunked = True
        lines.append(b"transfer-encoding: chunked")
        return CRLF + chunks.encode(tail[2:], last=ended)

    def body_received(self, data: bytes, ended: bool, wire: bytes) -> None:
        """Bytes of the answer's body, those of chunks decoded; after the last the connection is somebody else's.

        Args:
            data: The payload.
            ended: Whether this is the last of it.
            wire: The same as one canonical chunk, when it came as one.
        """
        self._moved = True
        if self._follower is not None:
            self._follower.feed(data)
        if self._primary is not None:
            self._primary.feed(data)
        if self._note is not None:
            self._note.size += len(data)
        if self._chunked:
            data = wire or chunks.encode(data, last=ended)
        if ended:
            self._connection = None
            self._record(self._since)
        if data:
            self._client.write(data)
        if ended:
            self._end()

    # ------------------------------------------------------------------ called by the client connection

    def client_full(self) -> None:
        if self._connection is not None:
            self._connection.pause_reading()

    def client_drained(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    def client_left(self) -> None:
        """Cancel the upstream at once."""
        self._settle(recorder.CANCELLED)

    # ------------------------------------------------------------------ endings

    def _record(self, now: float) -> None:
        """Count the outcome of an answer whose last byte is about to be written."""
        status = self._status
        self._phase = OVER
        outcome = recorder.OK if status < 400 else recorder.CLIENT_ERROR if status < 500 else recorder.UPSTREAM_ERROR
        if self._follower is not None and not self._follower.ended_well(clean_end=True):
            outcome = recorder.UPSTREAM_ERROR
        if self._note is not None:
            self._note_outcome(self._note, outcome)
        self.count_outcome(outcome, now)

    def _note_outcome(self, note: Note, outcome: int) -> None:
        if self._cell is not None:
            note.outcome = outcome
            note.seconds = self._context.monotonic() - self._drawn

    def _end(self) -> None:
        """The answer is written."""
        self._let_go()
        if self._follower is not None or self._primary is not None or self._note is not None:
            self._pass_on(clean_end=True)
        self._client.exchange_ended(close=self.close_after)

    def _pass_on(self, *, clean_end: bool) -> None:
        """Hand what was copied to those who look at it later."""
        follower, self._follower = self._follower, None
        note, self._note = self._note, None
        if note is not None:
            note.follower = follower if note.reads else None
            note.clean_end = clean_end
            self._context.observer.later(note)
        primary, self._primary = self._primary, None
        if primary is not None and clean_end:
            self._context.mirror_later(self._request, primary)

    def _settle(self, outcome: int) -> None:
        note = self._note
        if note is not None:
            self._note_outcome(note, outcome)
            if not note.status:
                self._keep_body(note)
        super()._settle(outcome)
        if self._follower is not None or note is not None:
            self._pass_on(clean_end=False)

    def _give_up(self, outcome: int, problem: Problem, detail: str) -> None:
        """Say so, or cut an answer that had begun."""
        begun = self.answering
        self._settle(outcome)
        if begun:
            self._client.cut()
            return
        close = self.close_after or not self.body_ended
        self._client.write(
            problems.response(problem, detail, self._request.request_id, close=close, with_body=not self.to_head)
        )
        self._client.exchange_ended(close=close)

    # ------------------------------------------------------------------ deadlines

    def sweep(self, now: float) -> None:
        """Look at every deadline of this exchange."""
        if now - self._drawn > self._route.latency_horizon_s:
            self.count_latency(now)
        # While it is the client's turn, its connection watches how fast it is.
        if self._moved or self._is_clients_turn():
            self._moved = False
            if self._phase in (SENDING, RELAYING):
                self._since = now
        pool = self._arm.pool
        if now - self._drawn > pool.timeouts.total_s or now - self._since > self._allowed_s():
            self._out_of_time()
        elif pool.cuts(self._drawn, now):
            self._give_up(
                recorder.CANCELLED, problems.VERSION_WITHDRAWN, f"version {self.arm.version} lost its traffic"
            )

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
