"""Routes, their history, and the one number that tells replicas to look.

Rule: a route changes only by compare-and-set on its generation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.domain.catalog import ModelName, VersionName
from app.domain.routing import Route, RoutingTable, Weights
from app.store.database import Transaction

CHANNEL = "turnback_routing"


@dataclass(frozen=True, slots=True)
class Revision:
    """The routing revision and the database's clock, read in one statement."""

    revision: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Generation:
    """The weights of one generation, in force from `at` until the next one."""

    model: ModelName
    generation: int
    at: datetime
    stable: VersionName
    weights_bp: Weights


async def route(tx: Transaction, model: ModelName) -> Route | None:
    """The model's route; None while it has no version. Raises: UnknownModel."""
    raise NotImplementedError


async def table(tx: Transaction) -> RoutingTable:
    """Everything the data plane needs, of one instant."""
    raise NotImplementedError


async def revision(tx: Transaction) -> Revision:
    """The number that grows with every committed change of routes or catalog."""
    raise NotImplementedError


async def announce(tx: Transaction) -> None:
    """Bump the revision and ring the bell; both take effect with the commit."""
    raise NotImplementedError


async def add(tx: Transaction, first: Route, at: datetime) -> None:
    """Store a model's first route and generation."""
    raise NotImplementedError


async def replace(tx: Transaction, new: Route, at: datetime) -> None:
    """Put `new` in the place of generation `new.generation - 1`. Raises: StaleGeneration."""
    raise NotImplementedError


async def set_latency_horizon(tx: Transaction, model: ModelName, latency_horizon_ms: int) -> bool:
    """Change the horizon within a generation; False if it was that already."""
    raise NotImplementedError


async def generations(tx: Transaction, model: ModelName, since: int) -> tuple[Generation, ...]:
    """All generations from `since` on, the oldest first."""
    raise NotImplementedError


async def canary_weights(tx: Transaction, model: ModelName, canary: VersionName, since: int) -> Mapping[int, int]:
    """Generation to the canary's weight, from generation `since` on; what `absorb` wants."""
    raise NotImplementedError


async def live(tx: Transaction, model: ModelName, at: datetime) -> Generation | None:
    """What was in force at that time; None before the first generation. Raises: UnknownModel."""
    raise NotImplementedError
