"""One client connection's transport: holding back, deadlines and ends.

Rule: every state a connection can be in has a deadline, and one sweep looks at all of them; a client that
is too slow is told so while nothing was answered, and cut where something was.
"""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from math import inf
from typing import Final

from app.proxy.downstream.asgi_answer import Answer
from app.proxy.downstream.clock import ClientClock
from app.proxy.downstream.own_paths import Uvicorn
from app.proxy.downstream.port import Port
from app.proxy.downstream.whole_body import WholeRequest
from app.proxy.exchange.exchange import Exchange
from app.proxy.http1 import problems
from app.proxy.http1.forwarded import Origin
from app.proxy.http1.problems import Problem
from app.proxy.http1.request_body import RequestBody
from app.proxy.http1.request_head import Refused
from app.recording.accounting import Accounting

_NO_BYTES: Final = bytes(4)
_RESET: Final = struct.pack("ii", 1, 0)

READING_HEAD, EXCHANGING, COLLECTING, LINGERING, CLOSED = range(5)


class Connection(asyncio.Protocol):
    """What a client connection is beside the requests that come over it.

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
        "_held",
        "_is_kept_alive",
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
        self._is_kept_alive = self.is_read_paused = self.is_write_paused = False

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

    def _go_on(self) -> None:
        """Read the request that came while the one before it was served."""
        raise NotImplementedError

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
                self._sweep_reading(now, self._unread())
            else:
                self._clock.rest_reading()

    def _sweep_waiting(self, waited_s: float) -> None:
        """No exchange is under way."""
        limits = self._port.limits
        if self._held:
            if waited_s > limits.head_s:
                self._refuse(problems.REQUEST_TIMEOUT, f"it has to arrive within {limits.head_s:g} s")
        elif self._answer is not None:
            if waited_s > limits.answer_s and not self._answer.is_stream:
                self.cut()
        elif self._state == READING_HEAD and waited_s > self._idle_s():
            self._close()

    def _idle_s(self) -> float:
        """How long a connection may wait for its next request."""
        limits = self._port.limits
        return limits.drain_idle_s if self._port.draining else limits.keep_alive_s

    def _sweep_ending(self, now: float) -> None:
        """The last answer is written; the client may still have to read it, or to stop sending."""
        unread = self._unread()
        if unread or self._clock.since == 0.0:
            self._clock.since = now
            self._sweep_reading(now, unread)
        elif now - self._clock.since > self._port.limits.linger_s:
            self._transport.abort()

    def _sweep_reading(self, now: float, unread: int) -> None:
        """The client has more to read than fits into what is held for it."""
        if self._answer is not None and self._answer.is_stream:
            # Whoever follows what is told as it happens reads it at leisure.
            self._clock.rest_reading()
        elif self._clock.reads_too_slowly(now, unread):
            self.cut()

    def _unread(self) -> int:
        """Bytes written that the client has not taken, here and in the system, where megabytes may lie."""
        raw = self._transport.get_extra_info("socket")
        held = self._transport.get_write_buffer_size()
        if raw is None:
            return held
        try:
            return held + int.from_bytes(fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, _NO_BYTES), sys.byteorder)
        except (OSError, ValueError):
            return held

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
        raw = self._transport.get_extra_info("socket")
        if raw is not None and not self._transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

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
