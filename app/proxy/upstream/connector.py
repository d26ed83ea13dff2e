"""How this process opens connections to upstreams: names, addresses, certificates.

Rule: a name is looked up for every connection, every address it leads to is checked, and what was
checked is what is connected to.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

import structlog

MayConnect: TypeAlias = Callable[[str, str], bool]
"""Whether a host's resolved address may be connected to: of (host, address)."""
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses that (host, port) leads to now. Raises: OSError."""

log = structlog.get_logger()


async def system_addresses(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says, each address once. Raises: OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Reach:  # ADR 0069
    """Whose names this process believes, whose addresses and certificates it takes.

    Attributes:
        refused_addresses: How often a name led to an address that is not allowed.
    """

    __slots__ = ("_may_connect", "_resolve", "_tls", "refused_addresses")

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        may_connect: MayConnect = lambda _host, _address: True,
        resolve: Resolve = system_addresses,
    ) -> None:
        """Everything may be connected to unless somebody says otherwise.

        Args:
            tls: How https upstreams are verified, and what they are shown; the system's authorities without.
            may_connect: Asked for every address a name leads to.
            resolve: Asked whenever a connection to a name is opened.
        """
        self._tls = tls
        self._may_connect = may_connect
        self._resolve = resolve
        self.refused_addresses = 0

    async def connect(self, protocol: asyncio.Protocol, host: str, port: int, server_name: str | None) -> None:
        """Open a connection for this protocol.

        Args:
            protocol: Who gets the transport.
            host: A name or an address.
            port: Of TCP.
            server_name: The name an https upstream's certificate must have; None for plain http.

        Raises: OSError.
        """
        tls = None if server_name is None else self._context()
        *others, last = await self._addresses(host, port)
        for address in others:
            with suppress(OSError):
                return await _open(protocol, address, port, tls, server_name)
        return await _open(protocol, last, port, tls, server_name)

    async def _addresses(self, host: str, port: int) -> list[str]:
        """What a host leads to now, every address checked: a name may lead elsewhere tomorrow. Raises: OSError."""
        if _is_address(host):
            return [host]
        addresses = await self._resolve(host, port)
        if not addresses:
            raise OSError(f"{host} has no address")
        for address in addresses:
            if not self._may_connect(host, address):
                self.refused_addresses += 1
                log.error("upstream.address_refused", host=host, port=port, address=address)
                raise OSError(f"{host} leads to an address that is not allowed")
        return list(addresses)

    def _context(self) -> ssl.SSLContext:
        """For https upstreams; made when first asked for, since loading authorities takes a while."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


async def _open(
    protocol: asyncio.Protocol, address: str, port: int, tls: ssl.SSLContext | None, server_name: str | None
) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: protocol, address, port, ssl=tls, server_hostname=server_name)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
