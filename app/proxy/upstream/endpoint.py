"""One upstream: a model server's address behind a version, its idle connections and its health.

Rule: health only chooses among a version's upstreams; when none of them seems well, all are used.
"""

import asyncio
from collections.abc import Coroutine
from typing import Final
from urllib.parse import urlsplit

import structlog

from app.proxy.bounds.limits import Limits
from app.proxy.http1.head_cache import HeadCache
from app.proxy.http1.response_head import ResponseHead
from app.proxy.upstream.connection_port import Carrier
from app.proxy.upstream.connector import Reach

_PORTS: Final = {"http": 80, "https": 443}
FAILURES_TO_EJECT: Final = 5
MOST_EJECTIONS: Final = 30
PROBES_TO_LEAVE: Final = 3

log = structlog.get_logger()


class Upstream:
    """Where one model server is found, and how well it does.

    Attributes:
        base: The path of its URL, put before every forwarded path.
        host_line: The Host field for it.
        heads: Response heads seen before.
        last_head: The last that came again, for the next to be compared with.
        idle: Open connections without an exchange, the last used at the end.
        in_flight: Exchanges it is serving.
        failures: Transport failures since the last response head.
        ejected_until: On the monotonic clock; until then other upstreams are preferred.
        is_ready: What the last health probes say.
        retired: Whether its version left the routing table: nothing idle is kept.
    """

    __slots__ = (
        "_ejections",
        "_failed_probes",
        "_reach",
        "_server_name",
        "base",
        "ejected_until",
        "failures",
        "heads",
        "host",
        "host_line",
        "idle",
        "in_flight",
        "is_ready",
        "last_head",
        "limits",
        "port",
        "retired",
        "tasks",
    )

    def __init__(self, url: str, limits: Limits, reach: Reach, server_name: str | None = None) -> None:
        """Args: server_name: Of an https upstream's certificate; None for the host. Raises: ValueError."""
        address = urlsplit(url)
        if address.scheme not in _PORTS or not address.hostname:
            raise ValueError(f"not an http upstream: {url}")
        self.limits = limits
        self.host: str = address.hostname
        self.port: int = address.port or _PORTS[address.scheme]
        self.base = address.path.rstrip("/").encode()
        self.host_line = b"host: " + address.netloc.rpartition("@")[2].encode()
        self._server_name = (server_name or self.host) if address.scheme == "https" else None
        self._reach = reach
        self.heads: HeadCache[ResponseHead] = HeadCache()
        self.last_head: ResponseHead | None = None
        self.idle: list[Carrier] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.in_flight = 0
        self.failures = 0
        self.ejected_until = 0.0
        self._ejections = 0
        self.is_ready = True
        self._failed_probes = 0
        self.retired = False

    # ------------------------------------------------------------------ connections

    def connect(self, protocol: asyncio.Protocol) -> Coroutine[object, object, None]:
        """Open a connection for this protocol. Raises: OSError."""
        return self._reach.connect(protocol, self.host, self.port, self._server_name)

    def spawn(self, task: "asyncio.Task[None]") -> None:
        """Keep a connection attempt alive until it is done."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def retire(self) -> None:
        """The version left the table: close what is idle, let exchanges finish."""
        self.retired = True
        for connection in list(self.idle):
            connection.close()

    def cancel_attempts(self) -> None:
        for task in list(self.tasks):
            task.cancel()

    def sweep(self, now: float) -> None:
        """Close connections idle for too long."""
        for connection in list(self.idle):
            if connection.idle_since == 0.0:
                connection.idle_since = now
            elif now - connection.idle_since > self.limits.pool_idle_s:
                connection.close()

    # ------------------------------------------------------------------ health

    def is_well(self, now: float) -> bool:
        """Whether exchanges should prefer it."""
        return self.is_ready and now >= self.ejected_until

    def answered(self) -> None:
        """A response head has come. An ejection goes on: the exchange may be older than the failures."""
        self.failures = 0
        self._ejections = 0

    def failed(self, now: float) -> None:
        """A connection was refused, reset or silent for too long: eject it after some in a row.

        Until it answers again, each further failure after an ejection ejects it at once, and for longer.
        """
        self.failures += 1
        if self.failures >= FAILURES_TO_EJECT and now >= self.ejected_until:
            self._ejections = min(self._ejections + 1, MOST_EJECTIONS)
            self.ejected_until = now + self.limits.ejected_s * self._ejections
            log.warning("upstream.ejected", host=self.host, port=self.port, for_s=self.ejected_until - now)

    def probed(self, *, ready: bool) -> None:
        """What a health probe found: some in a row make it unready, one makes it ready.

        One also ends its first ejection; who then fails again has to wait, whatever its probes say.
        """
        self._failed_probes = 0 if ready else self._failed_probes + 1
        if ready:
            self.is_ready = True
            if self._ejections <= 1:
                self.ejected_until = 0.0
        elif self._failed_probes >= PROBES_TO_LEAVE and self.is_ready:
            self.is_ready = False
            log.warning("upstream.unready", host=self.host, port=self.port)
