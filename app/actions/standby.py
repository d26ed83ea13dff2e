"""What a look at a promoted version leaves behind: its watch as it was read, or the end of its standby."""

from dataclasses import replace

from app.actions.context import ENGINE, Means
from app.actions.decision_writer import Account, RouteAction, horizon_ms, record
from app.actions.engine_version import ENGINE_VERSION
from app.actions.rollouts import record_decay
from app.domain.catalog.routing import FULL_BP, Route
from app.domain.guardrails.finding import Cause
from app.domain.standby.monitor import EndedBy, WatchStep
from app.errors import StaleGeneration
from app.store.pg.database import Transaction
from app.store.rollouts import standbys
from app.store.rollouts.decisions import Decision
from app.store.rollouts.standbys import Watched
from app.store.routing import catalog, routes


async def record_watch(means: Means, tx: Transaction, watched: Watched, step: WatchStep) -> Decision | None:
    """Save what the sentinel made of a watch, in the look's own transaction; None while it goes on.

    Raises: StaleGeneration, TargetUnhealthy, as `record_decay`.
    """
    match step.ended_by:
        case EndedBy.DECAY:
            return await record_decay(means, tx, watched, step)
        case EndedBy.TIME:
            return await _end(means, tx, watched, step)
        case _:
            await standbys.save(tx, step.watch, watched.generation)
            return None


async def _end(means: Means, tx: Transaction, watched: Watched, step: WatchStep) -> Decision:
    """All weight to stable: the standby's time is over."""
    watch = step.watch
    before = await routes.route(tx, watch.model)
    if before is None or before.generation != watched.generation:
        raise StaleGeneration(watch.model, watched.generation)
    after = replace(await _alone(tx, before), generation=before.generation + 1)
    account = Account(
        RouteAction.END_WATCH,
        ENGINE,
        Cause.POLICY,
        None,
        step.sentence,
        watch.rollout_id,
        {"numbers": {"watch": step.numbers}, "watch": watch, "engine": ENGINE_VERSION},
    )
    decision = await record(means, tx, before, after, watched.at, account)
    await standbys.end(tx, watch.model, EndedBy.TIME, watched.at)
    return decision


async def _alone(tx: Transaction, route: Route) -> Route:
    horizon = horizon_ms(await catalog.version(tx, route.model, route.stable))
    return replace(route, weights_bp={route.stable: FULL_BP}, latency_horizon_ms=horizon)
