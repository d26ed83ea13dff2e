"""One process' loops between its data plane and Postgres.

Rule: without Postgres nothing here raises or forgets: the last table stays, rows stay in the
recorder, and all is written when it is back.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from app.domain.catalog import ModelName, VersionName
from app.domain.routing import RoutingTable
from app.domain.tally import Flush
from app.replica.clock import DatabaseClock
from app.store.database import Database

Swap: TypeAlias = Callable[[RoutingTable], None]
Collect: TypeAlias = Callable[[], Flush]
Acknowledge: TypeAlias = Callable[[Flush], None]
OpenBrakes: TypeAlias = Callable[[], Iterable[tuple[ModelName, VersionName]]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, in seconds."""

    poll_s: float = 0.5
    flush_s: float = 1.0
    canary_max_stale_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Status:
    """What telemetry and readiness want to know.

    Attributes:
        database_up: Whether the last contact worked; None before the first try.
        routing_age_s: Seconds since the applied table was known to be current; None before the first.
        pushed_age_s: Seconds since the last push was committed; None before the first.
        canary_withheld: Whether only stable gets traffic because Postgres was away too long.
    """

    database_up: bool | None
    applied_revision: int
    routing_age_s: float | None
    pushed_age_s: float | None
    canary_withheld: bool


class Replica:
    """Pulls tables, pushes tallies, for one boot."""

    def __init__(
        self,
        database: Database,
        boot: str,
        role: str,
        *,
        swap: Swap,
        collect: Collect,
        acknowledge: Acknowledge,
        open_brakes: OpenBrakes,
        clock: DatabaseClock,
        pace: Pace = Pace(),
    ) -> None:
        raise NotImplementedError

    @property
    def status(self) -> Status:
        raise NotImplementedError

    async def run(self) -> None:
        """Pull, push and listen until cancelled; a last push is `close`."""
        raise NotImplementedError

    async def pull(self) -> bool:
        """Look once; True if Postgres answered. Raises nothing."""
        raise NotImplementedError

    async def push(self) -> bool:
        """Write once; True if Postgres took it. Raises nothing."""
        raise NotImplementedError
