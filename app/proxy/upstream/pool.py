"""One version's place in a gateway process: its upstreams, its bulkhead, its brake, its retry budget.

Rule: a version never holds more than its bulkhead; what is beyond waits in order, and what is beyond
that is turned away, so that a slow version cannot take the gateway from the others.
"""

from collections import deque
from contextlib import suppress
from random import Random
from typing import Final, Protocol

import orjson

from app.domain.catalog.models import Protocol as Speaks
from app.domain.catalog.models import Version, probe_path
from app.domain.catalog.routing import NO_COIN, Route
from app.proxy.bounds.limits import Limits
from app.proxy.bounds.retry_budget import RetryBudget
from app.proxy.http1.framing import REQUEST_ID
from app.proxy.upstream.breaker import Brake, OpenCount
from app.proxy.upstream.breaker_evidence import LocalEvidence
from app.proxy.upstream.connector import Reach
from app.proxy.upstream.endpoint import Upstream
from app.proxy.upstream.health import Prober
from app.recording.totals import Totals

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
        version_lines: Response fields: the version's name, and the request id but for its value.
        evidence: This process's own case against the version.
        in_flight: Exchanges that hold a place of the bulkhead.
        concurrency: How many may.
        has_traffic: Whether a coin may choose it.
        totals: What the version did since this process started.
        served: How many exchanges it had served at the last sweep.
        is_restless: Whether the next sweep has something to do though nothing was served; most of many
            thousand pools rest.
    """

    __slots__ = (
        "_cut_at",
        "_drain_s",
        "_queue",
        "_waiting",
        "brake",
        "budget",
        "concurrency",
        "evidence",
        "has_traffic",
        "in_flight",
        "is_restless",
        "only",
        "path",
        "prober",
        "served",
        "served_model",
        "timeouts",
        "totals",
        "upstreams",
        "version",
        "version_lines",
    )

    def __init__(
        self,
        version: Version,
        speaks: Speaks,
        limits: Limits,
        open_brakes: OpenCount,
        reach: Reach,
        totals: Totals,
    ) -> None:
        self.version = version
        self.totals = totals
        self.served = -1
        self.is_restless = True
        self.timeouts = version.timeouts
        self.upstreams = tuple(Upstream(url, limits, reach, version.server_name) for url in version.urls)
        self.only = self.upstreams[0] if len(self.upstreams) == 1 else None
        self.path = None if version.path is None else version.path.encode()
        self.served_model = None if version.served_model is None else orjson.dumps(version.served_model)[1:-1]
        self.version_lines = b"x-turnback-version: %b\r\n%b" % (version.name.encode(), REQUEST_ID)
        self.brake = Brake(version.model, version.name, open_brakes)
        self.evidence = LocalEvidence()
        self.budget = RetryBudget()
        self.prober = Prober(probe_path(speaks, version), self.upstreams, limits, self.brake.probed)
        self.concurrency = version.bulkhead.concurrency
        self._queue = version.bulkhead.queue
        self._waiting: deque[Waiting] = deque()
        self.in_flight = 0
        self._cut_at = _NEVER
        self.has_traffic = False
        self._drain_s = limits.rollback_drain_s

    # ------------------------------------------------------------------ the bulkhead

    def wait(self, exchange: Waiting) -> bool:  # ADR 0066
        """Queue for a place; False when the queue is full too."""
        if len(self._waiting) >= self._queue:
            return False
        self._waiting.append(exchange)
        return True

    @property
    def queued(self) -> int:
        """Exchanges that wait for a place."""
        return len(self._waiting)

    def stop_waiting(self, exchange: Waiting) -> None:
        """Leave the queue."""
        with suppress(ValueError):
            self._waiting.remove(exchange)

    def leave(self) -> None:
        """Give a place back; the first in the queue gets it."""
        self.in_flight -= 1
        if self._waiting and self.in_flight < self.concurrency:
            self.in_flight += 1
            self._waiting.popleft().admitted()

    # ------------------------------------------------------------------ upstreams

    def choose(self, now: float, apart_from: Upstream | None = None) -> Upstream:  # ADR 0065
        """The less loaded of two upstreams that seem well; of all when none does.

        Args:
            now: The monotonic clock's reading.
            apart_from: One that has just failed; taken again only when there is no other.

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
        self.brake.answered()

    def sweep(self, now: float, exchanges: int) -> None:
        """Once a second: idle connections, probes, the retry budget.

        Args:
            now: The monotonic clock's reading.
            exchanges: How many the version ever served.
        """
        self.served = exchanges
        self.budget.refill(exchanges)
        for upstream in self.upstreams:
            upstream.sweep(now)
        # A probe of a version's only upstream has nothing to choose, unless a brake waits for it.
        watched = self.only is None and self.has_traffic
        self.prober.sweep(now, watched=watched, urgent=self.brake.is_open)
        self.is_restless = (
            watched
            or self.in_flight > 0
            or self.brake.is_open
            or self.prober.is_asking
            or not self.budget.is_full
            or any(upstream.idle for upstream in self.upstreams)
        )

    # ------------------------------------------------------------------ what the routing says

    def follow(self, route: Route, now: float) -> None:
        """A routing table has come: the version's weight decides on its brake and on what still runs.

        Args:
            route: Its model's.
            now: The monotonic clock's reading.
        """
        weight_bp = route.weights_bp.get(self.version.name, 0)
        is_stable = self.version.name == route.stable
        if weight_bp and not is_stable:
            self.brake.arm(weight_bp)
        elif is_stable or route.generation != NO_COIN:
            self.brake.disarm()
            self.evidence.forget()
        self.has_traffic = is_stable or weight_bp > 0
        self.is_restless = True
        if self.has_traffic:
            self._cut_at = _NEVER
        elif route.generation != NO_COIN:
            self._withdraw(now)

    def cuts(self, drawn: float, now: float) -> bool:
        """Whether an exchange drawn then has to end, because the version lost its traffic since and time is over.

        What an operator sends there afterwards may run on.
        """
        return now >= self._cut_at and drawn <= self._cut_at - self._drain_s

    def _withdraw(self, now: float) -> None:
        """Somebody took the version's traffic: what still runs has so long to finish."""
        if self._cut_at == _NEVER:
            self._cut_at = now + self._drain_s

    def retire(self, now: float) -> None:
        """The version left the table: close what is idle, let exchanges finish."""
        self._withdraw(now)
        self.brake.disarm()
        self._shut()

    def _shut(self) -> None:
        self.prober.close()
        for upstream in self.upstreams:
            upstream.retire()

    def close(self) -> None:
        """Drop idle connections, attempts and probes at once; exchanges end with their clients."""
        self._shut()
        for upstream in self.upstreams:
            upstream.cancel_attempts()
