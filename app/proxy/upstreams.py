"""One connection to an upstream: requests out, strictly framed responses in (RFC 9112 §6, §9).

Rule: a connection goes back to its pool only after a response that ended exactly where it said it
would; a surplus byte, a parse error or an unasked byte closes it, so no answer meets the next one.
"""

import asyncio
from typing import Final, Protocol

import httptools

from app.proxy import response_head as framed
from app.proxy.chunks import ChunkDecoder, MalformedChunk
from app.proxy.pools import Pool
from app.proxy.response_head import ResponseHead

_HEAD_END: Final = b"\r\n\r\n"
_START: Final = b"HTTP/1."
_AWAITING_HEAD: Final = -1


class Answered(Protocol):
    """What an upstream connection needs of the exchange it serves."""

    to_head: bool
    body_ended: bool

    def upstream_connected(self) -> None: ...
    def connect_failed(self) -> None: ...
    def head_received(self, head: ResponseHead, framing: int, body: bytes, *, ended: bool) -> None: ...
    def body_received(self, data: bytes, *, ended: bool) -> None: ...
    def upstream_broke(self, *, malformed: bool) -> None: ...
    def upstream_full(self) -> None: ...
    def upstream_drained(self) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """Serves one exchange after the other.

    Attributes:
        reused: Whether it has answered before; such a connection may have gone stale.
        silent: Whether no byte of the current response has come.
        idle_since: When a sweep first saw it idle, on the monotonic clock; 0 when not yet.
    """

    __slots__ = (
        "_decoder",
        "_exchange",
        "_head",
        "_held",
        "_left",
        "_parser",
        "_paused",
        "_pool",
        "_state",
        "_task",
        "_transport",
        "idle_since",
        "reused",
        "silent",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[object] | None = None
        self._exchange: Answered | None = None
        self._state = _AWAITING_HEAD
        self._left = 0
        self._held = b""
        self._decoder: ChunkDecoder | None = None
        self._paused = False
        self._head = ResponseHead(pool.limits.response_fields)
        self._parser = self._new_parser()
        self.reused = False
        self.silent = True
        self.idle_since = 0.0

    def _new_parser(self) -> httptools.HttpResponseParser:
        parser = httptools.HttpResponseParser(self._head)
        self._head.read_by(parser)
        return parser

    # ------------------------------------------------------------------ for the exchange

    def open_for(self, exchange: Answered) -> None:
        """Connect; the exchange hears `upstream_connected` or `connect_failed`."""
        self._exchange = exchange
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.create_connection(lambda: self, self._pool.host, self._pool.port))
        self._task = task
        task.add_done_callback(self._opened)
        self._pool.spawn(task)

    def send(self, exchange: Answered, payload: bytes) -> None:
        """Serve the next exchange over this idle connection."""
        self._exchange = exchange
        self.idle_since = 0.0
        if self._transport is not None:
            self._transport.write(payload)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def pause_reading(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()

    def drop(self) -> None:
        """The exchange is over or lost interest: cut the connection at once."""
        self._exchange = None
        if self._task is not None and not self._task.done():
            self._task.cancel()
        self.abort()

    def close(self) -> None:
        """Leave the pool and close."""
        if self in self._pool.idle:
            self._pool.idle.remove(self)
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------ called by the event loop

    def _opened(self, task: "asyncio.Task[object]") -> None:
        exchange = self._exchange
        failed = task.cancelled() or task.exception() is not None
        if failed and exchange is not None and self._transport is None:
            self._exchange = None
            exchange.connect_failed()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- a TCP connection is made of one
        self._transport = transport
        if self._exchange is None:
            transport.abort()
        else:
            self._exchange.upstream_connected()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        exchange = self._exchange
        if exchange is None:
            self.close()
        elif self._state == framed.BY_CLOSE and exc is None:
            self._finish(exchange, b"", reusable=False)
        else:
            self._exchange = None
            exchange.upstream_broke(malformed=False)

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.upstream_full()

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.upstream_drained()

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.close()
        elif self._state == _AWAITING_HEAD:
            self.silent = False
            self._read_head(exchange, data)
        else:
            self._read_body(exchange, data)

    # ------------------------------------------------------------------ the response

    def _read_head(self, exchange: Answered, data: bytes) -> None:
        held = self._held
        buffer = held + data if held else data
        if not buffer.startswith(_START) and not _START.startswith(buffer):
            self._broken(exchange)
            return
        end = buffer.find(_HEAD_END)
        if end > 0 and buffer[9:10] == b"1":
            self._skip_interim(exchange, data, buffer, end + 4)
            return
        head = self._head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            if not head.complete:
                self._broken(exchange)
                return
        except httptools.HttpParserError:
            self._broken(exchange)
            return
        if not head.complete:
            self._held = buffer
            if len(buffer) > self._pool.limits.response_head_bytes or end > 0:
                self._broken(exchange)
            return
        self._held = b""
        if end > self._pool.limits.response_head_bytes or buffer[7:9] not in _VERSIONS:
            self._broken(exchange)
        else:
            self._begin_body(exchange, head, buffer[end + 4 :])

    def _skip_interim(self, exchange: Answered, data: bytes, buffer: bytes, end: int) -> None:
        """Take note of an interim (1xx) head and go on with what follows it."""
        fresh = end - (len(buffer) - len(data))
        self._held = b""
        try:
            self._parser.feed_data(data[:fresh])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._broken(exchange)
            return
        if fresh < len(data):
            self._read_head(exchange, data[fresh:])

    def _begin_body(self, exchange: Answered, head: ResponseHead, body: bytes) -> None:
        framing = head.framing(to_head=exchange.to_head)
        self._state = framing
        if framing == framed.BY_LENGTH:
            left = head.length - len(body)
            if left > 0:
                self._left = left
                exchange.head_received(head, framing, body, ended=False)
            else:
                self._answer(exchange, framing, body if left == 0 else body[:left], clean=left == 0)
        elif framing == framed.BY_CHUNKS:
            self._decoder = ChunkDecoder()
            self._begin_chunks(exchange, self._decoder, body)
        elif framing == framed.BY_CLOSE:
            exchange.head_received(head, framing, body, ended=False)
        else:
            self._answer(exchange, framing, b"", clean=not body)

    def _answer(self, exchange: Answered, framing: int, body: bytes, *, clean: bool) -> None:
        """A response that came whole in one read."""
        head = self._head
        if framing == framed.NO_BODY and exchange.to_head:
            # llhttp waits for the body that a HEAD response only announces.
            self._parser = self._new_parser()
        reusable = self._release(exchange, reusable=clean and head.keep_alive)
        exchange.head_received(head, framing, body, ended=True)
        if reusable:
            head.renew()

    def _begin_chunks(self, exchange: Answered, decoder: ChunkDecoder, body: bytes) -> None:
        try:
            payload = b"".join(decoder.feed(body))
        except MalformedChunk:
            self._broken(exchange)
            return
        # llhttp is not fed the rest of a chunked body, so it cannot take another message.
        self._parser = self._new_parser()
        if decoder.done:
            self._answer(exchange, framed.BY_CHUNKS, payload, clean=not decoder.rest)
        else:
            exchange.head_received(self._head, framed.BY_CHUNKS, payload, ended=False)

    def _read_body(self, exchange: Answered, data: bytes) -> None:
        if self._state == framed.BY_CLOSE:
            exchange.body_received(data, ended=False)
        elif self._state == framed.BY_CHUNKS:
            self._read_chunks(exchange, data)
        else:
            self._read_length(exchange, data)

    def _read_length(self, exchange: Answered, data: bytes) -> None:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            self._parser.feed_data(data)
            exchange.body_received(data, ended=False)
        elif left == 0:
            self._parser.feed_data(data)
            self._finish(exchange, data, reusable=self._head.keep_alive)
        else:
            self._finish(exchange, data[:left], reusable=False)

    def _read_chunks(self, exchange: Answered, data: bytes) -> None:
        decoder = self._decoder
        assert decoder is not None  # noqa: S101 -- set together with the state
        try:
            payload = b"".join(decoder.feed(data))
        except MalformedChunk:
            self._broken(exchange)
            return
        if decoder.done:
            self._finish(exchange, payload, reusable=self._head.keep_alive and not decoder.rest)
        elif payload:
            exchange.body_received(payload, ended=False)

    def _finish(self, exchange: Answered, data: bytes, *, reusable: bool) -> None:
        """The body's last bytes; the connection is free before the exchange hears of them."""
        if self._release(exchange, reusable=reusable):
            self._head.renew()
        exchange.body_received(data, ended=True)

    def _release(self, exchange: Answered, *, reusable: bool) -> bool:
        """Go back to the pool, or close."""
        self._exchange = None
        self._state = _AWAITING_HEAD
        self._decoder = None
        self.silent = True
        if not reusable or not exchange.body_ended or self._pool.retired or self._transport is None:
            self.close()
            return False
        self.reused = True
        if self._paused:
            self.resume_reading()
        self._pool.idle.append(self)
        return True

    def _broken(self, exchange: Answered) -> None:
        self.drop()
        exchange.upstream_broke(malformed=True)


_VERSIONS: Final = frozenset((b"1 ", b"0 "))
