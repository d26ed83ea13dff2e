"""Reads of rollouts: one, a model's list, and all slices of one."""

import asyncio
from dataclasses import dataclass

from app.actions.context import Means
from app.domain.catalog.models import ModelName
from app.domain.evidence.evidence import Evidence
from app.domain.guardrails.slices.evidence import Compared, compared_slices, hypotheses
from app.domain.guardrails.slices.worst import standing_out
from app.domain.rollout.rollout import Rollout, RolloutId
from app.store.rollouts import rollouts


@dataclass(frozen=True, slots=True)
class ComparedSlice:
    """One slice by one metric, and whether it stands out beside all others."""

    compared: Compared
    stands_out: bool


@dataclass(frozen=True, slots=True)
class RolloutSlices:
    """A rollout's slices, the most suspicious first.

    Attributes:
        hypotheses: Slices and metrics that there can be, as declared at the start.
    """

    rollout: Rollout
    hypotheses: int
    slices: tuple[ComparedSlice, ...]


async def stored_rollout(means: Means, rollout_id: RolloutId) -> Rollout:
    """Raises: UnknownRollout."""
    async with means.database.transaction() as tx:
        return (await rollouts.rollout(tx, rollout_id)).rollout


async def rollouts_of_model(
    means: Means, model: ModelName, *, limit: int, before: RolloutId | None
) -> tuple[Rollout, ...]:
    """A model's rollouts, the newest first; `before` continues a list. Raises: UnknownModel."""
    async with means.database.transaction() as tx:
        return await rollouts.of_model(tx, model, limit=limit, before=before)


async def rollout_slices(means: Means, rollout_id: RolloutId) -> RolloutSlices:
    """Raises: UnknownRollout."""
    rollout = await stored_rollout(means, rollout_id)
    # Many slices take a while; others' requests must not wait for it.
    slices = await asyncio.to_thread(_compared, rollout.evidence)
    return RolloutSlices(rollout, hypotheses(rollout.evidence), slices)


def _compared(evidence: Evidence) -> tuple[ComparedSlice, ...]:
    outstanding = {(each.slice, each.metric) for each in standing_out(evidence)}
    ordered = sorted(compared_slices(evidence), key=_log_e, reverse=True)
    return tuple(ComparedSlice(each, (each.slice, each.metric) in outstanding) for each in ordered)


def _log_e(compared: Compared) -> float:
    return compared.log_e
