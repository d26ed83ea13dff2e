"""What every action needs beside its own arguments."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from app.domain.catalog.models import Protocol, Version
from app.store.pg.database import Database

Probe: TypeAlias = Callable[[Protocol, Version], Awaitable[str | None]]
"""Ask a version, whose servers speak the protocol, whether it can take traffic: None if so, else why not.

Must end within 2 s and never raise.
"""

CheckUpstream: TypeAlias = Callable[[str, str], Awaitable[str]]
"""The upstream's URL, named in that field, in its one spelling. Raises: UpstreamNotAllowed."""

ENGINE = "engine"
REPLICA = "replica"
"""Actors that are no person: the controller, and a gateway process that acts without asking it."""


@dataclass(frozen=True, slots=True)
class Means:
    """Bound once, in main.

    Attributes:
        entropy: That many random bytes, for ids.
    """

    database: Database
    probe: Probe
    check_upstream: CheckUpstream
    entropy: Callable[[int], bytes]
