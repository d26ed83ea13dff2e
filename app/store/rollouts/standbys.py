"""Watches after promotions: a few columns to ask for, the whole domain value beside them.

Rule: one watch a model at a time; what has ended is never written again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, Text, cast, func, insert, select, update

from app.domain.catalog.models import ModelName, VersionName
from app.domain.rollout.rollout import RolloutId
from app.domain.standby.monitor import ANSWERS, EndedBy, Watch
from app.errors import StaleGeneration
from app.store.pg import tables
from app.store.pg.codec import watch_from_json
from app.store.pg.complaints import readable
from app.store.pg.database import Transaction

_TABLE = tables.watches
# As text: a parsed float beyond 64 bits of integer would come back as something else.
_STATE = cast(_TABLE.c.state, Text).label("state")


@dataclass(frozen=True, slots=True)
class Watched:
    """A watch as it was read.

    Attributes:
        began: The generation its promotion made; only exchanges drawn since then are compared.
        generation: The route's generation of that instant; who ends the watch must still find it.
        ended_at, ended_by: None while it goes on.
        at: Database time of the reading.
    """

    watch: Watch
    began: int
    generation: int
    ended_at: datetime | None
    ended_by: EndedBy | None
    at: datetime


@dataclass(frozen=True, slots=True)
class ListedWatch:
    """A watch that goes on, as far as it is known without its state.

    Attributes:
        read_through: The last second of answers that was read; None where its state does not say.
        at: Database time of the reading.
    """

    rollout_id: RolloutId
    model: ModelName
    stable: VersionName
    until: datetime
    read_through: int | None
    at: datetime


async def add(tx: Transaction, new: Watch, generation: int) -> None:
    """Store a watch that begins with this generation."""
    await tx.execute(
        insert(_TABLE).values(
            rollout_id=UUID(new.rollout_id),
            model=new.model,
            stable=new.stable,
            standby=new.standby,
            generation=generation,
            started_at=new.started_at,
            until=new.until,
            state=new,
        )
    )


async def listed(tx: Transaction) -> tuple[ListedWatch, ...]:
    """All that go on, the oldest first, without their states."""
    query: Select[Any] = select(
        _TABLE.c.rollout_id,
        _TABLE.c.model,
        _TABLE.c.stable,
        _TABLE.c.until,
        _TABLE.c.state[("suspicions", ANSWERS, "read_through")].as_string().label("read_through"),
        func.clock_timestamp().label("at"),
    )
    rows = await tx.execute(query.where(_TABLE.c.ended_at.is_(None)).order_by(_TABLE.c.started_at))
    return tuple(_listed(row) for row in rows)


async def going_on(tx: Transaction, rollout_id: RolloutId) -> Watched | None:
    """The watch as it is now; None when it has ended. Raises: RowUnreadable."""
    query = _watched().where(_TABLE.c.rollout_id == UUID(rollout_id), _TABLE.c.ended_at.is_(None))
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else readable(row, _from_row)


async def claim(tx: Transaction, rollout_id: RolloutId) -> Watched | None:
    """The watch for a look in this transaction; None when another process is at it or it has ended.

    The lock spares work, nothing more: what two looks save is each the whole of what it read.

    Raises: RowUnreadable.
    """
    free = await tx.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(f"watch {rollout_id}", 0))))
    if not free:
        return None
    return await going_on(tx, rollout_id)


async def latest(tx: Transaction, model: ModelName) -> Watched | None:
    """The model's watch that goes on, or the last one that did."""
    newest = _watched().where(_TABLE.c.model == model).order_by(_TABLE.c.started_at.desc()).limit(1)
    row = (await tx.execute(newest)).one_or_none()
    return None if row is None else _from_row(row)


async def save(tx: Transaction, watch: Watch, seen: int) -> None:
    """Write what a look read. Raises: StaleGeneration when it has ended meanwhile."""
    saved = await tx.execute(
        update(_TABLE)
        .where(_TABLE.c.rollout_id == UUID(watch.rollout_id), _TABLE.c.ended_at.is_(None))
        .values(state=watch)
    )
    if saved.rowcount != 1:
        raise StaleGeneration(watch.model, seen)


async def end(tx: Transaction, model: ModelName, by: EndedBy, at: datetime) -> bool:
    """End the model's watch; False if there is none."""
    ended = await tx.execute(
        update(_TABLE).where(_TABLE.c.model == model, _TABLE.c.ended_at.is_(None)).values(ended_at=at, ended_by=by)
    )
    return ended.rowcount == 1


def _watched() -> Select[Any]:
    # One statement, so that state and generation are of one instant.
    joined = _TABLE.join(tables.routes, _TABLE.c.model == tables.routes.c.model)
    return select(
        _TABLE.c.model,
        _STATE,
        _TABLE.c.generation.label("began"),
        tables.routes.c.generation,
        _TABLE.c.ended_at,
        _TABLE.c.ended_by,
        func.clock_timestamp().label("at"),
    ).select_from(joined)


def _from_row(row: Row[Any]) -> Watched:
    ended_by = None if row.ended_by is None else EndedBy(row.ended_by)
    return Watched(watch_from_json(row.state), row.began, row.generation, row.ended_at, ended_by, row.at)


def _listed(row: Row[Any]) -> ListedWatch:
    # As text, because a cast of what is no number would keep all others from being listed.
    read_through = int(row.read_through) if (row.read_through or "").isdecimal() else None
    rollout_id = RolloutId(str(row.rollout_id))
    return ListedWatch(rollout_id, ModelName(row.model), VersionName(row.stable), row.until, read_through, row.at)
