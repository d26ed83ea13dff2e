"""What comes over one client connection, read strictly: one request at a time and in order, whoever answers.

Rule: every request on every port passes this head and these bounds, or is refused with a problem.
"""

from typing import Final

from app.proxy.downstream.connection import COLLECTING, EXCHANGING, LINGERING, READING_HEAD, Connection
from app.proxy.downstream.own_paths import OwnRequest, Uvicorn
from app.proxy.downstream.port import Port
from app.proxy.downstream.whole_body import CollectedBody, WholeRequest
from app.proxy.http1.framing import CRLF, HEAD_END
from app.proxy.http1.llhttp_check import Judge, check_next
from app.proxy.http1.request_head import Refused, RequestHead, body_too_large, head_too_large, malformed
from app.proxy.http1.request_heads import Alike, Habit

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
_FIRST_LETTER: Final = ord("A")
_MAX_PENDING: Final = 64 * 1024


class StrictConnection(Connection):
    """Reads requests; what one leads to is a subclass's to say."""

    __slots__ = ("_habit", "_judge", "_max_head")

    def __init__(self, port: Port, uvicorn: Uvicorn) -> None:
        super().__init__(port, uvicorn)
        self._habit = Habit()
        self._judge = Judge()
        self._max_head = port.limits.head_bytes

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
