"""Rollouts: a few columns to ask for, the whole domain value beside them.

Rule: a save must name the generation it read; safety rests on that alone, not on any lock.
"""

from dataclasses import dataclass
from datetime import datetime

from app.domain.catalog import ModelName
from app.domain.rollout import Rollout, RolloutId
from app.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Seen:
    """A rollout as it was read.

    Attributes:
        generation: The route's generation of that instant; whoever saves must still find it.
        started_generation: The generation the rollout's start made; its evidence begins there.
        at: Database time of the reading.
    """

    rollout: Rollout
    generation: int
    started_generation: int
    at: datetime


async def add(tx: Transaction, new: Rollout, generation: int) -> None:
    """Store a new rollout. Raises: RolloutActive."""
    raise NotImplementedError


async def save(tx: Transaction, rollout: Rollout, *, seen: int, generation: int) -> None:
    """Replace what was read at generation `seen`. Raises: StaleGeneration."""
    raise NotImplementedError


async def rollout(tx: Transaction, rollout_id: RolloutId) -> Seen:
    """Raises: UnknownRollout."""
    raise NotImplementedError


async def claim(tx: Transaction, rollout_id: RolloutId) -> Seen | None:
    """The rollout for judging in this transaction; None when another replica is at it or it has ended."""
    raise NotImplementedError


async def active(tx: Transaction) -> tuple[Seen, ...]:
    """All rollouts that have not ended."""
    raise NotImplementedError


async def latest(tx: Transaction, model: ModelName) -> Rollout | None:
    """The model's running rollout, or the last one that ran."""
    raise NotImplementedError


async def of_model(
    tx: Transaction, model: ModelName, *, limit: int = 50, before: RolloutId | None = None
) -> tuple[Rollout, ...]:
    """The model's rollouts, the newest first; `before` continues a list. Raises: UnknownModel."""
    raise NotImplementedError
