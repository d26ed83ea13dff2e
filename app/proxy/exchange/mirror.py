"""Copies of exchanges for a version whose answers nobody sees, and what came of each pair.

Rule: a copy is sent after the client has its whole answer, over connections and memory of its own; what
finds no room is dropped and counted. A mirror never delays, changes or fails an exchange.
"""

from collections.abc import Callable
from typing import Final

from app.domain.evidence.tally import Counter
from app.proxy.bounds.limits import Limits
from app.proxy.exchange.forwarded_request import ForwardedRequest
from app.proxy.http1.response_head import ResponseHead
from app.proxy.responses.reader import Tap, agree
from app.proxy.routing.arm import ServingArm
from app.proxy.upstream.connection import UpstreamConnection
from app.proxy.upstream.connection_port import Carrier
from app.proxy.upstream.endpoint import Upstream
from app.proxy.upstream.pool import Pool
from app.recording.recorder import Recorder

_FAILED: Final = 500


class Primary:
    """The exchange a copy is made of.

    Attributes:
        arm: The mirror's.
        status: Of the answer, 0 while there is none.
        latency_s: From the draw to the answer's head.
        request_tail: The request's line end before its body, and the body; None when not all of it was kept.
        answer: A copy of the answer's body, from its head on.
    """

    __slots__ = ("answer", "arm", "latency_s", "request_tail", "status")

    def __init__(self, arm: ServingArm) -> None:
        self.arm = arm
        self.status = 0
        self.latency_s = 0.0
        self.request_tail: bytes | None = None
        self.answer: Tap | None = None

    def begin(self, head: ResponseHead, latency_s: float, request_tail: bytes | None, answer: Tap) -> None:
        """The client's answer has begun."""
        self.request_tail = request_tail
        self.status = head.status
        self.latency_s = latency_s
        self.answer = answer

    def feed(self, payload: bytes) -> None:
        if self.answer is not None:
            self.answer.feed(payload)


class Mirrors:
    """All copies under way in one process."""

    __slots__ = ("_copies", "_held_bytes", "_limits", "_monotonic", "_recorder")

    def __init__(self, recorder: Recorder, limits: Limits, monotonic: Callable[[], float]) -> None:
        self._recorder = recorder
        self._limits = limits
        self._monotonic = monotonic
        self._copies: set[Copy] = set()
        self._held_bytes = 0

    def send(self, request: ForwardedRequest, primary: Primary) -> None:
        """Copy an exchange that has ended."""
        tail = primary.request_tail
        pool = primary.arm.pool
        if (
            tail is None
            or self._held_bytes + len(tail) > self._limits.mirror_bytes
            or len(self._copies) >= self._limits.mirror_copies
            or pool.in_flight >= pool.concurrency
        ):
            self._count(primary.arm, {Counter.MIRROR_DROPPED: 1})
            return
        self._held_bytes += len(tail)
        copy = Copy(self, request, primary, tail, self._monotonic())
        self._copies.add(copy)
        copy.start()

    def ended(self, copy: "Copy", counters: dict[Counter, int]) -> None:
        """A copy has its answer, or never will."""
        self._copies.discard(copy)
        self._held_bytes -= len(copy.tail)
        self._count(copy.primary.arm, counters)

    def sweep(self, now: float) -> None:
        for copy in list(self._copies):
            copy.sweep(now)

    def close(self) -> None:
        for copy in list(self._copies):
            copy.end(status=0)

    def monotonic(self) -> float:
        return self._monotonic()

    def _count(self, arm: ServingArm, counters: dict[Counter, int]) -> None:
        self._recorder.count(arm, counters, self._monotonic())


class Copy:
    """One request on its way to a mirror.

    Attributes:
        primary: What the client got.
        tail: The request's line end before its body, and the body.
    """

    __slots__ = (
        "_answer",
        "_connection",
        "_head_s",
        "_is_over",
        "_mirrors",
        "_pool",
        "_request",
        "_since",
        "_status",
        "_upstream",
        "body_ended",
        "primary",
        "tail",
        "to_head",
    )

    def __init__(self, mirrors: Mirrors, request: ForwardedRequest, primary: Primary, tail: bytes, now: float) -> None:
        self._mirrors = mirrors
        self._request = request
        self._pool: Pool = primary.arm.pool
        self.tail = tail
        self._since = now
        self._head_s = 0.0
        self._status = 0
        self._answer: Tap | None = None
        self._connection: Carrier | None = None
        self._upstream: Upstream = self._pool.choose(now)
        self._is_over = False
        self.primary = primary
        self.to_head = request.head.method == b"HEAD"
        self.body_ended = True

    def start(self) -> None:
        upstream = self._upstream
        self._pool.in_flight += 1
        self._pool.is_restless = True
        upstream.in_flight += 1
        if upstream.idle:
            connection = self._connection = upstream.idle.pop()
            connection.send(self, self._request.payload(self._pool, upstream, self.tail))
        else:
            connection = self._connection = UpstreamConnection(upstream)
            connection.open_for(self)

    def sweep(self, now: float) -> None:
        timeouts = self._pool.timeouts
        waited_s = now - self._since
        if waited_s > timeouts.total_s or (not self._status and waited_s > timeouts.connect_s + timeouts.first_byte_s):
            self.end(status=0)

    def end(self, *, status: int) -> None:
        """Settle the pair, once.

        Args:
            status: Of the mirror's answer, 0 when it has none that is whole.
        """
        if self._is_over:
            return
        self._is_over = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()
        self._upstream.in_flight -= 1
        self._pool.leave()
        self._mirrors.ended(self, self._counters(status))

    def _counters(self, status: int) -> dict[Counter, int]:
        primary = self.primary
        primary_ok, mirror_ok = 0 < primary.status < _FAILED, 0 < status < _FAILED
        counters = {Counter.MIRROR_PAIRS: 1}
        if primary_ok and mirror_ok:
            difference_us = round((self._head_s - self._since - primary.latency_s) * 1e6)
            counters[Counter.MIRROR_LATENCY_DIFFERENCE_US] = difference_us
            counters[Counter.MIRROR_SLOWER] = int(difference_us > 0)
            same = primary.status == status and _same(primary.answer, self._answer)
            if same is not None:
                counters[Counter.MIRROR_AGREED if same else Counter.MIRROR_DIFFERED] = 1
        elif primary_ok:
            counters[Counter.MIRROR_ONLY_PRIMARY_OK] = 1
        elif mirror_ok:
            counters[Counter.MIRROR_ONLY_MIRROR_OK] = 1
        else:
            counters[Counter.MIRROR_NEITHER_OK] = 1
        return counters

    # ------------------------------------------------------------------ called by the upstream connection

    def upstream_connected(self) -> None:
        if self._connection is not None:
            self._connection.write(self._request.payload(self._pool, self._upstream, self.tail))

    def connect_failed(self, *, own_fault: bool) -> None:  # noqa: ARG002 -- a copy is missing either way
        self._connection = None
        self.end(status=0)

    def head_received(self, head: ResponseHead, framing: int, tail: bytes, ended: bool) -> None:  # noqa: ARG002 -- nobody is answered
        self._head_s = self._mirrors.monotonic()
        self._status = head.status
        answer = self._answer = self._request.target.reader.tap(head)
        self._take(answer, tail[2:], ended=ended)

    def body_received(self, data: bytes, ended: bool, wire: bytes) -> None:  # noqa: ARG002 -- nobody gets it
        if self._answer is not None:
            self._take(self._answer, data, ended=ended)

    def _take(self, answer: Tap, data: bytes, *, ended: bool) -> None:
        answer.feed(data)
        if ended:
            self._connection = None
            self.end(status=self._status)

    def upstream_broke(self, *, stale: bool, malformed: bool) -> None:  # noqa: ARG002 -- broken is broken
        self._connection = None
        self.end(status=0)

    def upstream_full(self) -> None: ...
    def upstream_drained(self) -> None: ...


def _same(primary: Tap | None, mirror: Tap | None) -> bool | None:
    """Whether two answers say the same; None when that cannot be told."""
    if primary is None or mirror is None:
        return None
    bodies = primary.body, mirror.body
    return agree(primary.read(clean_end=True), mirror.read(clean_end=True), *bodies)
