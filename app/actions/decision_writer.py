"""How a change is written: route, decision, audit, revision and bell, all or nothing.

Rule: everything that changes a route goes through `record`; its compare-and-set decides races.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from app.actions.context import Means
from app.actions.ids import uuid7
from app.domain.catalog.models import Protocol, Version
from app.domain.catalog.routing import Route
from app.domain.guardrails.finding import Cause, Trigger
from app.domain.rollout.rollout import Action, RolloutId
from app.errors import InvalidInput, OutcomeUnknown, TargetUnhealthy, TurnbackError, UnknownDecision
from app.store.pg.codec import as_json
from app.store.pg.database import Transaction
from app.store.rollouts import audit, decisions
from app.store.rollouts.decisions import Decision, DecisionId
from app.store.routing import routes

REASON_MAX = 500
SALT_BYTES = 16


class RouteAction(StrEnum):
    """Changes of a route outside of a rollout, as decisions name them; see `rollout.Action`."""

    REGISTER = "register"
    SET_WEIGHTS = "set_weights"
    SET_MIRROR = "set_mirror"
    END_MIRROR = "end_mirror"
    END_WATCH = "end_watch"


@dataclass(frozen=True, slots=True)
class Account:
    """What a decision row says beside the weights; see `Decision`."""

    action: Action | RouteAction
    actor: str
    trigger: Trigger | Cause
    reason: str | None
    sentence: str
    rollout_id: RolloutId | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)


# ADR 0004
async def record(
    means: Means, tx: Transaction, before: Route | None, after: Route, at: datetime, account: Account
) -> Decision:
    """Put `after` in the place of `before` and say why.

    Args:
        before: None for a model's first route.
        at: Database time, read not earlier than `before`.

    Raises: StaleGeneration.
    """
    if before is None:
        await routes.add(tx, after, at)
    else:
        await routes.replace(tx, after, at)
    decision = Decision(
        id=DecisionId(uuid7(at, means.entropy(8))),
        model=after.model,
        rollout_id=account.rollout_id,
        at=at,
        action=account.action,
        actor=account.actor,
        trigger=str(account.trigger),
        reason=account.reason,
        sentence=account.sentence,
        generation_before=after.generation - 1,
        generation_after=after.generation,
        weights_before={} if before is None else before.weights_bp,
        weights_after=after.weights_bp,
        evidence=as_json(account.evidence),
    )
    await decisions.add(tx, decision)
    entry = audit.Entry(
        id=uuid7(at, means.entropy(8)),
        at=at,
        actor=account.actor,
        action=account.action,
        model=after.model,
        reason=account.reason,
        decision_id=decision.id,
    )
    await audit.add(tx, entry)
    await routes.announce(tx)
    return decision


async def settled(means: Means, change: Callable[[Transaction], Awaitable[Decision]]) -> Decision:
    """Run the change in a transaction of its own; a commit without an answer is looked up, then tried once more.

    Raises: OutcomeUnknown, and whatever the change raises.
    """
    made: list[Decision] = []

    async def attempt() -> Decision:
        async with means.database.transaction() as tx:
            made.append(await change(tx))
        return made[-1]

    try:
        return await attempt()
    except OutcomeUnknown:
        if await _is_saved(means, made[0]):
            return made[0]
    try:
        return await attempt()
    except TurnbackError:
        # The first commit may have come through after it was looked up.
        if await _is_saved(means, made[0]):
            return made[0]
        raise


async def _is_saved(means: Means, decision: Decision) -> bool:
    async with means.database.transaction() as tx:
        try:
            await decisions.decision(tx, decision.id)
        except UnknownDecision:
            return False
    return True


async def expect_answer(means: Means, protocol: Protocol, version: Version) -> None:
    """Raises: TargetUnhealthy when the version does not answer its probe."""
    why = await means.probe(protocol, version)
    if why is not None:
        raise TargetUnhealthy(version.model, version.name, why)


def checked_reason(reason: str) -> str:
    """The reason without blanks around it. Raises: InvalidInput."""
    stripped = reason.strip()
    if not 0 < len(stripped) <= REASON_MAX:
        raise InvalidInput("/reason", f"say why in 1 to {REASON_MAX} characters")
    return stripped


def horizon_ms(*arms: Version) -> int:
    """The latency horizon without thresholds: the longest first-byte timeout of the versions in play."""
    return max(round(version.timeouts.first_byte_s * 1_000) for version in arms)
