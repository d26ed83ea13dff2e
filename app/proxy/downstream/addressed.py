"""Whom a request to the admin or ops port may be addressed to, and whose page may have sent it.

Rule: a browser can be led here under any name (DNS rebinding), so a name counts only where the operator gave
it; and a page from elsewhere may not change anything, though its browser can reach what it cannot (ADR 0136).
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from app.proxy.http1 import problems
from app.proxy.http1.framing import HOST
from app.proxy.http1.request_head import Refused, RequestHead, malformed

# What probes ask of an address they have from elsewhere, and what tells nothing worth a rebinding.
PROBED: Final = frozenset((b"/livez", b"/readyz"))
_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))
_OWN_SITE: Final = frozenset((b"same-origin", b"none"))
_MAX_PORT: Final = 65_535


class Addressees:
    """The names and addresses requests may have as their Host, beside the socket's own address."""

    __slots__ = ("_names",)

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Raises: ValueError: one is no host name or address, or has a port."""
        self._names = frozenset(("localhost", *map(_given, names)))

    def check(self, request: RequestHead, local: object) -> None:
        """Let a request pass.

        Args:
            request: Its head.
            local: The address of the socket it came over.

        Raises: Refused.
        """
        port = request.authority[len(request.host) + 1 :]
        if port and int(port) > _MAX_PORT:
            raise malformed("the Host field's port is none")
        if request.url.partition(b"?")[0] in PROBED:
            return
        host = _plain(request.host.decode("ascii"))
        if host not in self._names and not (isinstance(local, tuple) and host == _plain(str(local[0]))):
            detail = "the Host field names neither localhost, the address it came to nor one of TURNBACK_ADMIN_HOSTS"
            raise Refused(problems.MISDIRECTED_REQUEST, detail)
        if request.method not in _SAFE and not _is_from_here(request):
            raise Refused(problems.CROSS_ORIGIN, "the Origin or Sec-Fetch-Site field tells of another origin")


def _given(name: str) -> str:
    """A name as the operator wrote it, in its one spelling. Raises: ValueError."""
    in_brackets = f"[{name}]" if ":" in name and not name.startswith("[") else name
    match = HOST.fullmatch(in_brackets.encode("ascii", "replace"))
    if match is None or len(match[1]) != len(in_brackets):
        raise ValueError(f"{name} is no host name or address without a port")
    return _plain(in_brackets)


def _plain(host: str) -> str:
    """One spelling for a host: lower case, no final dot, no brackets, no zone, IPv4 without IPv6 clothes."""
    lower = host.lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(lower.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return lower
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _is_from_here(request: RequestHead) -> bool:
    """Whether no browser says that another origin's page is behind it; what is no browser says nothing."""
    here = request.authority.lower()
    for line in request.lines:
        name, _, value = line.partition(b":")
        field, said = name.lower(), value.strip().lower()
        if field == b"sec-fetch-site" and said not in _OWN_SITE:
            return False
        if field == b"origin" and said not in (b"http://" + here, b"https://" + here):
            return False
    return True
