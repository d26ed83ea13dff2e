"""Telling the audit of replicas' brakes: nobody ordered them, and an auditor must see them all the same."""

from app.actions.context import REPLICA, Means
from app.actions.ids import uuid7
from app.store.rollouts import audit
from app.store.routing import breakers, routes
from app.store.routing.breakers import Turn

OPENED, RELEASED = "brake_opened", "brake_released"
# By what a replica says of its brake, see app.proxy.upstream.breaker.Cause.
_WHY = {
    "transport": ": it cannot be reached, breaks off or does not answer in time",
    "evidence": ": its answers are worse than stable's beyond reasonable doubt",
}


async def audit_brakes(means: Means) -> tuple[Turn, ...]:  # ADR 0036
    """Write one entry for every brake that opened or closed since the last call of any process; returns them."""
    async with means.database.transaction() as tx:
        turns = await breakers.claim_turns(tx)
        if turns:
            at = (await routes.revision(tx)).at
        for turn in turns:
            action = OPENED if turn.opened else RELEASED
            entry_id = uuid7(at, means.entropy(8))
            await audit.add(tx, audit.Entry(entry_id, at, REPLICA, action, turn.model, turn.version, _reason(turn)))
    return turns


def _reason(turn: Turn) -> str:
    if turn.opened:
        return f"boot {turn.boot} sends no more traffic to it{_WHY.get(turn.cause, '')}"
    return f"boot {turn.boot} {'is silent' if turn.gone else 'sends traffic to it again'}"
