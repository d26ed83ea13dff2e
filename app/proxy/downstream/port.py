"""What the connections of one listener share, whoever answers what comes over them.

Rule: a connection knows its port and asks it; a port knows its connections only to sweep, drain and cut them.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from app.proxy.bounds.admission import Admission
from app.proxy.bounds.limits import Limits
from app.proxy.bounds.memory import CollectedBytes
from app.proxy.http1.forwarded import Network
from app.proxy.http1.request_heads import RequestHeads
from app.recording.recorder import OpenExchange

log = structlog.get_logger()


class Client(Protocol):
    """A connection as its port sees it."""

    @property
    def open_accounting(self) -> OpenExchange | None:
        """Of the exchange under way."""

    def sweep(self, now: float) -> None:
        """Look at every deadline of this connection."""

    def shutdown(self) -> None:
        """End with the next answer, or when idle for a moment."""

    def cut(self) -> None:
        """Reset the connection."""

    def dispensable(self) -> tuple[int, float] | None:
        """How soon it makes room for a new connection, the least first; None while a request is under way."""

    def make_room(self) -> None:
        """End now, because another connection needs the place."""


class Port:
    """One listener's bounds, and all that is open there.

    Attributes:
        limits: Bounds on what is taken in.
        monotonic: Seconds for durations.
        trusted_proxies: Networks of proxies that are believed about where a request came from.
        clients: Open client connections.
        heads: Request heads seen before.
        admission: Counts client connections.
        collected: Counts request bodies that are held whole.
        draining: Whether connections end with their present answer.
    """

    __slots__ = (
        "_sweep_beside",
        "_sweep_broke",
        "_sweeper",
        "admission",
        "clients",
        "collected",
        "draining",
        "heads",
        "limits",
        "monotonic",
        "trusted_proxies",
    )

    def __init__(
        self,
        limits: Limits,
        monotonic: Callable[[], float] = time.monotonic,
        trusted_proxies: tuple[Network, ...] = (),
        sweep_beside: Callable[[float], None] | None = None,
    ) -> None:
        """Nothing is open yet.

        Args:
            limits: Bounds on what is taken in.
            monotonic: Seconds for durations.
            trusted_proxies: Networks of proxies that are believed about where a request came from.
            sweep_beside: Called once per sweep, for deadlines that are no connection's.
        """
        self.limits = limits
        self.monotonic = monotonic
        self.trusted_proxies = trusted_proxies
        self.clients: set[Client] = set()
        self.heads = RequestHeads(limits)
        self.admission = Admission(limits)
        self.collected = CollectedBytes(limits.collected_bytes)
        self.draining = False
        self._sweep_beside = sweep_beside
        self._sweep_broke = False
        self._sweeper: asyncio.TimerHandle | None = None

    def refusal(self, address: str, in_all: int) -> str | None:
        """Why one more connection cannot be let in, or None; then it counts until it leaves.

        Args:
            address: The client's.
            in_all: Connections open already.
        """
        return self.admission.refusal(address, in_all)

    def open_exchanges(self) -> list[OpenExchange]:
        """Every exchange under way, as it is counted."""
        return [accounting for client in self.clients if (accounting := client.open_accounting) is not None]

    def new_request_id(self) -> bytes:
        """Of a request that is answered here and has none."""
        return secrets.token_hex(16).encode()

    def keep_sweeping(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the one timer running from the first connection on."""
        if self._sweeper is None:
            self._sweeper = loop.call_later(self.limits.sweep_s, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """The one timer: every deadline of every connection."""
        self._sweeper = loop.call_later(self.limits.sweep_s, self._sweep, loop)
        self.sweep(self.monotonic())

    def sweep(self, now: float) -> None:
        """Look at every deadline."""
        for client in list(self.clients):
            self.safely(client.sweep, now)
        if self._sweep_beside is not None:
            self.safely(self._sweep_beside, now)

    def safely(self, sweep: Callable[..., object], *given: float) -> None:
        """Sweep one; if it breaks, the deadlines of all others are looked at all the same."""
        try:
            sweep(*given)
        except Exception:
            # Said once: it breaks again every second.
            if not self._sweep_broke:
                log.exception("port.sweep_failed")
            self._sweep_broke = True

    def drain(self) -> None:
        """Stop keep-alive: idle connections close now, the others after their answer."""
        self.begin_to_drain()
        for client in list(self.clients):
            client.shutdown()

    def begin_to_drain(self) -> None:
        """End every connection with its present answer from now on."""
        self.draining = True

    def close(self) -> None:
        """Cut everything that is left and stop the timer."""
        self.begin_to_drain()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for client in list(self.clients):
            client.cut()
