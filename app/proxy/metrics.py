"""What the data plane counted, and how it stands with its upstreams, as Prometheus series."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import accumulate

from app import telemetry
from app.domain.catalog.models import ModelName, VersionName
from app.domain.stats import latency_histogram
from app.proxy.gateway import Gateway
from app.proxy.observing.observer import Observer
from app.proxy.upstream.endpoint import Upstream
from app.proxy.upstream.pool import Pool
from app.recording.recorder import Recorder
from app.recording.totals import TotalsSinceStart, VersionTotals
from app.telemetry import Distribution, Series

DURATION_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OBSERVED_S = 60.0
WELL, EJECTED, UNREADY = STATES = ("well", "ejected", "unready")

_Draws = dict[tuple[ModelName, VersionName], int]


class RecorderFigures:
    """Reads the totals once per scrape."""

    def __init__(self, recorder: Recorder, monotonic: Callable[[], float]) -> None:
        self._recorder = recorder
        self._monotonic = monotonic
        self._drawn_before: deque[tuple[float, _Draws]] = deque([(monotonic(), {})])

    def series(self) -> Iterator[Series]:
        totals = self._recorder.since_start()
        for version in totals.versions:
            yield from _of_version(version)
        yield Series(telemetry.OVERHEAD, (), _overhead(totals))
        yield Series(telemetry.LOST_ROWS, (), float(totals.lost_exchanges))
        if totals.journal_up is not None:
            yield Series(telemetry.JOURNAL_UP, (), float(totals.journal_up))
        yield from self._observed(
            {(of.model, of.version): sum(of.outcomes.values()) + of.in_flight for of in totals.versions}
        )

    def _observed(self, drawn: _Draws) -> Iterator[Series]:
        now = self._monotonic()
        while len(self._drawn_before) > 1 and self._drawn_before[0][0] < now - OBSERVED_S:
            self._drawn_before.popleft()
        before = self._drawn_before[0][1]
        self._drawn_before.append((now, drawn))
        recent = {key: count - before.get(key, 0) for key, count in drawn.items()}
        by_model: dict[ModelName, int] = {}
        for (model, _), count in recent.items():
            by_model[model] = by_model.get(model, 0) + count
        for (model, version), count in recent.items():
            if by_model[model]:
                yield Series(telemetry.OBSERVED, (model, version), count / by_model[model])


class ObserverFigures:
    """Reads what was given up of what was read."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def series(self) -> Iterator[Series]:
        yield Series(telemetry.ANSWERS_DROPPED, (), float(self._observer.rows.dropped))


class UpstreamFigures:
    """Reads pools once per scrape; versions without traffic are left out."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def series(self) -> Iterator[Series]:
        now = self._gateway.monotonic()
        yield Series(telemetry.ADDRESSES_REFUSED, (), float(self._gateway.reach.refused_addresses))
        for pool in self._gateway.pools:
            if pool.has_traffic:
                yield from _of_pool(pool, now)


def _of_version(of: VersionTotals) -> Iterator[Series]:
    labels = (of.model, of.version)
    for outcome, count in of.outcomes.items():
        yield Series(telemetry.REQUESTS, (*labels, outcome), float(count))
    yield Series(telemetry.INFLIGHT, labels, float(of.in_flight))
    yield Series(telemetry.RETRIES, labels, float(of.retries))
    yield Series(telemetry.FALLBACKS, labels, float(of.fallbacks))
    upper_s = {latency_histogram.edge_us(index + 1) / 1e6: count for index, count in of.latency_bins.items()}
    # A bin's middle stands for its values: off by 1 % at most.
    total_s = sum(edge / latency_histogram.GAMMA**0.5 * count for edge, count in upper_s.items())
    yield Series(telemetry.REQUEST_DURATION, labels, telemetry.distribution(upper_s, DURATION_BOUNDS_S, total_s))


def _overhead(totals: TotalsSinceStart) -> Distribution:
    names = [*(f"{edge_us / 1e6:g}" for edge_us in totals.overhead_edges_us), "+Inf"]
    cumulative = accumulate(map(float, totals.overhead_counts))
    return Distribution(tuple(zip(names, cumulative, strict=True)), totals.overhead_sum_us / 1e6)


def _of_pool(pool: Pool, now: float) -> Iterator[Series]:
    labels = (pool.version.model, pool.version.name)
    yield Series(telemetry.BRAKE_OPEN, labels, float(pool.brake.is_open))
    yield Series(telemetry.QUEUED, labels, float(pool.queued))
    found = Counter(_state(upstream, now) for upstream in pool.upstreams)
    for state in STATES:
        yield Series(telemetry.UPSTREAMS, (*labels, state), float(found[state]))


def _state(upstream: Upstream, now: float) -> str:
    if not upstream.is_ready:
        return UNREADY
    return EJECTED if now < upstream.ejected_until else WELL
