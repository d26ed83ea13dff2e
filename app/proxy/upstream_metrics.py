"""How this process stands with its upstreams, as Prometheus series."""

from collections import Counter
from collections.abc import Iterator

from app import telemetry
from app.proxy.gateway import Gateway
from app.proxy.upstream.endpoint import Upstream
from app.proxy.upstream.pool import Pool
from app.telemetry import Series

WELL, EJECTED, UNREADY = STATES = ("well", "ejected", "unready")


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
