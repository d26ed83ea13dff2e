"""One client connection, read strictly: requests in order, holding back, deadlines and ends.

Rule: every request on every port passes this head and these bounds, or is refused with a problem. Every state a
connection can be in has a deadline, and one sweep looks at all of them; a client that is too slow is told so while
nothing was answered, and cut where something was.
"""

import asyncio
from math import inf
from typing import Final

from app.proxy.downstream.asgi_answer import Answer
from app.proxy.downstream.clock import ClientClock
from app.proxy.downstream.own_paths import OwnRequest, Uvicorn
from app.proxy.downstream.port import Port
from app.proxy.downstream.sockets import reset, unread
from app.proxy.downstream.whole_body import CollectedBody, WholeRequest
from app.proxy.exchange.exchange import Exchange
from app.proxy.http1 import problems
from app.proxy.http1.forwarded import Origin
from app.proxy.http1.framing import CRLF, HEAD_END
from app.proxy.http1.llhttp_check import Judge, check_next
from app.proxy.http1.problems import Problem
from app.proxy.http1.request_body import RequestBody
from app.proxy.http1.request_head import Refused, RequestHead, body_too_large, head_too_large, malformed
from app.proxy.http1.request_heads import Alike, Habit
from app.recording.accounting import Accounting

READING_HEAD, EXCHANGING, COLLECTING, LINGERING, CLOSED = range(5)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
_FIRST_LETTER: Final = ord("A")
_MAX_PENDING: Final = 64 * 1024


class StrictConnection(asyncio.Protocol):  # ADR 0135
    """Reads requests, one at a time and in order; what one leads to is a subclass's to say.

    Attributes:
        is_write_paused: Whether the client is not reading its answers fast enough.
        is_read_paused: Whether this side has stopped reading from the client.
        write: The transport's own.
    """

    __slots__ = (
        "_answer",
        "_body",
        "_clock",
        "_exchange",
        "_habit",
        "_held",
        "_is_kept_alive",
        "_judge",
        "_max_head",
        "_origin",
        "_port",
        "_state",
        "_transport",
        "_uvicorn",
        "_whole",
        "is_read_paused",
        "is_write_paused",
        "write",
    )

    _origin: Origin

    def __init__(self, port: Port, uvicorn: Uvicorn) -> None:
        self._port = port
        self._uvicorn = uvicorn
        self._state = READING_HEAD
        self._clock = ClientClock(port.limits)
        self._held = b""
        self._body = RequestBody(port.limits.body_bytes)
        self._exchange: Exchange | None = None
        self._answer: Answer | None = None
        self._whole: WholeRequest | None = None
        self._habit = Habit()
        self._judge = Judge()
        self._max_head = port.limits.head_bytes
        self._is_kept_alive = self.is_read_paused = self.is_write_paused = False

    # ------------------------------------------------------------------ what subclasses say

    def _serve(self, request: RequestHead, tail: bytes, started: float, ids: Alike | None = None) -> None:
        """Begin what a complete head asks for.

        Args:
            request: The head.
            tail: The line end before the body, and body bytes, decoded.
            started: When its last bytes were read, on the monotonic clock.
            ids: Its own, where they are not in the head.

        Raises: Refused.
        """
        raise NotImplementedError

    def _serve_alike(self, _head: bytes, _tail: bytes, _started: float) -> bool:
        """Serve a request whose head was read before but for its ids; whether this is one, with its whole body."""
        return False

    # ------------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP has no other
        self._transport = transport
        self.write = transport.write
        port = self._port
        transport.set_write_buffer_limits(high=port.limits.client_unread_bytes)
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self._origin = origin = Origin(peer, local, port.trusted_proxies)
        connections = self._uvicorn.server_state.connections
        refusal = port.refusal(origin.address, len(connections))
        if refusal is not None:
            self._state = CLOSED
            self.write(problems.response(problems.TOO_MANY_CONNECTIONS, refusal, port.new_request_id(), close=True))
            transport.close()
            return
        # uvicorn only ever calls shutdown() on what is in there.
        connections.add(self)  # type: ignore[arg-type]
        port.clients.add(self)
        self._clock.since = port.monotonic()

    def data_received(self, data: bytes) -> None:
        if self._state == READING_HEAD and not self._body.rest and not self.is_write_paused:
            self._read_head(data)
        elif self._state >= LINGERING:
            return
        elif self._body.left:
            self._read_body(data)
        else:
            self._body.rest += data
            if len(self._body.rest) > _MAX_PENDING:
                self.pause_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._forget()
        self._cancel()

    def _cancel(self) -> None:
        """The client gets no more of its answer."""
        self._state = CLOSED
        exchange = self._exchange
        self._exchange = None
        if self._whole is not None:
            self._release_body(self._whole)
        if exchange is not None:
            exchange.client_left()
        answer = self._answer
        self._answer = None
        if answer is not None:
            answer.leave()

    def pause_writing(self) -> None:
        self.is_write_paused = True
        if self._exchange is not None:
            self._exchange.client_full()
        elif self._answer is not None:
            self._answer.pause_writing()

    def resume_writing(self) -> None:
        self.is_write_paused = False
        self._clock.has_drained()
        if self._exchange is not None:
            self._exchange.client_drained()
        elif self._answer is not None:
            self._answer.resume_writing()
        else:
            self._go_on()

    # ------------------------------------------------------------------ for whoever answers

    def exchange_ended(self, *, close: bool) -> None:
        """The answer is written: go on with the next request, or close."""
        self._exchange = None
        if self._whole is not None:
            self._release_body(self._whole)
        self._clock.since = 0.0
        if close or self._port.draining:
            self._close()
            return
        self._state = READING_HEAD
        if self.is_read_paused:
            self.resume_reading()
        if self._body.rest:
            self._uvicorn.loop.call_soon(self._go_on)

    def answer_ended(self, *, close: bool) -> None:
        """The application's answer is written, or broke off."""
        self._answer = None
        self._is_kept_alive = True
        self.exchange_ended(close=close)
        if self._state == READING_HEAD:
            self._clock.since = self._port.monotonic()

    def is_last(self, request: RequestHead) -> bool:
        """Whether the connection ends with an answer given now."""
        return not request.keep_alive or self._body.left != 0 or self._port.draining

    def answer_options(self, request: RequestHead) -> None:
        """What the server as a whole can do (RFC 9110 §9.3.7)."""
        close = self.is_last(request)
        self.write(_NO_CONTENT + (b"connection: close\r\n\r\n" if close else CRLF))
        self.exchange_ended(close=close)

    def hand_over(self, message: bytes) -> None:
        """Let the listener's application answer this message."""
        self._state = EXCHANGING
        self._clock.since = 0.0
        self._answer = self._uvicorn.answer()
        self._answer.begin(message, self._transport, self)

    def serve_named(self, request: RequestHead, tail: bytes, name: bytes, span: tuple[int, int]) -> None:
        """Only where there are models does a body name one."""
        raise NotImplementedError

    # ------------------------------------------------------------------ heads

    def _go_on(self) -> None:
        """Read the request that came while the one before it was served."""
        data = self._body.rest
        if data and self._state == READING_HEAD and not self.is_write_paused:
            self._body.rest = b""
            self._read_head(data)

    def _read_head(self, data: bytes) -> None:
        """Bytes of a head, or a head with all or some of its body, or with more behind it."""
        started = self._port.monotonic()
        alike = None if self._held else self._habit.recognised(data)
        try:
            if alike is None:
                self._read_new_head(data, started)
            else:
                self._body.left = 0
                self._serve(alike.request, data[self._habit.tail_at :], started, alike)
        except Refused as refused:
            self._refuse(refused.problem, refused.detail)

    def _read_new_head(self, data: bytes, started: float) -> None:
        """The same, where this connection's last head was another one. Raises: Refused."""
        buffer = self._held + data if self._held else data
        if buffer[0] < _FIRST_LETTER:
            # A blank line before a request line is to be ignored (RFC 9112 §2.2).
            buffer = data = buffer.lstrip(CRLF)
        end = buffer.find(HEAD_END)
        if end < 0:
            self._hold(started, buffer, data)
            return
        if end > self._max_head:
            raise head_too_large(buffer, self._port.limits)
        head = buffer[:end]
        known = self._port.heads.known.get(head)
        if known is None and not self._held and self._serve_alike(head, buffer[end + 2 :], started):
            return
        request = known or RequestHead(head, self._port.limits)
        left = request.length - (len(buffer) - end - 4)
        if request.length < 0 or left < 0:
            self._read_odd_body(request, buffer, data, end + 4, started)
            return
        # A known head with its whole body need not be shown to llhttp at all.
        if known is None or left or self._held:
            self._judge.hear_head(data, request)
            self._held = b""
            self._port.heads.offer(head, request)
        else:
            self._habit.note(head, request)
        self._body.left = left
        self._serve(request, buffer[end + 2 :], started)

    def _hold(self, started: float, buffer: bytes, data: bytes) -> None:
        """Wait for the rest of a head. Raises: Refused."""
        if len(buffer) > self._max_head:
            raise head_too_large(buffer, self._port.limits)
        if not buffer:
            # Blank lines alone begin nothing, and keep no connection alive.
            return
        self._judge.hear(data)
        if not self._held:
            self._clock.since = started
        self._held = buffer

    # ------------------------------------------------------------------ bodies

    def _read_odd_body(self, request: RequestHead, buffer: bytes, data: bytes, start: int, started: float) -> None:
        """A body that is chunked, or that has another request behind it. Raises: Refused."""
        body = self._body
        if request.length < 0:
            end = start
            body.be_chunked()
        else:
            end = start + request.length
            body.left = request.length
        self._judge.hear_head(data[: end - len(buffer)] if end < len(buffer) else data, request)
        self._held = b""
        if request.length < 0:
            # llhttp has seen the head only; this side follows the chunks, so it cannot go on.
            self._judge.forget()
        payload = body.take(buffer[start:])
        if not request.keep_alive and body.rest.strip(CRLF):
            raise malformed("something follows a request that ends the connection")
        check_next(body.rest, self._port.limits, self._port.heads.known)
        self._serve(request, CRLF + payload, started)

    def _read_body(self, data: bytes) -> None:
        body = self._body
        try:
            if body.is_chunked:
                payload = body.take(data)
                wire = body.as_chunks(payload)
            else:
                payload = wire = body.take(data)
                self._judge.hear_body(payload)
            if self._exchange is not None:
                self._exchange.more_body(wire, ended=not body.left)
            elif self._whole is not None:
                self._collect(self._whole, payload)
        except Refused as refused:
            self._abandon(refused)

    # ------------------------------------------------------------------ requests that need their whole body

    def _begin_own(self, request: RequestHead, limit: int, tail: bytes, started: float) -> None:
        """A request to the gateway itself. Raises: Refused."""
        request_id = request.request_id or self._port.new_request_id()
        self._begin_whole(request, OwnRequest(request, request_id, self._collected(request, limit)), tail, started)

    def _collected(self, request: RequestHead, limit: int) -> CollectedBody:
        if request.length > limit:
            raise body_too_large(limit)
        return CollectedBody(limit, self._port.collected)

    def _begin_whole(self, request: RequestHead, whole: WholeRequest, tail: bytes, started: float) -> None:
        self._state = COLLECTING
        self._whole = whole
        if self._body.left:
            self._await_body(request, started)
        self._collect(whole, tail[2:])

    def _await_body(self, request: RequestHead, started: float) -> None:
        """Some of the body is still to come."""
        self._clock.await_body(started)
        if request.expect_continue:
            self.write(_CONTINUE)

    def _collect(self, whole: WholeRequest, payload: bytes) -> None:
        """Body bytes, decoded; after the last the request goes on. Raises: Refused."""
        whole.body.add(payload)
        if not self._body.left:
            whole.go_on(self)

    # ------------------------------------------------------------------ for uvicorn and the port

    @property
    def open_accounting(self) -> Accounting | None:
        """Of the exchange under way."""
        return None if self._exchange is None else self._exchange.accounting

    def shutdown(self) -> None:
        """End with the next answer, or when idle for a moment; called by uvicorn, too.

        An idle connection is not closed at once: its client may be sending, and could not tell what became of that.
        """
        self._port.begin_to_drain()
        if self._exchange is not None:
            self._exchange.close_after = True
        elif self._answer is not None:
            self._answer.shutdown()

    def sweep(self, now: float) -> None:
        """Look at every deadline of this connection."""
        if self._exchange is not None:
            self._exchange.sweep(now)
        elif self._state >= LINGERING:
            self._sweep_ending(now)
        else:
            self._sweep_waiting(self._clock.waited_s(now))
        if self._body.left and self._state <= COLLECTING:
            late = self._clock.look_at_upload(now, self._body.received, is_paused=self.is_read_paused)
            if late is not None:
                self._abandon(Refused(problems.REQUEST_TIMEOUT, late))
        if self._state <= COLLECTING:
            if self.is_write_paused:
                self._sweep_reading(now, unread(self._transport))
            else:
                self._clock.rest_reading()

    def _sweep_waiting(self, waited_s: float) -> None:
        """No exchange is under way."""
        limits, draining = self._port.limits, self._port.draining
        if self._held:
            if waited_s > limits.head_s:
                self._refuse(problems.REQUEST_TIMEOUT, f"it has to arrive within {limits.head_s:g} s")
        elif self._answer is not None:
            if waited_s > limits.answer_s and not self._answer.is_stream:
                self.cut()
        elif self._state == READING_HEAD and waited_s > (limits.drain_idle_s if draining else limits.keep_alive_s):
            self._close()

    def _sweep_ending(self, now: float) -> None:
        """The last answer is written; the client may still have to read it, or to stop sending."""
        left = unread(self._transport)
        if left or self._clock.since == 0.0:
            self._clock.since = now
            self._sweep_reading(now, left)
        elif now - self._clock.since > self._port.limits.linger_s:
            self._transport.abort()

    def _sweep_reading(self, now: float, left: int) -> None:
        """The client has more to read than fits into what is held for it."""
        if self._answer is not None and self._answer.is_stream:
            # Whoever follows what is told as it happens reads it at leisure.
            self._clock.rest_reading()
        elif self._clock.reads_too_slowly(now, left):
            self.cut()

    # ------------------------------------------------------------------ hold-back

    def pause_reading(self) -> None:
        if not self.is_read_paused and not self._transport.is_closing():
            self.is_read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.is_read_paused and not self._transport.is_closing():
            self.is_read_paused = False
            self._transport.resume_reading()

    # ------------------------------------------------------------------ ends

    def cut(self) -> None:
        """Reset the connection, so that no client takes a broken answer for a whole one."""
        self._cancel()
        reset(self._transport)

    def _abandon(self, refused: Refused) -> None:
        """The body broke off in a way that cannot be repaired: cancel, and say so if nothing was said yet."""
        if self._exchange is not None and self._exchange.answering:
            self.cut()
        else:
            self._cancel()
            self._refuse(refused.problem, refused.detail)

    def dispensable(self) -> tuple[int, float] | None:
        """How soon it makes room for a new connection, the least first; None while a request is under way.

        First one that has ended but for its client, then one that is kept alive, one whose first or whose begun
        request is still to come, a stream that nobody reads; of two alike the one that waits longer.
        """
        since = self._clock.since or inf
        if self._state >= LINGERING:
            return 0, since
        if self._state == READING_HEAD and self._is_kept_alive and not self._held:
            return 1, since
        if self._state in {READING_HEAD, COLLECTING}:
            return 2, since
        if self._answer is not None and self._answer.is_stream and self.is_write_paused:
            return 3, since
        return None

    def make_room(self) -> None:
        """End now, because another connection needs the place."""
        if self._held or self._state == COLLECTING:
            detail = "a new connection took the place of this one, whose request did not come"
            request_id = self._port.new_request_id()
            self.write(problems.response(problems.TOO_MANY_CONNECTIONS, detail, request_id, close=True))
        self._forget()
        self._cancel()
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def _refuse(self, problem: Problem, detail: str) -> None:
        """Answer what cannot be served, and close; nothing that follows is believed."""
        self._body.left = -1
        self._exchange = None
        self.write(problems.response(problem, detail, self._port.new_request_id(), close=True))
        self._close()

    def _close(self) -> None:
        """Close after what is written; a client that still sends gets time to read the answer."""
        self._clock.since = 0.0
        self._body.rest = self._held = b""
        if self._body.left and not self._transport.is_closing():
            self._state = LINGERING
            self.resume_reading()
            self._transport.write_eof()
        else:
            self._state = CLOSED
            self._transport.close()

    def _release_body(self, whole: WholeRequest) -> None:
        self._whole = None
        whole.body.release()

    def _forget(self) -> None:
        connections = self._uvicorn.server_state.connections
        if self in connections:
            connections.discard(self)
            self._port.clients.discard(self)
            self._port.admission.leave(self._origin.address)
