"""Replicas: who is alive, how far it has counted, what it refuses."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Watermark
from app.store.pg import tables
from app.store.pg.database import Transaction

SILENT_AFTER_S = 5
"""A boot whose heartbeat is older, by database time, no longer counts."""

SERVING = ("all", "proxy")


class Brake(NamedTuple):
    """What a replica sends no traffic to, and why: a `Cause` of the proxy's, or nothing where that was never said."""

    model: ModelName
    version: VersionName
    cause: str = ""


_TABLE = tables.replicas


@dataclass(frozen=True, slots=True)
class Replica:
    """One boot of one process as it last reported."""

    boot: str
    role: str
    heartbeat: datetime
    watermark: Watermark
    applied_revision: int
    open_brakes: frozenset[Brake]


async def beat(
    tx: Transaction, boot: str, role: str, watermark: Watermark, applied_revision: int, open_brakes: Iterable[Brake]
) -> None:
    """Report; the heartbeat is database time. A watermark never goes back."""
    new = insert(_TABLE).values(
        boot=UUID(boot),
        role=role,
        heartbeat=func.clock_timestamp(),
        status_through=watermark.status,
        latency_through=watermark.latency,
        applied_revision=applied_revision,
        open_brakes=sorted(open_brakes),
    )
    changed = {
        "heartbeat": new.excluded.heartbeat,
        "status_through": func.greatest(_TABLE.c.status_through, new.excluded.status_through),
        "latency_through": func.greatest(_TABLE.c.latency_through, new.excluded.latency_through),
        "applied_revision": new.excluded.applied_revision,
        "open_brakes": new.excluded.open_brakes,
    }
    await tx.execute(new.on_conflict_do_update(index_elements=["boot"], set_=changed))


async def forget(tx: Transaction, keep_days: int) -> None:
    """Delete boots that ended before the oldest tally that is kept: nothing refers to them any more."""
    oldest = func.clock_timestamp() - timedelta(days=keep_days + 1)
    await tx.execute(delete(_TABLE).where(_TABLE.c.heartbeat < oldest))


async def live(tx: Transaction) -> tuple[Replica, ...]:
    """All replicas that serve and have reported within SILENT_AFTER_S."""
    oldest = func.clock_timestamp() - timedelta(seconds=SILENT_AFTER_S)
    query = select(_TABLE).where(_TABLE.c.role.in_(SERVING), _TABLE.c.heartbeat > oldest).order_by(_TABLE.c.boot)
    return tuple(map(_from_row, await tx.execute(query)))


async def watermark(tx: Transaction) -> Watermark | None:  # ADR 0021
    """The newest second that is final on every live replica, by horizon; None when none lives."""
    marks = [replica.watermark for replica in await live(tx)]
    if not marks:
        return None
    return Watermark(min(mark.status for mark in marks), min(mark.latency for mark in marks))


async def open_brakes(tx: Transaction) -> frozenset[tuple[ModelName, VersionName]]:
    """What any live replica refuses, whatever the cause."""
    return frozenset((brake.model, brake.version) for replica in await live(tx) for brake in replica.open_brakes)


def brakes_from_json(stored: Iterable[Iterable[str]]) -> frozenset[Brake]:
    """As `beat` wrote them."""
    return frozenset(Brake(ModelName(model), VersionName(version), *cause) for model, version, *cause in stored)


def _from_row(row: Row[Any]) -> Replica:
    marks = Watermark(row.status_through, row.latency_through)
    brakes = brakes_from_json(row.open_brakes)
    return Replica(str(row.boot), row.role, row.heartbeat, marks, row.applied_revision, brakes)
