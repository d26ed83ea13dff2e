"""One version's place in a gateway process: its upstreams, its bulkhead, its brake, its retry budget.

Rule: a version never holds more than its bulkhead; what is beyond waits in order, and what is beyond
that is turned away, so that a slow version cannot take the gateway from the others.
"""

import ssl
from collections import deque
from random import Random
from typing import Final, Protocol

import orjson

from app.domain.catalog import Protocol as Speaks
from app.domain.catalog import Version, probe_path
from app.proxy.brake import Brake, OpenCount
from app.proxy.health import Prober
from app.proxy.limits import Limits
from app.proxy.retry_budget import RetryBudget
from app.proxy.upstreams import MayConnect, Upstream

_NEVER: Final = float("inf")
# Which of two upstreams is looked at is no secret.
_any: Final = Random().random  # noqa: S311


class Waiting(Protocol):
    """An exchange in the queue of a bulkhead."""

    def admitted(self) -> None: ...


class Pool:
    """Where a version's exchanges are sent.

    Attributes:
        upstreams: At least one.
        only: The upstream of a version that has no other, else None.
        path: What stands for the part of a path that names the model, or None.
        served_model: The model's name in an OpenAI-style body, as JSON without its quotes, or None.
        version_line: The response field that names the version.
        in_flight: Exchanges that hold a place of the bulkhead.
        concurrency: How many may.
        cut_at: When what still runs is cut, on the monotonic clock; infinite while it has traffic.
    """

    __slots__ = (
        "_drain_s",
        "_queue",
        "_waiting",
        "brake",
        "budget",
        "concurrency",
        "cut_at",
        "in_flight",
        "only",
        "path",
        "prober",
        "served_model",
        "timeouts",
        "upstreams",
        "version",
        "version_line",
    )

    def __init__(
        self,
        version: Version,
        speaks: Speaks,
        limits: Limits,
        open_brakes: OpenCount,
        tls: ssl.SSLContext | None,
        may_connect: MayConnect,
    ) -> None:
        self.version = version
        self.timeouts = version.timeouts
        self.upstreams = tuple(Upstream(url, limits, tls, may_connect, version.server_name) for url in version.urls)
        self.only = self.upstreams[0] if len(self.upstreams) == 1 else None
        self.path = None if version.path is None else version.path.encode()
        self.served_model = None if version.served_model is None else orjson.dumps(version.served_model)[1:-1]
        self.version_line = b"x-turnback-version: " + version.name.encode()
        self.brake = Brake(open_brakes)
        self.budget = RetryBudget()
        self.prober = Prober(probe_path(speaks, version), self.upstreams, limits, self.brake.release)
        self.concurrency = version.bulkhead.concurrency
        self._queue = version.bulkhead.queue
        self._waiting: deque[Waiting] = deque()
        self.in_flight = 0
        self.cut_at = _NEVER
        self._drain_s = limits.rollback_drain_s

    # ------------------------------------------------------------------ the bulkhead

    def wait(self, exchange: Waiting) -> bool:
        """Queue for a place; False when the queue is full too."""
        if len(self._waiting) >= self._queue:
            return False
        self._waiting.append(exchange)
        return True

    def stop_waiting(self, exchange: Waiting) -> None:
        """Leave the queue."""
        if exchange in self._waiting:
            self._waiting.remove(exchange)

    def leave(self) -> None:
        """Give a place back; the first in the queue gets it."""
        self.in_flight -= 1
        if self._waiting and self.in_flight < self.concurrency:
            self.in_flight += 1
            self._waiting.popleft().admitted()

    # ------------------------------------------------------------------ upstreams

    def choose(self, now: float, apart_from: Upstream | None = None) -> Upstream:
        """The less loaded of two upstreams that seem well; of all when none does.

        Source:
            Mitzenmacher 2001, "The power of two choices in randomized load balancing".
        """
        others = [upstream for upstream in self.upstreams if upstream is not apart_from] or self.upstreams
        well = [upstream for upstream in others if upstream.is_well(now)] or others
        if len(well) == 1:
            return well[0]
        first = int(_any() * len(well))
        second = int(_any() * (len(well) - 1))
        one, other = well[first], well[second + (second >= first)]
        return one if one.in_flight <= other.in_flight else other

    def has_another(self, than: Upstream, now: float) -> bool:
        """Whether some other upstream seems well."""
        return any(upstream is not than and upstream.is_well(now) for upstream in self.upstreams)

    def answered(self, upstream: Upstream) -> None:
        """A response head has come after failures."""
        upstream.answered()
        self.brake.release()

    def sweep(self, now: float, exchanges: int) -> None:
        """Once a second: idle connections, probes, the retry budget.

        Args:
            now: The monotonic clock's reading.
            exchanges: How many the version was ever drawn for.
        """
        self.budget.refill(exchanges)
        for upstream in self.upstreams:
            upstream.sweep(now)
        self.prober.sweep(now, urgent=self.brake.is_open)

    def withdraw(self, now: float) -> None:
        """The version has no traffic any more: what still runs has so long to finish."""
        if self.cut_at == _NEVER:
            self.cut_at = now + self._drain_s

    def restore(self) -> None:
        """The version has traffic."""
        self.cut_at = _NEVER

    def retire(self) -> None:
        """The version left the table: close what is idle, let exchanges finish."""
        self.brake.release()
        self.prober.close()
        for upstream in self.upstreams:
            upstream.retire()

    def close(self) -> None:
        """Drop idle connections, attempts and probes at once; exchanges end with their clients."""
        self.retire()
        for upstream in self.upstreams:
            upstream.cancel_attempts()
