"""One upstream: a model server's address behind a version, its idle connections and its health.

Rule: health only chooses among a version's upstreams; when none of them seems well, all are used.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

import structlog

from app.proxy.framing import Remembered
from app.proxy.limits import Limits
from app.proxy.response_head import ResponseHead

if TYPE_CHECKING:
    from app.proxy.upstream_connection import UpstreamConnection

MayConnect: TypeAlias = Callable[[str, str], bool]
"""Whether a host's resolved address may be connected to: of (host, address)."""
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses that (host, port) leads to now. Raises: OSError."""

_PORTS: Final = {"http": 80, "https": 443}
FAILURES_TO_EJECT: Final = 5
MOST_EJECTIONS: Final = 30
PROBES_TO_LEAVE: Final = 3

log = structlog.get_logger()


async def system_addresses(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says, each address once. Raises: OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Reach:
    """How this process reaches upstreams: whose names it believes, whose addresses and certificates it takes.

    Attributes:
        resolve: Asked whenever a connection to a name is opened.
        may_connect: Asked for every address it finds.
        refused_addresses: How often a name led to an address that is not allowed.
    """

    __slots__ = ("_tls", "may_connect", "refused_addresses", "resolve")

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        may_connect: MayConnect = lambda _host, _address: True,
        resolve: Resolve = system_addresses,
    ) -> None:
        """Args: tls: How https upstreams are verified, and what they are shown; the system's authorities without."""
        self._tls = tls
        self.may_connect = may_connect
        self.resolve = resolve
        self.refused_addresses = 0

    def tls(self) -> ssl.SSLContext:
        """The context for https upstreams; made when first asked for, since loading authorities takes a while."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


class Upstream:
    """Where one model server is found, and how well it does.

    Attributes:
        base: The path of its URL, put before every forwarded path.
        host_line: The Host field for it.
        heads: Response heads seen before.
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
        "_is_address",
        "_reach",
        "_server_name",
        "_tls",
        "base",
        "ejected_until",
        "failures",
        "heads",
        "host",
        "host_line",
        "idle",
        "in_flight",
        "is_ready",
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
        self._tls = reach.tls() if address.scheme == "https" else None
        self._server_name = server_name or self.host
        self._reach = reach
        self._is_address = _is_address(self.host)
        self.heads: Remembered[ResponseHead] = Remembered()
        self.idle: list[UpstreamConnection] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.in_flight = 0
        self.failures = 0
        self.ejected_until = 0.0
        self._ejections = 0
        self.is_ready = True
        self._failed_probes = 0
        self.retired = False

    # ------------------------------------------------------------------ connections

    async def connect(self, protocol: asyncio.Protocol) -> None:
        """Open a connection for this protocol. Raises: OSError."""
        *others, last = await self._addresses()
        for address in others:
            with suppress(OSError):
                return await self._open(protocol, address)
        return await self._open(protocol, last)

    async def _open(self, protocol: asyncio.Protocol, address: str) -> None:
        server_name = None if self._tls is None else self._server_name
        await asyncio.get_running_loop().create_connection(
            lambda: protocol, address, self.port, ssl=self._tls, server_hostname=server_name
        )

    async def _addresses(self) -> list[str]:
        """What the host's name leads to now, every one of them checked: a name may lead elsewhere tomorrow.

        Raises: OSError.
        """
        if self._is_address:
            return [self.host]
        addresses = await self._reach.resolve(self.host, self.port)
        if not addresses:
            raise OSError(f"{self.host} has no address")
        for address in addresses:
            if not self._reach.may_connect(self.host, address):
                self._reach.refused_addresses += 1
                log.error("upstream.address_refused", host=self.host, port=self.port, address=address)
                raise OSError(f"{self.host} leads to an address that is not allowed")
        return list(addresses)

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


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
