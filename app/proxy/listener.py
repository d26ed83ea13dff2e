"""The uvicorn HTTP protocol class: bytes in, exchanges out, the gateway's own paths to FastAPI.

Rule: one request is served at a time and in order; every request on the listener passes the same
strict head, whoever answers it. An inference exchange touches no ASGI scope, task or timer.
"""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final

import httptools

from app.proxy import problems
from app.proxy.exchange import Exchange
from app.proxy.framing import CRLF, HEAD_END, remember
from app.proxy.own_paths import OWN_PREFIX, OwnRequest, Uvicorn
from app.proxy.problems import Problem
from app.proxy.request_body import RequestBody
from app.proxy.request_head import Refused, RequestHead, malformed
from app.proxy.routes import BadTarget, NoRoute, Target

if TYPE_CHECKING:
    from app.proxy.gateway import Gateway

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
_FIRST_LETTER: Final = ord("A")
_MAX_PENDING: Final = 64 * 1024
# llhttp is asked only whether it accepts the bytes; nobody listens to what it finds in them.
_NOBODY: Final = object()
_RESET: Final = struct.pack("ii", 1, 0)

READING_HEAD, EXCHANGING, COLLECTING, LINGERING, CLOSED = range(5)


class ClientConnection(asyncio.Protocol):
    """One client connection.

    Attributes:
        is_write_paused: Whether the client is not reading its answers fast enough.
        is_read_paused: Whether this side has stopped reading from the client.
        write: The transport's own.
    """

    __slots__ = (
        "_body",
        "_exchange",
        "_forwarded",
        "_gateway",
        "_held",
        "_max_head",
        "_own",
        "_parser",
        "_since",
        "_state",
        "_transport",
        "_uvicorn",
        "is_read_paused",
        "is_write_paused",
        "write",
    )

    def __init__(self, gateway: "Gateway", uvicorn: Uvicorn) -> None:
        self._gateway = gateway
        self._uvicorn = uvicorn
        self._max_head = gateway.limits.head_bytes
        self._parser: httptools.HttpRequestParser | None = None
        self._state = READING_HEAD
        self._since = 0.0
        self._held = b""
        self._body = RequestBody(gateway.limits.body_bytes)
        self._exchange: Exchange | None = None
        self._own: OwnRequest | None = None
        self._forwarded = b""
        self.is_read_paused = self.is_write_paused = False

    # ------------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP has no other
        self._transport = transport
        self.write = transport.write
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else "unknown"
        self._forwarded = b"x-forwarded-proto: http\r\nx-forwarded-for: %b\r\nx-forwarded-host: " % address.encode()
        # uvicorn only ever calls shutdown() on what is in there.
        self._uvicorn.server_state.connections.add(self)  # type: ignore[arg-type]
        self._gateway.clients.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._forget()
        self._cancel()

    def _cancel(self) -> None:
        """The client gets no more of its answer."""
        self._state = CLOSED
        exchange = self._exchange
        self._exchange = None
        if exchange is not None:
            exchange.client_left()

    def pause_writing(self) -> None:
        self.is_write_paused = True
        if self._exchange is not None:
            self._exchange.client_full()

    def resume_writing(self) -> None:
        self.is_write_paused = False
        if self._exchange is not None:
            self._exchange.client_drained()
        else:
            self._go_on()

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

    # ------------------------------------------------------------------ for uvicorn and the gateway

    def shutdown(self) -> None:
        """Close now if nothing is under way, else after this exchange; called by uvicorn, too."""
        self._gateway.draining = True
        if self._exchange is not None:
            self._exchange.close_after = True
        elif self._state == READING_HEAD and not self._held:
            self._close()

    def sweep(self, now: float) -> None:
        """Look at every deadline of this connection."""
        if self._exchange is not None:
            self._exchange.sweep(now)
        elif self._since == 0.0:
            self._since = now
        else:
            self._sweep_own(now - self._since)

    def _sweep_own(self, waited_s: float) -> None:
        limits = self._gateway.limits
        if self._state >= LINGERING:
            unread = self._transport.get_write_buffer_size() > 0
            if waited_s > (limits.client_idle_s if unread else limits.linger_s):
                self._transport.abort()
        elif self._held or self._state == COLLECTING:
            if waited_s > limits.head_s:
                self._refuse(problems.REQUEST_TIMEOUT, f"it has to arrive within {limits.head_s:g} s")
        elif waited_s > limits.keep_alive_s:
            self._close()

    # ------------------------------------------------------------------ for the exchange

    def pause_reading(self) -> None:
        if not self.is_read_paused and not self._transport.is_closing():
            self.is_read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.is_read_paused and not self._transport.is_closing():
            self.is_read_paused = False
            self._transport.resume_reading()

    def exchange_ended(self, *, close: bool) -> None:
        """The answer is written: go on with the next request, or close."""
        self._exchange = None
        self._since = 0.0
        if close or self._gateway.draining:
            self._close()
            return
        self._state = READING_HEAD
        self.resume_reading()
        if self._body.rest:
            self._uvicorn.loop.call_soon(self._go_on)

    def cut(self) -> None:
        """Reset the connection, so that no client takes a broken answer for a whole one."""
        self._cancel()
        raw = self._transport.get_extra_info("socket")
        if raw is not None and not self._transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

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
        buffer = self._held + data if self._held else data
        if buffer[0] < _FIRST_LETTER:
            # A blank line before a request line is to be ignored (RFC 9112 §2.2).
            buffer = data = buffer.lstrip(CRLF)
        end = buffer.find(HEAD_END)
        try:
            if end < 0:
                self._hold(started, buffer, data)
                return
            if end > self._max_head:
                raise self._too_large(buffer)
            head = buffer[:end]
            known = self._gateway.heads.get(head)
            request = known or RequestHead(head, self._gateway.limits)
            left = request.length - (len(buffer) - end - 4)
            if request.length < 0 or left < 0:
                self._read_odd_body(request, buffer, data, end + 4, started)
                return
            # A known head with its whole body need not be shown to llhttp at all.
            if known is None or left or self._held:
                self._judge(data)
                self._held = b""
                remember(self._gateway.heads, head, request)
            self._body.left = left
            self._serve(request, buffer[end + 2 :], started)
        except Refused as refused:
            self._refuse(refused.problem, refused.detail)

    def _judge(self, data: bytes) -> None:
        """Let llhttp look at every byte before anything is forwarded. Raises: Refused."""
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(_NOBODY)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # It expects another protocol now, but the offer is not taken up.
            self._parser = None
        except httptools.HttpParserError:
            raise malformed("the request line or a header field cannot be read") from None

    def _hold(self, started: float, buffer: bytes, data: bytes) -> None:
        """Wait for the rest of a head. Raises: Refused."""
        if len(buffer) > self._max_head:
            raise self._too_large(buffer)
        if data:
            self._judge(data)
        if not self._held:
            self._since = started
        self._held = buffer

    def _too_large(self, buffer: bytes) -> Refused:
        limits = self._gateway.limits
        long_url = buffer.find(CRLF, 0, limits.url_bytes) < 0
        limit = limits.url_bytes if long_url else limits.head_bytes
        return Refused(
            problems.URL_TOO_LONG if long_url else problems.HEAD_TOO_LARGE, f"at most {limit} bytes are taken"
        )

    def _serve(self, request: RequestHead, tail: bytes, started: float) -> None:
        """Begin the exchange that a complete head asks for. Raises: Refused."""
        gateway = self._gateway
        table = gateway.compiled
        target = table.known.get(request.host + request.url if table.hosts_matter else request.url)
        if target is None:
            target = self._look_up(request, tail)
            if target is None:
                return
        request_id = request.request_id or gateway.new_request_id()
        forwarded = self._forwarded + request.authority
        if request.expect_continue and self._body.left:
            self.write(_CONTINUE)
        if request.length < 0:
            tail = CRLF + self._body.as_chunks(tail[2:])
        self._state = EXCHANGING
        self._exchange = exchange = Exchange(gateway, self, request, target, request_id, forwarded, started)
        exchange.start(tail, ended=not self._body.left)
        gateway.tell_overhead(started)

    def _look_up(self, request: RequestHead, tail: bytes) -> Target | None:
        """Route a path for the first time; None when the request was answered otherwise. Raises: Refused."""
        if request.url.startswith(OWN_PREFIX):
            self._begin_own(request, tail)
            return None
        if request.url == b"*":
            self._answer_options(request)
            return None
        try:
            return self._gateway.compiled.find(request.url, request.host)
        except BadTarget:
            raise malformed("the target is not a plain path") from None
        except NoRoute as unrouted:
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
            if not request.keep_alive and buffer[end:].strip(CRLF):
                raise malformed("something follows a request that ends the connection")
        self._judge(data[: end - len(buffer)] if end < len(buffer) else data)
        self._held = b""
        if request.length < 0:
            # llhttp has seen the head only; this side follows the chunks, so it cannot go on.
            self._parser = None
        self._serve(request, CRLF + body.take(buffer[start:]), started)

    def _read_body(self, data: bytes) -> None:
        body = self._body
        try:
            if body.is_chunked:
                payload = body.take(data)
                wire = body.as_chunks(payload)
            else:
                payload = wire = body.take(data)
                if self._parser is not None:
                    self._parser.feed_data(payload)
            if self._exchange is not None:
                self._exchange.more_body(wire, ended=not body.left)
            elif self._own is not None:
                self._collect(self._own, payload)
        except Refused as refused:
            self._abandon(refused)

    def _abandon(self, refused: Refused) -> None:
        """The body broke off in a way that cannot be repaired: cancel, and say so if nothing was said yet."""
        if self._exchange is not None and self._exchange.answering:
            self.cut()
        else:
            self._cancel()
            self._refuse(refused.problem, refused.detail)

    # ------------------------------------------------------------------ the gateway's own answers

    def _answer_options(self, request: RequestHead) -> None:
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

    def _refuse(self, problem: Problem, detail: str) -> None:
        """Answer what cannot be served, and close; nothing that follows is believed."""
        self._body.left = -1
        self._exchange = None
        self.write(problems.response(problem, detail, self._gateway.new_request_id(), close=True))
        self._close()

    def _close(self) -> None:
        """Close after what is written; a client that still sends gets time to read the answer."""
        self._since = 0.0
        self._body.rest = self._held = b""
        if self._body.left and not self._transport.is_closing():
            self._state = LINGERING
            self.resume_reading()
            self._transport.write_eof()
        else:
            self._state = CLOSED
            self._transport.close()

    # ------------------------------------------------------------------ the gateway's own paths

    def _begin_own(self, request: RequestHead, tail: bytes) -> None:
        request_id = request.request_id or self._gateway.new_request_id()
        self._state = COLLECTING
        self._own = own = OwnRequest(request, request_id, self._gateway.limits)
        if request.expect_continue and self._body.left:
            self.write(_CONTINUE)
        self._collect(own, tail[2:])

    def _collect(self, own: OwnRequest, payload: bytes) -> None:
        own.add(payload)
        if not self._body.left:
            self._forget()
            self._state = CLOSED
            self.resume_reading()
            self._uvicorn.serve(self._transport, own.message())

    def _forget(self) -> None:
        self._uvicorn.server_state.connections.discard(self)
        self._gateway.clients.discard(self)
