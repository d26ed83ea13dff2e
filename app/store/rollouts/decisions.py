"""Decisions: append-only, one per generation."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType
from uuid import UUID

from sqlalchemy import Row, insert, select
from sqlalchemy.exc import IntegrityError

from app.domain.catalog.models import ModelName
from app.domain.catalog.routing import Weights
from app.domain.rollout.rollout import RolloutId
from app.errors import StaleGeneration, UnknownDecision
from app.store.pg import tables
from app.store.pg.codec import uuid_or_none, weights_from_json
from app.store.pg.database import Transaction, violated

DecisionId = NewType("DecisionId", str)

_TABLE = tables.decisions


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, by whom and why.

    Attributes:
        id: UUIDv7; sorts by time.
        action: A `rollout.Action`, or "register" (first version), "set_weights", "set_mirror" or "end_mirror".
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
    try:
        await tx.execute(
            insert(_TABLE).values(
                id=UUID(new.id),
                model=new.model,
                rollout_id=None if new.rollout_id is None else UUID(new.rollout_id),
                at=new.at,
                action=new.action,
                actor=new.actor,
                trigger=new.trigger,
                reason=new.reason,
                sentence=new.sentence,
                generation_before=new.generation_before,
                generation_after=new.generation_after,
                weights_before=dict(new.weights_before),
                weights_after=dict(new.weights_after),
                evidence=new.evidence,
            )
        )
    except IntegrityError as refused:
        if violated(refused) != "uq_decisions_model_generation_after":
            raise
        raise StaleGeneration(new.model, new.generation_before) from refused


async def decision(tx: Transaction, decision_id: DecisionId) -> Decision:
    """Raises: UnknownDecision."""
    key = uuid_or_none(decision_id)
    row = None if key is None else (await tx.execute(select(_TABLE).where(_TABLE.c.id == key))).one_or_none()
    if row is None:
        raise UnknownDecision(decision_id)
    return _from_row(row)


async def made(
    tx: Transaction, *, model: ModelName | None = None, limit: int = 50, before: DecisionId | None = None
) -> tuple[Decision, ...]:
    """Decisions, the newest first; `before` continues a list."""
    query = select(_TABLE).order_by(_TABLE.c.id.desc()).limit(limit)
    if model is not None:
        query = query.where(_TABLE.c.model == model)
    if before is not None:
        query = query.where(_TABLE.c.id < UUID(before))
    return tuple(map(_from_row, await tx.execute(query)))


async def newest(tx: Transaction, model: ModelName, action: str) -> Decision | None:
    """The model's last decision that did this."""
    query = select(_TABLE).filter_by(model=model, action=action).order_by(_TABLE.c.id.desc()).limit(1)
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else _from_row(row)


async def of_rollout(
    tx: Transaction, rollout_id: RolloutId, model: ModelName, *, limit: int = 200
) -> tuple[Decision, ...]:
    """The newest decisions on a rollout of this model, the newest first."""
    query = select(_TABLE).where(_TABLE.c.model == model, _TABLE.c.rollout_id == UUID(rollout_id))
    return tuple(map(_from_row, await tx.execute(query.order_by(_TABLE.c.id.desc()).limit(limit))))


async def of_generation(tx: Transaction, model: ModelName, generation: int) -> Decision | None:
    """The decision that made this generation."""
    row = (await tx.execute(select(_TABLE).filter_by(model=model, generation_after=generation))).one_or_none()
    return None if row is None else _from_row(row)


def _from_row(row: Row[Any]) -> Decision:
    return Decision(
        id=DecisionId(str(row.id)),
        model=ModelName(row.model),
        rollout_id=None if row.rollout_id is None else RolloutId(str(row.rollout_id)),
        at=row.at,
        action=row.action,
        actor=row.actor,
        trigger=row.trigger,
        reason=row.reason,
        sentence=row.sentence,
        generation_before=row.generation_before,
        generation_after=row.generation_after,
        weights_before=weights_from_json(row.weights_before),
        weights_after=weights_from_json(row.weights_after),
        evidence=row.evidence,
    )
