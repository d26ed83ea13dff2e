"""What all exchanges of one process share."""

import asyncio
from collections.abc import Callable
from hmac import compare_digest
from typing import Final

from app.proxy.bounds.limits import Limits
from app.proxy.bounds.memory import Room
from app.proxy.exchange.forwarded_request import ForwardedRequest
from app.proxy.exchange.mirror import Mirrors, Primary
from app.proxy.http1.receipts import Receipts
from app.proxy.http1.trace_context import Traces
from app.proxy.observing.observer import Observer
from app.proxy.routing.table import CompiledTable
from app.recording.recorder import Recorder

# How long the gateway takes itself is looked at now and then: looking is a hundredth of an exchange.
_TIMED_ONE_IN: Final = 8


class ExchangeContext:  # ADR 0155
    """What an exchange finds in its process; the gateway makes it, and swaps its table.

    Attributes:
        compiled: The routing table in force, ready for look-ups.
        recorder: Counts exchanges.
        observer: Looks at exchanges after they ended.
        receipts: What receipts are made with.
        room: What copies of bodies may hold.
        mirrors: Sends copies.
        traces: Begins a trace where a request has none.
        limits: Bounds on what is taken in.
        monotonic: Seconds for durations.
        coin: Uniform in [0, 1), one draw per call.
        server_timing: Whether answers say how long their upstream took.
    """

    __slots__ = (
        "_override_key",
        "_untimed",
        "coin",
        "compiled",
        "limits",
        "mirrors",
        "monotonic",
        "observer",
        "receipts",
        "recorder",
        "room",
        "server_timing",
        "traces",
    )

    def __init__(
        self,
        compiled: CompiledTable,
        recorder: Recorder,
        receipts: Receipts,
        limits: Limits,
        monotonic: Callable[[], float],
        coin: Callable[[], float],
        *,
        override_key: bytes,
        server_timing: bool,
    ) -> None:
        self.compiled = compiled
        self.recorder = recorder
        self.receipts = receipts
        self.limits = limits
        self.monotonic = monotonic
        self.coin = coin
        self.server_timing = server_timing
        self.observer = Observer(recorder, monotonic)
        self.mirrors = Mirrors(recorder, limits, monotonic)
        self.room = Room()
        self.traces = Traces()
        self._override_key = override_key
        # The first is looked at.
        self._untimed = 1

    def may_override(self, key: bytes) -> bool:
        """Whether this key lets its bearer choose a version."""
        return bool(self._override_key) and compare_digest(key, self._override_key)

    def tell_overhead(self, started: float) -> None:
        """Count how long the gateway took from a request's last read to handing it on; of one in eight."""
        self._untimed -= 1
        if self._untimed:
            return
        self._untimed = _TIMED_ONE_IN
        overhead_us = (self.monotonic() - started) * 1e6
        recorder = self.recorder
        recorder.overhead[int(overhead_us).bit_length()] += 1
        recorder.overhead_us += overhead_us

    def mirror_later(self, request: ForwardedRequest, primary: Primary) -> None:
        """Copy an exchange that has ended."""
        asyncio.get_running_loop().call_soon(self.mirrors.send, request, primary)
