"""Who changed what: one row in the transaction of the change."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select

from app.domain.catalog.models import ModelName, VersionName
from app.store.pg import tables
from app.store.pg.database import Transaction
from app.store.rollouts.decisions import DecisionId

_TABLE = tables.audit


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, by whom.

    Attributes:
        id: A UUIDv7.
        decision_id: None where nothing was decided (registrations).
    """

    id: str
    at: datetime
    actor: str
    action: str
    model: ModelName
    version: VersionName | None = None
    reason: str | None = None
    decision_id: DecisionId | None = None


async def add(tx: Transaction, entry: Entry) -> None:
    """Append one entry."""
    await tx.execute(
        insert(_TABLE).values(
            id=UUID(entry.id),
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            model=entry.model,
            version=entry.version,
            reason=entry.reason,
            decision_id=None if entry.decision_id is None else UUID(entry.decision_id),
        )
    )


async def entries(
    tx: Transaction, *, model: ModelName | None = None, limit: int = 50, before: str | None = None
) -> tuple[Entry, ...]:
    """Entries, the newest first; `before` continues a list."""
    query = select(_TABLE).order_by(_TABLE.c.id.desc()).limit(limit)
    if model is not None:
        query = query.where(_TABLE.c.model == model)
    if before is not None:
        query = query.where(_TABLE.c.id < UUID(before))
    return tuple(map(_from_row, await tx.execute(query)))


def _from_row(row: Row[Any]) -> Entry:
    return Entry(
        id=str(row.id),
        at=row.at,
        actor=row.actor,
        action=row.action,
        model=ModelName(row.model),
        version=None if row.version is None else VersionName(row.version),
        reason=row.reason,
        decision_id=None if row.decision_id is None else DecisionId(str(row.decision_id)),
    )
