"""Which addresses an upstream may have: the gateway must not be talked into calling anything else.

Rule: only canonical spellings pass, so that what was checked is what will be connected to; a name
that is not listed itself is allowed only if every address it resolves to is.
"""

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from app.errors import UpstreamNotAllowed

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve: TypeAlias = Callable[[str, int], Awaitable[Iterable[str]]]

LOOPBACK = ("127.0.0.0/8", "::1/128", "localhost")
URL_FIELD = "/url"
_THIS_MACHINE = "localhost"
_PORTS = {"http": 80, "https": 443}

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(?P<port>[1-9][0-9]{0,4}))?(?P<base>(?:/[A-Za-z0-9._~%:@-]+)*)/?"
)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Upstream:
    """An upstream's address in its one spelling; `host` without brackets."""

    scheme: str
    host: str
    port: int
    base: str

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.base}"


def parse(url: str, field: str = URL_FIELD) -> Upstream:
    """Take an upstream's URL apart. Raises: UpstreamNotAllowed."""
    match = _URL.fullmatch(url)
    if match is None or ".." in match["base"]:
        raise UpstreamNotAllowed(field, "must be http[s]://host[:port][/base], lower case, nothing else in it")
    port = int(match["port"] or _PORTS[match["scheme"]])
    if port > 65_535:
        raise UpstreamNotAllowed(field, "the port must lie between 1 and 65535")
    host = match["host"].strip("[]")
    if not is_host(host):
        raise UpstreamNotAllowed(field, "the host must be an IP address in its usual form or a DNS name")
    return Upstream(match["scheme"], host, port, match["base"])


class AllowList:
    """Hosts, host:port pairs and networks that upstreams may have."""

    def __init__(self, entries: Iterable[str], resolve: Resolve | None = None) -> None:
        """Raises: ValueError: an entry is neither."""
        self._names: set[str] = set()
        self._networks: list[Network] = []
        self._resolve = resolve or _resolve
        for entry in entries:
            self._add(entry)

    def _add(self, entry: str) -> None:
        try:
            self._networks.append(ipaddress.ip_network(entry))
        except ValueError:
            host, _, port = entry.partition(":")
            if not is_host(host) or (port and not port.isdecimal()):
                raise ValueError(f"{entry!r} is no host, host:port or network") from None
            self._names.add(entry)

    async def check(self, url: str, field: str = URL_FIELD) -> str:
        """The URL in its one spelling. Raises: UpstreamNotAllowed."""
        upstream = parse(url, field)
        if not await self._allows(upstream):
            raise UpstreamNotAllowed(field, "the address is not on the allow-list of this gateway")
        return upstream.url

    async def _allows(self, upstream: Upstream) -> bool:
        if {upstream.host, f"{upstream.host}:{upstream.port}"} & self._names:
            return True
        literal = _literal(upstream.host)
        if literal is not None:
            return self._contains(literal)
        try:
            found = [_literal(address) for address in await self._resolve(upstream.host, upstream.port)]
        except OSError:
            return False
        return bool(found) and all(address is not None and self._contains(address) for address in found)

    def may_connect(self, host: str, address: str) -> bool:
        """Whether a name that was let in may be connected to at the address it leads to now.

        A name listed itself may lead anywhere but to this machine, its link or nowhere, unless a network says so.
        """
        found = _literal(address)
        if found is None:
            return False
        if host == _THIS_MACHINE and found.is_loopback:
            return True
        return self._contains(found) or (self._is_listed(host) and not _is_special(found))

    def _is_listed(self, host: str) -> bool:
        return any(name.partition(":")[0] == host for name in self._names)

    def _contains(self, address: Address) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)


def _is_special(address: Address) -> bool:
    """An address that no model server elsewhere has: a cloud's metadata service answers on the link."""
    return address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast


def is_host(text: str) -> bool:
    """Whether this is an IP address in its one spelling, or a DNS name in lower case."""
    return _literal(text) is not None or _is_name(text)


def _literal(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # Another spelling of the same address is refused, an IPv4 address in IPv6 clothes too.
    return address if str(address) == host and getattr(address, "ipv4_mapped", None) is None else None


def _is_name(host: str) -> bool:
    labels = host.split(".")
    # A last label of digits, or hexadecimal ones, is an address to some resolvers.
    return len(host) <= 253 and all(map(_LABEL.fullmatch, labels)) and re.match(r"[0-9]", labels[-1]) is None


async def _resolve(host: str, port: int) -> Iterable[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port)
    return [str(address[4][0]) for address in found]
