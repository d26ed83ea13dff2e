"""The uvicorn HTTP protocol class: bytes in, exchanges out, the gateway's own paths to FastAPI.

Rule: one request is served at a time and in order; every request on the listener passes the same
strict head, whoever answers it. An inference exchange touches no ASGI scope, task or timer.
"""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import UnknownModel
from app.proxy import problems
from app.proxy.chunks import ChunkDecoder, MalformedChunk
from app.proxy.exchange import Exchange
from app.proxy.problems import Problem
from app.proxy.request_head import RequestHead
from app.proxy.routes import OWN_PATHS, BadTarget, NoRoute, Target

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from app.proxy.gateway import Gateway

_HEAD_END: Final = b"\r\n\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
_MAX_PENDING: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)

READING_HEAD, EXCHANGING, COLLECTING, LINGERING, CLOSED = range(5)


class ClientConnection(asyncio.Protocol):
    """One client connection.

    Attributes:
        is_write_paused: Whether the client is not reading its answers fast enough.
        is_read_paused: Whether this side has stopped reading from the client.
    """

    __slots__ = (
        "_app_state",
        "_body_left",
        "_config",
        "_decoder",
        "_exchange",
        "_forwarded",
        "_gateway",
        "_head",
        "_head_bytes",
        "_loop",
        "_own_body",
        "_own_head",
        "_own_size",
        "_parser",
        "_pending",
        "_server_state",
        "_since",
        "_state",
        "_tail",
        "_transport",
        "is_read_paused",
        "is_write_paused",
        "write",
    )

    def __init__(
        self,
        gateway: "Gateway",
        config: "Config",
        server_state: "ServerState",
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._gateway = gateway
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = loop
        self._head = RequestHead(gateway.limits)
        self._parser = self._new_parser()
        self._state = READING_HEAD
        self._since = 0.0
        self._head_bytes = 0
        self._tail = b""
        self._pending = b""
        self._body_left = 0
        self._decoder: ChunkDecoder | None = None
        self._exchange: Exchange | None = None
        self._own_body: list[bytes] = []
        self._own_size = 0
        self._own_head = b""
        self._forwarded = b""
        self.is_read_paused = False
        self.is_write_paused = False

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self._head)
        self._head.read_by(parser)
        return parser

    # ------------------------------------------------------------------ called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- a TCP connection is made of one
        self._transport = transport
        self.write = transport.write
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else "unknown"
        self._forwarded = b"x-forwarded-proto: http\r\nx-forwarded-for: %b\r\nx-forwarded-host: " % address.encode()
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn only calls shutdown() on these
        self._gateway.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._state = CLOSED
        exchange = self._exchange
        self._exchange = None
        if exchange is not None:
            exchange.client_left()

    def _forget(self) -> None:
        self._server_state.connections.discard(self)
        self._gateway.clients.discard(self)

    def pause_writing(self) -> None:
        self.is_write_paused = True
        if self._exchange is not None:
            self._exchange.client_full()

    def resume_writing(self) -> None:
        self.is_write_paused = False
        if self._exchange is not None:
            self._exchange.client_drained()
        elif self._state == READING_HEAD:
            self._go_on()

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == READING_HEAD and not self._pending and not self.is_write_paused:
            self._read_head(data)
        elif state in (LINGERING, CLOSED):
            return
        elif self._body_left:
            self._read_body(data)
        else:
            self._pending += data
            if len(self._pending) > _MAX_PENDING:
                self.pause_reading()

    # ------------------------------------------------------------------ for uvicorn and the gateway

    def shutdown(self) -> None:
        """Close now if nothing is under way, else after this exchange; called by uvicorn."""
        if self._state == READING_HEAD and not self._head_bytes:
            self._close()
        elif self._exchange is not None:
            self._exchange.close_after()

    def sweep(self, now: float) -> None:
        """Look at every deadline of this connection."""
        if self._exchange is not None:
            self._exchange.sweep(now)
            return
        if self._since == 0.0:
            self._since = now
            return
        waited_s = now - self._since
        limits = self._gateway.limits
        if self._state == READING_HEAD and not self._head_bytes:
            if waited_s > limits.keep_alive_s:
                self._close()
        elif self._state in (LINGERING, CLOSED):
            if waited_s > limits.linger_s and (
                waited_s > limits.client_idle_s or not self._transport.get_write_buffer_size()
            ):
                self._transport.abort()
        elif waited_s > limits.head_s:
            self._refuse(problems.REQUEST_TIMEOUT, "the request took too long to arrive")

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
        if self.is_read_paused:
            self.resume_reading()
        if self._pending:
            self._loop.call_soon(self._go_on)

    def cut(self) -> None:
        """Reset the connection, so that no client takes a broken answer for a whole one."""
        self._exchange = None
        self._state = CLOSED
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    # ------------------------------------------------------------------ heads

    def _go_on(self) -> None:
        """Read the request that came while the one before it was served."""
        data = self._pending
        if data and self._state == READING_HEAD and not self.is_write_paused:
            self._pending = b""
            self._read_head(data)

    def _read_head(self, data: bytes) -> None:
        started = self._gateway.monotonic()
        head = self._head
        if not self._head_bytes:
            self._since = started
            if data[0] in b"\r\n":
                # A blank line before a request line is to be ignored (RFC 9112 §2.2).
                data = data.lstrip(b"\r\n")
                if not data:
                    return
        if len(data) > self._gateway.limits.head_bytes and not self._ends_within_limit(data):
            self._too_large()
            return
        fresh_parser = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            fresh_parser = True
        if head.refusal is not None:
            self._refuse(*head.refusal)
        elif head.complete:
            tail = self._tail
            if tail:
                data = tail + data
            self._head_done(started, data, data.find(_HEAD_END) + 4, fresh_parser=fresh_parser)
        elif fresh_parser:
            self._refuse(problems.MALFORMED_REQUEST, "the request line or a header field cannot be read")
        else:
            self._head_bytes += len(data)
            self._tail = (self._tail + data)[-3:]
            if self._head_bytes > self._gateway.limits.head_bytes:
                self._too_large()

    def _ends_within_limit(self, data: bytes) -> bool:
        return (self._tail + data).find(_HEAD_END, 0, self._gateway.limits.head_bytes) >= 0

    def _too_large(self) -> None:
        limits = self._gateway.limits
        if len(self._head.url) > limits.url_bytes:
            self._refuse(problems.URL_TOO_LONG, f"at most {limits.url_bytes} bytes are taken")
        else:
            self._refuse(problems.HEAD_TOO_LARGE, f"at most {limits.head_bytes} bytes are taken")

    def _head_done(self, started: float, data: bytes, body_start: int, *, fresh_parser: bool) -> None:
        """A whole head stands: serve its request, keep what follows it."""
        head = self._head
        self._tail = b""
        self._head_bytes = 0
        body = data[body_start:]
        length = head.length
        if length < 0:
            fresh_parser = True
            self._decoder = ChunkDecoder()
            body = self._decode(self._decoder, body)
            if head.refusal is not None:
                self._refuse(*head.refusal)
                return
        else:
            left = length - len(body)
            if left < 0:
                fresh_parser = True
                self._pending = body[left:]
                body = body[:left]
                left = 0
            self._body_left = left
        self._serve(started, head, body)
        if self._state not in (LINGERING, CLOSED):
            head.renew()
            if fresh_parser:
                self._parser = self._new_parser()

    def _serve(self, started: float, head: RequestHead, body: bytes) -> None:
        gateway = self._gateway
        table = gateway.compiled
        url = head.url
        target = table.known.get(head.host + url if table.hosts_matter else url)
        if target is None:
            target = self._look_up(head, body)
            if target is None:
                return
        request_id = head.request_id or gateway.new_request_id()
        head.lines.append(b"x-request-id: " + request_id)
        head.lines.append(self._forwarded + head.authority)
        if head.expect_continue and self._body_left:
            self.write(_CONTINUE)
        self._state = EXCHANGING
        exchange = self._exchange = Exchange(gateway, self, head, target, request_id, started)
        exchange.start(body, ended=not self._body_left)
        gateway.tell_overhead(started)

    def _look_up(self, head: RequestHead, body: bytes) -> Target | None:
        """Route a path for the first time; None when the request was answered otherwise."""
        try:
            if head.url.startswith(OWN_PATHS):
                self._begin_own(head, body)
                return None
            if head.url == b"*":
                self._answer_options(head)
                return None
            return self._gateway.compiled.find(head.url, head.host)
        except BadTarget:
            self._refuse(problems.MALFORMED_REQUEST, "the target is not a plain path")
        except NoRoute as unrouted:
            if unrouted.model is None:
                self._answer(problems.UNKNOWN_PATH, "register a model or see how paths name one")
            else:
                self._answer(problems.UNKNOWN_MODEL, UnknownModel(unrouted.model).detail)
        return None

    # ------------------------------------------------------------------ bodies

    def _decode(self, decoder: ChunkDecoder, data: bytes) -> bytes:
        """Decoded body bytes, framed anew for the upstream; sets what is left and what follows."""
        try:
            body = b"".join(decoder.feed(data))
        except MalformedChunk:
            self._head.refuse(problems.MALFORMED_REQUEST, "the chunked body cannot be read")
            return b""
        self._body_left = -1
        if decoder.done:
            self._decoder = None
            self._body_left = 0
            self._pending = decoder.rest
        return body

    def _read_body(self, data: bytes) -> None:
        decoder = self._decoder
        if decoder is not None:
            data = self._decode(decoder, data)
            if self._head.refusal is not None:
                self._abandon()
                return
        else:
            left = self._body_left - len(data)
            if left < 0:
                self._pending = data[left:]
                data = data[:left]
                left = 0
            self._body_left = left
        ended = not self._body_left
        if self._state == COLLECTING:
            self._collect(data, ended=ended)
        elif self._exchange is not None:
            self._exchange.more_body(data, ended=ended)

    # ------------------------------------------------------------------ the gateway's own answers

    def _answer(self, problem: Problem, detail: str) -> None:
        """Answer a well-framed request with a problem; the connection stays where it can."""
        head = self._head
        close = not head.keep_alive or self._body_left != 0 or self._gateway.draining
        to_head = head.method == b"HEAD"
        self.write(problems.response(problem, detail, head.request_id, close=close, with_body=not to_head))
        self.exchange_ended(close=close)

    def _answer_options(self, head: RequestHead) -> None:
        close = not head.keep_alive or self._body_left != 0
        self.write(_NO_CONTENT + (b"connection: close\r\n\r\n" if close else b"\r\n"))
        self.exchange_ended(close=close)

    def _refuse(self, problem: Problem, detail: str) -> None:
        """Answer what cannot be served, and close."""
        self._body_left = -1
        self.write(problems.response(problem, detail, self._head.request_id, close=True))
        self._close()

    def _abandon(self) -> None:
        """The body broke off in a way that cannot be repaired: cancel, say so if nothing was said yet."""
        exchange = self._exchange
        self._exchange = None
        if exchange is not None:
            begun = exchange.answering
            exchange.client_left()
            if begun:
                self.cut()
                return
        if self._head.refusal is not None:
            self._refuse(*self._head.refusal)

    def _close(self) -> None:
        """Close after what is written; a client that still sends gets time to read the answer."""
        self._since = 0.0
        self._pending = b""
        if self._body_left and not self._transport.is_closing():
            self._state = LINGERING
            self.resume_reading()
            self._transport.write_eof()
        else:
            self._state = CLOSED
            self._transport.close()

    # ------------------------------------------------------------------ /turnback/: handed to FastAPI

    def _begin_own(self, head: RequestHead, body: bytes) -> None:
        self._state = COLLECTING
        self._own_body = []
        self._own_size = 0
        if head.expect_continue and self._body_left:
            self.write(_CONTINUE)
        message = b"%b %b HTTP/1.1\r\nhost: %b\r\nconnection: close\r\n" % (head.method, head.url, head.authority)
        fields = [line for line in head.lines[2:] if not line.startswith((b"content-length:", b"transfer-encoding:"))]
        request_id = head.request_id or self._gateway.new_request_id()
        self._own_head = b"".join((message, *(line + b"\r\n" for line in fields), b"x-request-id: %b\r\n" % request_id))
        self._collect(body, ended=not self._body_left)

    def _collect(self, data: bytes, *, ended: bool) -> None:
        self._own_size += len(data)
        if self._own_size > self._gateway.limits.own_body_bytes:
            self._refuse(problems.BODY_TOO_LARGE, f"at most {self._gateway.limits.own_body_bytes} bytes are taken")
            return
        self._own_body.append(data)
        if ended:
            self._hand_over()

    def _hand_over(self) -> None:
        """Let uvicorn's own protocol serve the complete, checked message; nothing follows it."""
        body = b"".join(self._own_body)
        message = b"%bcontent-length: %d\r\n\r\n%b" % (self._own_head, len(body), body)
        self._forget()
        self._state = CLOSED
        self.resume_reading()
        protocol = HttpToolsProtocol(self._config, self._server_state, self._app_state, self._loop)
        protocol.connection_made(self._transport)
        self._transport.set_protocol(protocol)
        protocol.data_received(message)
