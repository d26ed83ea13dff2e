"""One connection to an upstream: requests out, strictly framed responses in (RFC 9112 §6, §9).

Rule: a connection goes back to its pool only after a response that ended exactly where it said it
would; a surplus byte, a parse error or an unasked byte closes it, so no answer meets the next one.
"""

import asyncio
import errno
import re
import socket
from typing import Final

import httptools

from app.proxy.http1 import response_head as framed
from app.proxy.http1.chunks import ChunkDecoder, MalformedChunk
from app.proxy.http1.framing import CRLF, HEAD_END
from app.proxy.http1.response_head import Broken, ResponseHead
from app.proxy.upstream.connection_port import Answered
from app.proxy.upstream.endpoint import Upstream

_AWAITING_HEAD: Final = -1
# llhttp is asked only whether it accepts the bytes; nobody listens to what it finds in them.
_NOBODY: Final = object()
_MAX_INTERIM: Final = 8
# No upstream's fault: this process has no descriptor, memory or local port left.
_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))
# A final status line of HTTP/1.1; everything else is looked at more closely.
_PLAIN_START: Final = tuple(b"HTTP/1.1 %d" % digit for digit in range(2, 6))
_INTERIM: Final = re.compile(rb"HTTP/1\.[01] 1(?!01)")
_MAY_BEGIN: Final = re.compile(rb"(?:H(?:T(?:T(?:P(?:/(?:1(?:\.(?:[01](?: [1-5]?)?)?)?)?)?)?)?)?)?")


class UpstreamConnection(asyncio.Protocol):
    """Serves one exchange after the other.

    Attributes:
        idle_since: When a sweep first saw it idle, on the monotonic clock; 0 when not yet.
    """

    __slots__ = (
        "_decoder",
        "_exchange",
        "_held",
        "_interim",
        "_keep_alive",
        "_left",
        "_parser",
        "_paused",
        "_reused",
        "_silent",
        "_state",
        "_task",
        "_transport",
        "_upstream",
        "idle_since",
    )

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._exchange: Answered | None = None
        self._parser = httptools.HttpResponseParser(_NOBODY)
        self._state = _AWAITING_HEAD
        self._held = b""
        self._interim = 0
        self._left = 0
        self._keep_alive = False
        self._decoder: ChunkDecoder | None = None
        self._paused = False
        self._reused = False
        self._silent = True
        self.idle_since = 0.0

    # ------------------------------------------------------------------ for the exchange

    def open_for(self, exchange: Answered) -> None:
        """Connect; the exchange hears `upstream_connected` or `connect_failed`."""
        self._exchange = exchange
        loop = asyncio.get_running_loop()
        self._task = task = loop.create_task(self._upstream.connect(self))
        task.add_done_callback(self._opened)
        self._upstream.spawn(task)

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
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Leave the pool and close."""
        if self in self._upstream.idle:
            self._upstream.idle.remove(self)
        if self._transport is not None:
            self._transport.close()

    # ------------------------------------------------------------------ called by the event loop

    def _opened(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        exchange = self._exchange
        if (task.cancelled() or error is not None) and exchange is not None and self._transport is None:
            self._exchange = None
            exchange.connect_failed(own_fault=isinstance(error, OSError) and error.errno in _EXHAUSTED)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP has no other
        self._transport = transport
        # What one read brings goes to the client's buffer before anybody can pause; with the kernel's own
        # choice that is a quarter of a megabyte for each client that does not read.
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._upstream.limits.upstream_read_bytes)
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
            self._release(exchange, reusable=False)
            exchange.body_received(b"", True, b"")
        else:
            self._exchange = None
            exchange.upstream_broke(stale=self._reused and self._silent, malformed=False)

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
            self._read_head(exchange, data)
        elif self._state == framed.BY_LENGTH:
            self._read_length(exchange, data)
        elif self._state == framed.BY_CHUNKS:
            self._read_chunks(exchange, data)
        else:
            exchange.body_received(data, False, b"")

    # ------------------------------------------------------------------ heads

    def _read_head(self, exchange: Answered, data: bytes) -> None:
        """Bytes of a head, or a head with all or some of its body."""
        self._silent = False
        held = self._held
        last = self._upstream.last_head
        if last is not None and not held and data.startswith(last.whole):
            at = len(last.whole)
            if last.length == len(data) - at and not exchange.to_head:
                self._release(exchange, reusable=last.keep_alive)
                exchange.head_received(last, framed.BY_LENGTH, data[at - 2 :], True)
                return
        buffer = held + data if held else data
        end = buffer.find(HEAD_END)
        head = None if held or end < 0 else self._upstream.heads.known.get(buffer[:end])
        if head is None or head.length != len(buffer) - end - 4 or exchange.to_head:
            self._read_unknown_head(exchange, data, buffer, end)
        else:
            # The same bytes were accepted before, so llhttp need not see this message at all.
            self._upstream.last_head = head
            self._release(exchange, reusable=head.keep_alive)
            exchange.head_received(head, framed.BY_LENGTH, buffer[end + 2 :], True)

    def _read_unknown_head(self, exchange: Answered, data: bytes, buffer: bytes, end: int) -> None:
        """Let llhttp look at every byte, and read the head once it is whole."""
        if not buffer.startswith(_PLAIN_START) and not self._starts_oddly(exchange, data, buffer, end):
            return
        try:
            self._parser.feed_data(data)
            if end < 0:
                self._hold(buffer)
                return
            head = ResponseHead(buffer[:end], self._upstream.limits)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, Broken):
            self._broken(exchange)
            return
        self._held = b""
        tail = buffer[end + 2 :]
        if head.length == len(tail) - 2 and not exchange.to_head and head.status not in framed.BODILESS:
            self._upstream.heads.offer(buffer[:end], head)
            self._release(exchange, reusable=head.keep_alive)
            exchange.head_received(head, framed.BY_LENGTH, tail, True)
        else:
            self._begin_body(exchange, head, tail)

    def _starts_oddly(self, exchange: Answered, data: bytes, buffer: bytes, end: int) -> bool:
        """Look at what does not begin like a final HTTP/1.1 head; whether to go on with it."""
        if end > 0 and _INTERIM.match(buffer) and self._interim < _MAX_INTERIM:
            self._skip_interim(exchange, data, end + 4 - (len(buffer) - len(data)))
            return False
        if _MAY_BEGIN.fullmatch(buffer[:10]) and not (end > 0 and _INTERIM.match(buffer)):
            return True
        self._broken(exchange)
        return False

    def _skip_interim(self, exchange: Answered, data: bytes, end: int) -> None:
        """Drop an interim (1xx) head, the last `end` bytes of which are new, and go on behind it."""
        self._held = b""
        self._interim += 1
        try:
            self._parser.feed_data(data[:end])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._broken(exchange)
            return
        if end < len(data):
            self._read_head(exchange, data[end:])

    def _hold(self, buffer: bytes) -> None:
        """Wait for the rest of a head. Raises: Broken."""
        if len(buffer) > self._upstream.limits.response_head_bytes:
            raise Broken
        self._held = buffer

    # ------------------------------------------------------------------ bodies

    def _begin_body(self, exchange: Answered, head: ResponseHead, tail: bytes) -> None:
        """A body that is not there in one piece by length."""
        framing = head.framing(to_head=exchange.to_head)
        self._keep_alive = head.keep_alive
        if framing == framed.BY_CHUNKS:
            self._begin_chunks(exchange, head, tail)
        elif framing == framed.NO_BODY:
            self._answer_without_body(exchange, head, tail)
        elif framing == framed.BY_LENGTH and head.length < len(tail) - 2:
            self._release(exchange, reusable=False)
            exchange.head_received(head, framing, tail[: head.length + 2], True)
        else:
            self._state = framing
            self._left = head.length - (len(tail) - 2)
            exchange.head_received(head, framing, tail, False)

    def _answer_without_body(self, exchange: Answered, head: ResponseHead, tail: bytes) -> None:
        if exchange.to_head:
            # llhttp waits for the body that an answer to HEAD only announces.
            self._parser = httptools.HttpResponseParser(_NOBODY)
        self._release(exchange, reusable=head.keep_alive and tail == CRLF)
        exchange.head_received(head, framed.NO_BODY, CRLF, True)

    def _begin_chunks(self, exchange: Answered, head: ResponseHead, tail: bytes) -> None:
        self._state = framed.BY_CHUNKS
        decoder = self._decoder = ChunkDecoder()
        # llhttp is not fed the rest of a chunked body, so it cannot take another message.
        self._parser = httptools.HttpResponseParser(_NOBODY)
        try:
            payload = decoder.feed(tail[2:])
        except MalformedChunk:
            self._broken(exchange)
            return
        if decoder.done:
            self._release(exchange, reusable=head.keep_alive and not decoder.rest)
        exchange.head_received(head, framed.BY_CHUNKS, CRLF + payload, decoder.done)

    def _read_length(self, exchange: Answered, data: bytes) -> None:
        left = self._left - len(data)
        if left >= 0:
            self._parser.feed_data(data)
        else:
            data = data[:left]
        self._left = left
        if left <= 0:
            self._release(exchange, reusable=self._keep_alive and left == 0)
        exchange.body_received(data, left <= 0, b"")

    def _read_chunks(self, exchange: Answered, data: bytes) -> None:
        decoder = self._decoder
        if decoder is None:
            return
        try:
            payload = decoder.feed(data)
        except MalformedChunk:
            self._broken(exchange)
            return
        if decoder.done:
            self._release(exchange, reusable=self._keep_alive and not decoder.rest)
        exchange.body_received(payload, decoder.done, decoder.wire)

    # ------------------------------------------------------------------ ends

    def _release(self, exchange: Answered, *, reusable: bool) -> None:
        """The response has come: go back to the pool, or close."""
        self._exchange = None
        self._state = _AWAITING_HEAD
        self._decoder = None
        self._interim = 0
        if not reusable or not exchange.body_ended or self._upstream.retired or self._transport is None:
            self.close()
            return
        self._reused = True
        self._silent = True
        if self._paused:
            self.resume_reading()
        self._upstream.idle.append(self)

    def _broken(self, exchange: Answered) -> None:
        self.drop()
        exchange.upstream_broke(stale=False, malformed=True)
