"""Rollouts: a few columns to ask for, the whole domain value beside them.

Rule: a save must name the generation it read; safety rests on that alone, not on any lock.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, Text, case, cast, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.domain.catalog.models import ModelName, VersionName
from app.domain.rollout.rollout import TERMINAL, Phase, Rollout, RolloutId
from app.errors import RolloutActive, StaleGeneration, UnknownRollout
from app.store.pg import tables
from app.store.pg.codec import rollout_from_json, uuid_or_none
from app.store.pg.complaints import read_each, readable
from app.store.pg.database import Transaction, violated
from app.store.routing import catalog

_TABLE = tables.rollouts
# As text: a parsed float beyond 64 bits of integer would come back as something else.
_STATE = cast(_TABLE.c.state, Text).label("state")


@dataclass(frozen=True, slots=True)
class Seen:
    """A rollout as it was read.

    Attributes:
        generation: The route's generation of that instant; whoever saves must still find it.
        started_generation: The generation the rollout's start made; its evidence begins there.
        units_since: Of a sticky model the generation whose salt draws its callers: their first exchanges
            are the evidence. None when every exchange is.
        at: Database time of the reading.
    """

    rollout: Rollout
    generation: int
    started_generation: int
    units_since: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class ListedRollout:
    """A rollout that has not ended, as far as its columns say; `phase` is None where a newer release wrote it."""

    id: RolloutId
    model: ModelName
    canary: VersionName
    phase: Phase | None


async def add(tx: Transaction, new: Rollout, generation: int) -> None:
    """Store a new rollout. Raises: RolloutActive."""
    try:
        await tx.execute(
            insert(_TABLE).values(id=UUID(new.id), started_generation=generation, **_columns(new, generation))
        )
    except IntegrityError as refused:
        if violated(refused) != "uq_rollouts_active":
            raise
        raise RolloutActive(new.model) from refused


async def save(tx: Transaction, rollout: Rollout, *, seen: int, generation: int) -> None:
    """Replace what was read at the route's generation `seen`. Raises: StaleGeneration."""
    # A decision on the model since then would have left a higher generation in this row.
    saved = await tx.execute(
        update(_TABLE)
        .where(_TABLE.c.id == UUID(rollout.id), _TABLE.c.generation <= seen)
        .values(_columns(rollout, generation))
    )
    if saved.rowcount != 1:
        raise StaleGeneration(rollout.model, seen)


async def rollout(tx: Transaction, rollout_id: RolloutId) -> Seen:
    """Raises: UnknownRollout."""
    return _from_row(await _row(tx, rollout_id))


async def claim(tx: Transaction, rollout_id: RolloutId) -> Seen | None:
    """The rollout for judging in this transaction; None when another replica is at it or it has ended.

    The lock spares work, nothing more: two judges would end with one save and one StaleGeneration,
    or with the same evidence saved twice.

    Raises: UnknownRollout, RowUnreadable.
    """
    free = await tx.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(rollout_id, 0))))
    if not free:
        return None
    seen = readable(await _row(tx, rollout_id), _from_row)
    return None if seen.rollout.phase in TERMINAL else seen


async def listed(tx: Transaction) -> tuple[ListedRollout, ...]:
    """All rollouts that have not ended, the oldest first, without their states."""
    query = select(_TABLE.c.id, _TABLE.c.model, _TABLE.c.canary, _TABLE.c.phase)
    rows = await tx.execute(query.where(_TABLE.c.ended_at.is_(None)).order_by(_TABLE.c.id))
    return tuple(
        ListedRollout(RolloutId(str(row.id)), ModelName(row.model), VersionName(row.canary), _phase(row.phase))
        for row in rows
    )


async def active(tx: Transaction) -> tuple[list[Seen], dict[ModelName, str]]:
    """All rollouts that have not ended, the oldest first; and models whose rollout cannot be read, with the reason."""
    query = _seen().add_columns(_TABLE.c.model).where(_TABLE.c.ended_at.is_(None)).order_by(_TABLE.c.id)
    return read_each(await tx.execute(query), _from_row, lambda row: row.model)


async def latest_phase(tx: Transaction, model: ModelName) -> Phase | None:
    """The phase of the model's last rollout; None when there is none, or it is one of a newer release."""
    query = select(_TABLE.c.phase).where(_TABLE.c.model == model).order_by(_TABLE.c.id.desc()).limit(1)
    return _phase(await tx.scalar(query))


async def latest(tx: Transaction, model: ModelName) -> Rollout | None:
    """The model's running rollout, or the last one that ran."""
    found = await _newest(tx, model, limit=1)
    return found[0] if found else None


async def of_model(
    tx: Transaction, model: ModelName, *, limit: int = 50, before: RolloutId | None = None
) -> tuple[Rollout, ...]:
    """The model's rollouts, the newest first; `before` continues a list. Raises: UnknownModel."""
    await catalog.model(tx, model)
    return await _newest(tx, model, limit=limit, before=before)


async def _newest(
    tx: Transaction, model: ModelName, *, limit: int, before: RolloutId | None = None
) -> tuple[Rollout, ...]:
    query = select(_STATE).where(_TABLE.c.model == model).order_by(_TABLE.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(_TABLE.c.id < UUID(before))
    return tuple(map(rollout_from_json, await tx.scalars(query)))


def _phase(stored: str | None) -> Phase | None:
    return Phase(stored) if stored in frozenset(Phase) else None


async def _row(tx: Transaction, rollout_id: RolloutId) -> Row[Any]:
    """Raises: UnknownRollout."""
    key = uuid_or_none(rollout_id)
    row: Row[Any] | None = None
    if key is not None:
        row = (await tx.execute(_seen().where(_TABLE.c.id == key))).one_or_none()
    if row is None:
        raise UnknownRollout(rollout_id)
    return row


def _seen() -> Select[Any]:
    # One statement, so that state and generation are of one instant.
    models = tables.models
    joined = _TABLE.join(tables.routes, _TABLE.c.model == tables.routes.c.model)
    joined = joined.join(models, _TABLE.c.model == models.c.name)
    return select(
        _TABLE.c.model,
        _STATE,
        tables.routes.c.generation,
        _TABLE.c.started_generation,
        case(
            (models.c.sticky_header.is_not(None) | models.c.sticky_cookie.is_not(None), tables.routes.c.salted_at)
        ).label("units_since"),
        func.clock_timestamp().label("at"),
    ).select_from(joined)


def _from_row(row: Row[Any]) -> Seen:
    return Seen(rollout_from_json(row.state), row.generation, row.started_generation, row.units_since, row.at)


def _columns(value: Rollout, generation: int) -> dict[str, Any]:
    return {
        "model": value.model,
        "stable": value.stable,
        "canary": value.canary,
        "phase": value.phase,
        "weight_bp": value.weight_bp,
        "generation": generation,
        "started_at": value.started_at,
        "ended_at": value.phase_since if value.phase in TERMINAL else None,
        "state": value,
    }
