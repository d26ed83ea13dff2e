"""What upstreams are told of where a request came from: `x-forwarded-*` and `forwarded` (RFC 7239).

Rule: nobody's word is taken for it but that of a proxy the operator trusts; what such a proxy says is kept
or appended to, what anybody else says is replaced.
"""

import ipaddress
import re
from typing import Final

from app.proxy.http1.framing import HOST

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SCHEMES: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*(?:[ \t]*,[ \t]*[A-Za-z][A-Za-z0-9+.-]*)*")
_PORT: Final = re.compile(rb"[0-9]{1,5}")


class Relayed:
    """What a request itself says of where it came from, field by field in the order they came.

    Attributes:
        addresses: Values of X-Forwarded-For.
        elements: Values of Forwarded.
        scheme, host, port: The last X-Forwarded-Proto, -Host and -Port; the nearest proxy wrote it.
    """

    __slots__ = ("addresses", "elements", "host", "port", "scheme")

    def __init__(self) -> None:
        self.addresses: list[bytes] = []
        self.elements: list[bytes] = []
        self.scheme = b""
        self.host = b""
        self.port = b""


class Origin:  # ADR 0064
    """What is known of one client connection.

    Attributes:
        address: The peer's, as text; "unknown" where there is none.
        parts: The field lines for upstreams, cut where the request's authority stands in them.
    """

    __slots__ = ("_is_trusted", "_port", "address", "parts")

    def __init__(self, peer: object, local: object, trusted: tuple[Network, ...]) -> None:
        """Look at both ends once, so that requests need not.

        Args:
            peer: The client's socket address.
            local: The listener's.
            trusted: Networks whose proxies are believed.
        """
        self.address = _host_of(peer)
        self._port = b"%d" % local[1] if isinstance(local, tuple) else b"0"
        self._is_trusted = bool(trusted) and is_within(self.address, trusted)
        self.parts = (
            b"x-forwarded-proto: http\r\nx-forwarded-port: %b\r\nx-forwarded-for: %b\r\nx-forwarded-host: "
            % (self._port, self.address.encode()),
            b'\r\nforwarded: %b;host="' % self._element(),
            b'"',
        )

    def _element(self) -> bytes:
        address = self.address.encode()
        return b"for=%b;proto=http" % (b'"[%b]"' % address if b":" in address else address)

    def forwarded(self, authority: bytes, relayed: Relayed | None) -> bytes:
        """The field lines for a request; `relayed` is never None where it has no Host."""
        return authority.join(self.parts) if relayed is None else self.told(authority, relayed)

    def told(self, authority: bytes, relayed: Relayed) -> bytes:
        """The field lines of a request that says something itself, or has no Host."""
        known = relayed if self._is_trusted else Relayed()
        host = known.host if HOST.fullmatch(known.host) else authority
        element = self._element() + (b';host="%b"' % authority if authority else b"")
        lines = [
            b"x-forwarded-proto: " + (known.scheme if _SCHEMES.fullmatch(known.scheme) else b"http"),
            b"x-forwarded-port: " + (known.port if _PORT.fullmatch(known.port) else self._port),
            b"x-forwarded-for: " + b", ".join((*known.addresses, self.address.encode())),
            b"forwarded: " + b", ".join((*known.elements, element)),
        ]
        if host:
            lines.append(b"x-forwarded-host: " + host)
        return b"\r\n".join(lines)


def is_within(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address lies in one of these networks; an IPv4 address in IPv6 clothes counts as IPv4."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)


def _host_of(peer: object) -> str:
    """The address without its IPv6 zone, which means nothing elsewhere."""
    return str(peer[0]).partition("%")[0] if isinstance(peer, tuple) else "unknown"
