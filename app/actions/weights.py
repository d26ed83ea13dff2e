"""Setting a route's weights by hand."""

from collections.abc import Mapping
from dataclasses import replace

from app.actions.ledger import Account, checked_reason, expect_answer, horizon_ms, record, settled
from app.actions.means import Means
from app.domain.catalog import ModelName, Version, VersionName
from app.domain.decisions import weight_text
from app.domain.rollout import TERMINAL
from app.domain.routing import Route, Weights, check_weights
from app.errors import RolloutActive, UnknownVersion
from app.store import catalog, rollouts, routes
from app.store.database import Transaction
from app.store.decisions import Decision

SET_WEIGHTS = "set_weights"


async def set_weights(
    means: Means, model: ModelName, weights_bp: Weights, *, actor: str, reason: str, force: bool = False
) -> Decision:
    """Replace a route's weights.

    Stable stays what it is unless it gets no traffic any more: then the version with the most becomes it.

    Args:
        force: Do not ask versions whether they answer.

    Raises: UnknownModel, UnknownVersion, InvalidInput, RolloutActive, TargetUnhealthy (a version that
        would get traffic it did not have), StaleGeneration.
    """
    why = checked_reason(reason)
    wanted = {version: weight_bp for version, weight_bp in check_weights(weights_bp).items() if weight_bp > 0}
    async with means.database.transaction() as tx:
        before, versions = await _route_and_versions(tx, model, wanted)
    for name in wanted.keys() - before.weights_bp.keys():
        if not force:
            await expect_answer(means, versions[name])
    stable = before.stable if before.stable in wanted else max(sorted(wanted), key=lambda name: wanted[name])
    after = replace(
        before,
        generation=before.generation + 1,
        stable=stable,
        weights_bp=wanted,
        latency_horizon_ms=horizon_ms(*(versions[name] for name in wanted)),
    )
    shares = ", ".join(f"{name} {weight_text(wanted[name])}" for name in sorted(wanted))
    account = Account(SET_WEIGHTS, actor, "operator", why, f"Set the weights of {model} by order: {shares}.")

    async def change(tx: Transaction) -> Decision:
        # Read before the clock, so that times grow with generations.
        await _route_and_versions(tx, model, wanted)
        return await record(means, tx, before, after, (await routes.revision(tx)).at, account)

    return await settled(means, change)


async def _route_and_versions(
    tx: Transaction, model: ModelName, wanted: Weights
) -> tuple[Route, Mapping[VersionName, Version]]:
    versions = {version.name: version for version in await catalog.versions(tx, model)}
    for name in wanted:
        if name not in versions:
            raise UnknownVersion(model, name)
    route = await routes.route(tx, model)
    if route is None:
        raise UnknownVersion(model, next(iter(wanted)))
    latest = await rollouts.latest(tx, model)
    if latest is not None and latest.phase not in TERMINAL:
        raise RolloutActive(model, latest.canary)
    return route, versions
