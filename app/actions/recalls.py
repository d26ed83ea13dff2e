"""Calling answers back: with every rollback of a version that had traffic, and when a person asks."""

from datetime import datetime, timedelta

import structlog

from app.actions.context import Means
from app.actions.decision_writer import checked_reason
from app.actions.ids import uuid7
from app.domain.catalog.models import ModelName, VersionName
from app.domain.rollout.rollout import Action, Phase, Rollout
from app.errors import DatabaseUnavailable, InvalidInput, OutcomeUnknown
from app.store.pg.database import Transaction
from app.store.rollouts import audit, recalls
from app.store.rollouts.decisions import Decision
from app.store.rollouts.recalls import Recall, RecallId
from app.store.routing import catalog, routes

RECALL = "recall"
# So long a replica that is cut off from Postgres goes on sending traffic to a canary, if nothing else is set.
DRAIN = timedelta(seconds=120)

log = structlog.get_logger()


def was_exposed(rollout: Rollout) -> bool:
    """Whether the canary ever got traffic."""
    return rollout.first_exposed_at is not None or rollout.phase is Phase.PROMOTED


# ADR 0108
async def call_back(
    means: Means, tx: Transaction, before: Rollout, decision: Decision, started_generation: int
) -> None:
    """Call back what the canary answered in this rollout, in the rollback's own transaction.

    Args:
        before: As it was before the decision.
        started_generation: The first of the rollout's; the decision's is the first without it.
    """
    # After the decision was recorded: from here to the commit nobody else can make a recall.
    at = await recalls.instant(tx)
    since = before.first_exposed_at or before.started_at
    await recalls.add(
        tx,
        Recall(
            id=RecallId(uuid7(at, means.entropy(8))),
            model=before.model,
            version=before.canary,
            decision_id=decision.id,
            at=at,
            reason=_why(decision),
            since_s=int(since.timestamp()),
            until_s=int((at + DRAIN).timestamp()),
            since_generation=started_generation,
            until_generation=decision.generation_before,
        ),
    )


def _why(decision: Decision) -> str:
    """What whoever scores the answers again must know: the decision, and the person's own words for it."""
    return decision.sentence if decision.reason is None else f"{decision.sentence} {decision.reason}"


async def call_back_by_order(
    means: Means,
    model: ModelName,
    version: VersionName,
    *,
    since: datetime | None,
    until: datetime | None,
    actor: str,
    reason: str,
) -> Recall:
    """Call back what a version answered from `since`, its first traffic if not given, until `until`, or now.

    Raises: UnknownModel, UnknownVersion, InvalidInput (no time between the two, blank reason).
    """
    why = checked_reason(reason)
    async with means.database.transaction() as tx:
        await catalog.model(tx, model)
        await catalog.version(tx, model, version)
        first = since or await routes.first_exposed(tx, model, version)
        if first is None:
            raise InvalidInput("/since", "must be given for a version that never had a weight")
        at = await recalls.instant(tx)
        last = until or at
        if first > last:
            raise InvalidInput("/since", "must not lie after the end")
        made = Recall(
            id=RecallId(uuid7(at, means.entropy(8))),
            model=model,
            version=version,
            decision_id=None,
            at=at,
            reason=why,
            since_s=int(first.timestamp()),
            until_s=int(last.timestamp()),
        )
        await recalls.add(tx, made)
        entry = audit.Entry(uuid7(at, means.entropy(8)), at, actor, RECALL, model, version, why)
        await audit.add(tx, entry)
    _tell(made)
    return made


async def tell_recall(means: Means, decision: Decision) -> None:
    """Log what the decision called back, if anything. Raises nothing: the decision is made, whatever comes now."""
    if decision.action != Action.ROLL_BACK:
        return
    try:
        async with means.database.transaction() as tx:
            made = await recalls.of_decision(tx, decision.id)
    except (DatabaseUnavailable, OutcomeUnknown):
        log.warning("recall.untold", model=decision.model, decision=decision.id)
        return
    if made is not None:
        _tell(made)


def _tell(made: Recall) -> None:
    log.info(
        "recall.opened",
        recall=made.id,
        model=made.model,
        version=made.version,
        decision=made.decision_id,
        since=made.since_s,
        until=made.until_s,
        reason=made.reason,
    )
