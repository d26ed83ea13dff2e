"""The uvicorn HTTP protocol class: bytes in, exchanges out, the gateway's own paths to FastAPI.

Rule: one request is served at a time and in order; every request on the listener passes the same
strict head, whoever answers it. An inference exchange touches no ASGI scope, task or timer.
"""

from typing import TYPE_CHECKING, Final

from app.proxy import problems
from app.proxy.alike import Alike, Habit
from app.proxy.collected_body import CollectedBody, NamedInBody, ServerOptions, WholeRequest, is_named_in_body
from app.proxy.connection import COLLECTING, EXCHANGING, LINGERING, READING_HEAD, Connection
from app.proxy.exchange import Exchange
from app.proxy.framing import CRLF, HEAD_END
from app.proxy.judge import Judge, check_next
from app.proxy.own_paths import FEEDBACK_PATH, OWN_PREFIX, OwnRequest, Uvicorn
from app.proxy.request_head import Refused, RequestHead, body_too_large, head_too_large, malformed
from app.proxy.routes import BadTarget, NoRoute, Target

if TYPE_CHECKING:
    from app.proxy.gateway import Gateway

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
_FIRST_LETTER: Final = ord("A")
_MAX_PENDING: Final = 64 * 1024


class ClientConnection(Connection):
    """What comes over one client connection: requests, one after the other."""

    __slots__ = ("_habit", "_judge", "_max_head")

    def __init__(self, gateway: "Gateway", uvicorn: Uvicorn) -> None:
        super().__init__(gateway, uvicorn)
        self._habit = Habit()
        self._judge = Judge()
        self._max_head = gateway.limits.head_bytes

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

    # ------------------------------------------------------------------ for the exchange

    def exchange_ended(self, *, close: bool) -> None:
        """The answer is written: go on with the next request, or close."""
        self._exchange = None
        if self._whole is not None:
            self._release_body(self._whole)
        self._since = 0.0
        if close or self._gateway.draining:
            self._close()
            return
        self._state = READING_HEAD
        if self.is_read_paused:
            self.resume_reading()
        if self._body.rest:
            self._uvicorn.loop.call_soon(self._go_on)

    # ------------------------------------------------------------------ heads

    def _go_on(self) -> None:
        """Read the request that came while the one before it was served."""
        data = self._body.rest
        if data and self._state == READING_HEAD and not self.is_write_paused:
            self._body.rest = b""
            self._read_head(data)

    def _read_head(self, data: bytes) -> None:
        """Bytes of a head, or a head with all or some of its body, or with more behind it."""
        started = self._gateway.monotonic()
        alike = None if self._held else self._habit.recognised(data)
        try:
            if alike is None:
                self._read_new_head(data, started)
            else:
                self._body.left = 0
                self._serve(alike.request, data[self._habit.tail_at :], started, ids=alike)
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
            raise head_too_large(buffer, self._gateway.limits)
        head = buffer[:end]
        known = self._gateway.heads.known.get(head)
        if known is None and not self._held and self._serve_alike(head, buffer[end + 2 :], started):
            return
        request = known or RequestHead(head, self._gateway.limits)
        left = request.length - (len(buffer) - end - 4)
        if request.length < 0 or left < 0:
            self._read_odd_body(request, buffer, data, end + 4, started)
            return
        # A known head with its whole body need not be shown to llhttp at all.
        if known is None or left or self._held:
            self._judge.hear_head(data, request)
            self._held = b""
            self._gateway.heads.offer(head, request)
        else:
            self._habit.note(head, request)
        self._body.left = left
        self._serve(request, buffer[end + 2 :], started)

    def _serve_alike(self, head: bytes, tail: bytes, started: float) -> bool:
        """Serve a request whose head was read before but for its ids; whether this is one, with its whole body."""
        gateway = self._gateway
        alike = gateway.heads.find_alike(head)
        if alike is None or alike.request.length != len(tail) - len(CRLF):
            return False
        request = alike.request
        table = gateway.compiled
        target = table.known.get(request.host + request.url if table.hosts_matter else request.url)
        if target is None:
            return False
        self._habit.note(head, request, alike)
        self._serve(request, tail, started, target, ids=alike)
        return True

    def _hold(self, started: float, buffer: bytes, data: bytes) -> None:
        """Wait for the rest of a head. Raises: Refused."""
        if len(buffer) > self._max_head:
            raise head_too_large(buffer, self._gateway.limits)
        if not buffer:
            # Blank lines alone begin nothing, and keep no connection alive.
            return
        self._judge.hear(data)
        if not self._held:
            self._since = started
        self._held = buffer

    def _serve(
        self,
        request: RequestHead,
        tail: bytes,
        started: float,
        target: Target | None = None,
        span: tuple[int, int] | None = None,
        ids: Alike | None = None,
    ) -> None:
        """Begin the exchange that a complete head asks for.

        Args:
            request: The head.
            tail: The line end before the body, and body bytes, decoded.
            started: When its last bytes were read, on the monotonic clock.
            target: Where it leads, when its body said so.
            span: Where the body names the model; None when it need not.
            ids: Its own, where they are not in the head.

        Raises: Refused.
        """
        gateway = self._gateway
        if target is None:
            table = gateway.compiled
            known = table.known.get(request.host + request.url if table.hosts_matter else request.url)
            target = known or self._look_up(request, tail, started)
            if target is None:
                return
        request_id = request.request_id if ids is None else ids.request_id
        if request.relayed is None:
            forwarded = request.authority.join(self._origin.parts)
        else:
            forwarded = self._origin.told(request.authority, request.relayed)
        if not request.has_trace:
            forwarded = ((ids.trace if ids is not None else b"") or gateway.traces.begin()) + forwarded
        if self._body.left:
            self._await_body(request, started)
        if request.length < 0:
            tail = CRLF + self._body.as_chunks(tail[2:])
        self._state = EXCHANGING
        self._exchange = exchange = Exchange(gateway, self, request, target, request_id, forwarded, started)
        exchange.start(tail, ended=not self._body.left, model_span=span)
        gateway.tell_overhead(started)

    def _look_up(self, request: RequestHead, tail: bytes, started: float) -> Target | None:
        """Route a path for the first time; None when the request goes another way. Raises: Refused."""
        if request.url.startswith(OWN_PREFIX):
            self._begin_own(request, tail, started)
            return None
        if request.url == b"*":
            body = self._collected(request, self._gateway.limits.own_body_bytes)
            self._begin_whole(request, ServerOptions(request, body), tail, started)
            return None
        try:
            return self._gateway.compiled.find(request.url, request.host, request.asked_model)
        except BadTarget:
            raise malformed("the target is not a plain path") from None
        except NoRoute as unrouted:
            if is_named_in_body(request):
                self._begin_named(request, tail, started)
            else:
                self._answer_unrouted(request, unrouted.model)
            return None

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
        check_next(body.rest, self._gateway.limits, self._gateway.heads)
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

    # ------------------------------------------------------------------ the gateway's own answers

    def answer_options(self, request: RequestHead) -> None:
        """What the server as a whole can do (RFC 9110 §9.3.7)."""
        close = self._is_last(request)
        self.write(_NO_CONTENT + (b"connection: close\r\n\r\n" if close else CRLF))
        self.exchange_ended(close=close)

    def _answer_unrouted(self, request: RequestHead, model: str | None) -> None:
        problem, detail = problems.unrouted(model, ready=self._gateway.table.revision >= 0)
        close = self._is_last(request)
        request_id = request.request_id or self._gateway.new_request_id()
        with_body = request.method != b"HEAD"
        self.write(problems.response(problem, detail, request_id, close=close, with_body=with_body))
        self.exchange_ended(close=close)

    def _is_last(self, request: RequestHead) -> bool:
        """Whether the connection ends with an answer given now."""
        return not request.keep_alive or self._body.left != 0 or self._gateway.draining

    # ------------------------------------------------------------------ requests that need their whole body

    def _begin_own(self, request: RequestHead, tail: bytes, started: float) -> None:
        """A request to the gateway itself. Raises: Refused."""
        request_id = request.request_id or self._gateway.new_request_id()
        limits = self._gateway.limits
        is_feedback = request.url.partition(b"?")[0] == FEEDBACK_PATH
        body = self._collected(request, limits.feedback_body_bytes if is_feedback else limits.own_body_bytes)
        self._begin_whole(request, OwnRequest(request, request_id, body), tail, started)

    def _begin_named(self, request: RequestHead, tail: bytes, started: float) -> None:
        """A request whose body names the model. Raises: Refused."""
        body = self._collected(request, self._gateway.limits.routed_body_bytes)
        self._begin_whole(request, NamedInBody(request, body), tail, started)

    def _collected(self, request: RequestHead, limit: int) -> CollectedBody:
        if request.length > limit:
            raise body_too_large(limit)
        return CollectedBody(limit, self._gateway.collected)

    def _begin_whole(self, request: RequestHead, whole: WholeRequest, tail: bytes, started: float) -> None:
        self._state = COLLECTING
        self._whole = whole
        if self._body.left:
            self._await_body(request, started)
        self._collect(whole, tail[2:])

    def _await_body(self, request: RequestHead, started: float) -> None:
        """Some of the body is still to come."""
        self._since = started
        self._send_pace.restart()
        if request.expect_continue:
            self.write(_CONTINUE)

    def _collect(self, whole: WholeRequest, payload: bytes) -> None:
        """Body bytes, decoded; after the last the request goes on. Raises: Refused."""
        whole.body.add(payload)
        if not self._body.left:
            whole.go_on(self)

    def hand_over(self, message: bytes) -> None:
        self._forget()
        self._cancel()
        self.resume_reading()
        self._uvicorn.serve(self._transport, message)

    def serve_named(self, request: RequestHead, tail: bytes, name: bytes, span: tuple[int, int]) -> None:
        try:
            target = self._gateway.compiled.find_named(name, request.url)
        except NoRoute as unrouted:
            self._answer_unrouted(request, unrouted.model)
        else:
            self._serve(request, tail, self._gateway.monotonic(), target, span)
