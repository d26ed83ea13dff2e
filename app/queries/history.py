"""Reads of what happened: decisions, the audit, which versions were live when, counts over time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.actions.context import Means
from app.domain.catalog.models import ModelName, VersionName
from app.errors import InvalidInput
from app.store.evidence import tallies
from app.store.evidence.tallies import Slot
from app.store.rollouts import audit, decisions
from app.store.rollouts.audit import Entry
from app.store.rollouts.decisions import Decision, DecisionId
from app.store.routing import catalog, routes
from app.store.routing.routes import Generation

RANGE_DEFAULT: Final = timedelta(hours=1)
STEPS_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Live:
    """The generation that was in force at a time, and the decision that made it."""

    at: datetime
    generation: Generation
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class CountsOverTime:
    """Per-version counts over [since, until)."""

    since: datetime
    until: datetime
    slots: tuple[Slot, ...]


async def made_decisions(
    means: Means, *, model: ModelName | None, limit: int, before: DecisionId | None
) -> tuple[Decision, ...]:
    """Decisions, the newest first; `before` continues a list."""
    async with means.database.transaction() as tx:
        return await decisions.made(tx, model=model, limit=limit, before=before)


async def made_decision(means: Means, decision_id: DecisionId) -> Decision:
    """Raises: UnknownDecision."""
    async with means.database.transaction() as tx:
        return await decisions.decision(tx, decision_id)


async def audit_entries(means: Means, *, model: ModelName | None, limit: int, before: str | None) -> tuple[Entry, ...]:
    """Changes, the newest first; `before` continues a list."""
    async with means.database.transaction() as tx:
        return await audit.entries(tx, model=model, limit=limit, before=before)


async def live_at(means: Means, model: ModelName, at: datetime | None) -> Live:
    """What was in force at a time, or is now. Raises: UnknownModel, InvalidInput: nothing was yet."""
    async with means.database.transaction() as tx:
        then = at or (await routes.revision(tx)).at
        generation = await routes.live(tx, model, then)
        if generation is None:
            raise InvalidInput("/query/at", "lies before the model's first version")
        return Live(then, generation, await decisions.of_generation(tx, model, generation.generation))


async def counts_over_time(
    means: Means,
    model: ModelName,
    *,
    since: datetime | None,
    until: datetime | None,
    step: int | None,
    version: VersionName | None,
) -> CountsOverTime:
    """CountsOverTime of each version by step, or of the whole range.

    Args:
        since: Default one hour before `until`.
        until: Default now.
        step: Seconds.
        version: Only this one.

    Raises: UnknownModel, InvalidInput: an empty range, or too many steps.
    """
    async with means.database.transaction() as tx:
        end = until or (await routes.revision(tx)).at
        start = since or end - RANGE_DEFAULT
        _check_range(start, end, step)
        await catalog.model(tx, model)
        span = int(start.timestamp()), int(end.timestamp())
        return CountsOverTime(start, end, await tallies.slots(tx, model, *span, step=step, version=version))


def _check_range(start: datetime, end: datetime, step: int | None) -> None:
    if start >= end:
        raise InvalidInput("/query/from", "must lie before `to`")
    if step is not None and (end - start).total_seconds() / step > STEPS_MAX:
        raise InvalidInput("/query/step", f"gives more than {STEPS_MAX} steps over this range")
