"""How many client connections are let in, in all and from one address.

Rule: beyond a cap a connection is accepted, told so with 503 and closed: a full backlog would tell its
client nothing, and an idle listener would not see clients leave.
"""

import resource
from dataclasses import dataclass, replace
from typing import Final

from app.proxy.bounds.limits import DEFAULT_LIMITS, Limits

# Listeners, the database's connections, journal segments, logs: what a process needs beside exchanges.
_OTHER_DESCRIPTORS: Final = 64
_FEWEST: Final = 16
_MOST: Final = 65_536
_FEWEST_OWN: Final = 4
_MOST_ADMIN: Final = 256
_MOST_OPS: Final = 32


class Admission:
    """Counts the connections of each address; those in all are uvicorn's to count."""

    __slots__ = ("_limits", "_open")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[str, int] = {}

    def refusal(self, address: str, in_all: int) -> str | None:
        """Why one more connection cannot be let in, or None; then it counts until it leaves.

        Args:
            address: The client's.
            in_all: Connections open already.
        """
        limits = self._limits
        if in_all >= limits.connections:
            return f"at most {limits.connections} connections are served here"
        if limits.connections_per_address:
            count = self._open.get(address, 0)
            if count >= limits.connections_per_address:
                return f"at most {limits.connections_per_address} connections are served to one address"
            self._open[address] = count + 1
        return None

    def leave(self, address: str) -> None:
        """A connection that was let in has ended."""
        count = self._open.get(address, 0)
        if count > 1:
            self._open[address] = count - 1
        else:
            self._open.pop(address, None)


def use_all_descriptors() -> None:
    """Raise this process's own limit to the one it was given: nothing here uses select(2), for which it is lower."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(frozen=True, slots=True)
class Places:
    """Connections each port may hold, so that none takes the descriptors of another.

    Attributes:
        inference: Each of them may need one descriptor more, for its upstream.
    """

    inference: int
    admin: int
    ops: int


def fitting_places() -> Places:  # ADR 0062
    """What the process has file descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = max(soft - _OTHER_DESCRIPTORS, 0)
    admin, ops = (min(most, max(_FEWEST_OWN, spare // 6)) for most in (_MOST_ADMIN, _MOST_OPS))
    return Places(min(max(_FEWEST, (spare - admin - ops) // 2), _MOST), admin, ops)


def capped(in_all: int | None, per_address: int) -> Limits:
    """The default limits with these caps on connections; without one in all, what the process has room for."""
    connections = in_all or fitting_places().inference
    return replace(DEFAULT_LIMITS, connections=connections, connections_per_address=per_address)


def own(connections: int, body_bytes: int) -> Limits:
    """The limits of a port that serves the gateway's own paths alone."""
    return replace(DEFAULT_LIMITS, connections=connections, body_bytes=body_bytes, own_body_bytes=body_bytes)
