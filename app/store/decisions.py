"""Decisions: append-only, one per generation."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from app.domain.catalog import ModelName
from app.domain.rollout import RolloutId
from app.domain.routing import Weights
from app.store.database import Transaction

DecisionId = NewType("DecisionId", str)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, by whom and why.

    Attributes:
        id: UUIDv7; sorts by time.
        action: A `rollout.Action`, or "register" (first version) or "set_weights".
        actor: "engine", or who the caller said to be.
        trigger: See `rollout.Resolution`.
        reason: The person's own words; None for the engine.
        sentence: One plain sentence.
        evidence: JSON values: policy, numbers, and the counts by weight behind the decision.
    """

    id: DecisionId
    model: ModelName
    rollout_id: RolloutId | None
    at: datetime
    action: str
    actor: str
    trigger: str
    reason: str | None
    sentence: str
    generation_before: int
    generation_after: int
    weights_before: Weights
    weights_after: Weights
    evidence: Mapping[str, object]


async def add(tx: Transaction, new: Decision) -> None:
    """Store a decision. Raises: StaleGeneration when its generation has one."""
    raise NotImplementedError


async def decision(tx: Transaction, decision_id: DecisionId) -> Decision:
    """Raises: UnknownDecision."""
    raise NotImplementedError


async def made(
    tx: Transaction, *, model: ModelName | None = None, limit: int = 50, before: DecisionId | None = None
) -> tuple[Decision, ...]:
    """Decisions, the newest first; `before` continues a list."""
    raise NotImplementedError


async def of_generation(tx: Transaction, model: ModelName, generation: int) -> Decision | None:
    """The decision that made this generation."""
    raise NotImplementedError
