"""One version's upstream: its address, its idle connections, its brake."""

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from app.domain.catalog import Version
from app.proxy.brake import Brake, OpenCount
from app.proxy.framing import Remembered
from app.proxy.limits import Limits
from app.proxy.response_head import ResponseHead

if TYPE_CHECKING:
    from app.proxy.upstreams import UpstreamConnection

_DEFAULT_PORT: Final = 80
PROBE_S: Final = 1.0


class Pool:
    """Where a version's exchanges are sent.

    Attributes:
        base: The upstream URL's path, put before every forwarded path.
        host_line: The Host field for this upstream.
        version_line: The response field that names the version.
        heads: Response heads seen before.
        idle: Open connections without an exchange, the last used at the end.
        retired: Whether the version left the routing table: nothing idle is kept.
    """

    __slots__ = (
        "base",
        "brake",
        "heads",
        "host",
        "host_line",
        "idle",
        "limits",
        "port",
        "retired",
        "tasks",
        "timeouts",
        "version",
        "version_line",
    )

    def __init__(self, version: Version, limits: Limits, open_brakes: OpenCount) -> None:
        address = urlsplit(version.urls[0])
        if address.scheme != "http" or not address.hostname:
            raise ValueError(f"not an http upstream: {version.urls[0]}")
        self.version = version
        self.timeouts = version.timeouts
        self.limits = limits
        self.host = address.hostname
        self.port = address.port or _DEFAULT_PORT
        self.base = address.path.rstrip("/").encode()
        self.host_line = b"host: " + address.netloc.rpartition("@")[2].encode()
        self.version_line = b"x-turnback-version: " + version.name.encode()
        self.brake = Brake(open_brakes)
        self.heads: Remembered[ResponseHead] = {}
        self.idle: list[UpstreamConnection] = []
        self.tasks: set[asyncio.Task[object]] = set()
        self.retired = False

    def spawn(self, task: "asyncio.Task[object]") -> None:
        """Keep a connection attempt or probe alive until it is done."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def retire(self) -> None:
        """The version left the table: close what is idle, let exchanges finish."""
        self.retired = True
        self.brake.release()
        for connection in list(self.idle):
            connection.close()

    def sweep(self, now: float) -> None:
        """Close connections idle for too long, and probe behind an open brake."""
        for connection in list(self.idle):
            if connection.idle_since == 0.0:
                connection.idle_since = now
            elif now - connection.idle_since > self.limits.pool_idle_s:
                connection.close()
        if self.brake.is_open and not self.brake.probing:
            self.brake.probing = True
            self.spawn(asyncio.ensure_future(self._probe()))

    async def _probe(self) -> None:
        """Release the brake when the upstream takes a TCP connection again."""
        try:
            async with asyncio.timeout(PROBE_S):
                _, writer = await asyncio.open_connection(self.host, self.port)
            writer.close()
        except (OSError, TimeoutError):
            return
        else:
            self.brake.release()
        finally:
            self.brake.probing = False

    def close(self) -> None:
        """Drop idle connections, attempts and probes at once; exchanges end with their clients."""
        self.retire()
        for task in list(self.tasks):
            task.cancel()
