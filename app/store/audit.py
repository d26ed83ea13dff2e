"""Who changed what: one row in the transaction of the change."""

from dataclasses import dataclass
from datetime import datetime

from app.domain.catalog import ModelName, VersionName
from app.store.database import Transaction
from app.store.decisions import DecisionId


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. `id` is a UUIDv7; `decision_id` is None where nothing was decided (registrations)."""

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
    raise NotImplementedError


async def entries(
    tx: Transaction, *, model: ModelName | None = None, limit: int = 50, before: str | None = None
) -> tuple[Entry, ...]:
    """Entries, the newest first; `before` continues a list."""
    raise NotImplementedError
