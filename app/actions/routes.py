"""Changing a route by hand: its weights, its mirror, or both in one generation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from app.actions.context import Means
from app.actions.decision_writer import Account, RouteAction, checked_reason, expect_answer, horizon_ms, record, settled
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.routing import Mirror, Route, Weights, check_weights, without_own_mirror
from app.domain.guardrails.finding import Cause
from app.domain.rollout.rollout import TERMINAL
from app.domain.rollout.wording import weight_text
from app.domain.standby.monitor import EndedBy
from app.errors import InvalidInput, RolloutActive, UnknownVersion
from app.store.pg.database import Transaction
from app.store.rollouts import rollouts, standbys
from app.store.rollouts.decisions import Decision
from app.store.routing import catalog, routes


@dataclass(frozen=True, slots=True)
class RouteChange:  # ADR 0034
    """What is to be different; what is not named stays.

    Attributes:
        mirror: Who gets copies from now on.
        ends_mirror: Nobody gets copies any more; not together with `mirror`.
    """

    weights_bp: Weights | None = None
    mirror: Mirror | None = None
    ends_mirror: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    """What a change begins with."""

    model: Model
    route: Route
    versions: Mapping[VersionName, Version]


async def change_route(
    means: Means, model: ModelName, change: RouteChange, *, actor: str, reason: str, force: bool = False
) -> Decision:
    """Change a route as one generation.

    Stable stays what it is unless it gets no traffic any more: then the version with the most becomes it,
    and if copies went there they end. A mirror is not probed: nobody waits for its answers. Weights end the
    watch over a promoted version; a mirror does not.

    Args:
        force: Do not ask versions whether they answer.

    Raises: UnknownModel, UnknownVersion, InvalidInput, RolloutActive, TargetUnhealthy (a version that
        would get traffic it did not have), StaleGeneration.
    """
    why = checked_reason(reason)
    if change == RouteChange():
        raise InvalidInput("", "name weights_bp, mirror or both")
    async with means.database.transaction() as tx:
        read = await _read(tx, model, change)
    after = _changed(read, change)
    for name in after.weights_bp.keys() - read.route.weights_bp.keys():
        if not force:
            await expect_answer(means, read.model.protocol, read.versions[name])
    account = _account(read.route, after, change, actor, why)

    async def save(tx: Transaction) -> Decision:
        # Read before the clock, so that times grow with generations.
        await _read(tx, model, change)
        decision = await record(means, tx, read.route, after, (await routes.revision(tx)).at, account)
        if change.weights_bp is not None:
            await standbys.end(tx, model, EndedBy.ROUTE, decision.at)
        return decision

    return await settled(means, save)


async def _read(tx: Transaction, name: ModelName, change: RouteChange) -> _Read:
    model = await catalog.model(tx, name)
    versions = {version.name: version for version in await catalog.versions(tx, name)}
    named = [*(change.weights_bp or {}), *([change.mirror.version] if change.mirror else [])]
    for version in named:
        if version not in versions:
            raise UnknownVersion(name, version)
    route = await routes.route(tx, name)
    if route is None:
        raise UnknownVersion(name, next(iter(named), "at all"))
    latest = await rollouts.latest(tx, name)
    if latest is not None and latest.phase not in TERMINAL:
        raise RolloutActive(name)
    return _Read(model, route, versions)


def _changed(read: _Read, change: RouteChange) -> Route:
    """The route of the next generation. Raises: InvalidInput."""
    after = replace(read.route, generation=read.route.generation + 1)
    if change.weights_bp is not None:
        after = _weighed(after, change.weights_bp, read.versions)
    if change.ends_mirror:
        return replace(after, mirror=None)
    if change.mirror is None:
        return without_own_mirror(after)
    if change.mirror.version == after.stable:
        raise InvalidInput("/mirror/version", f"{change.mirror.version!r} is stable and answers for itself")
    return replace(after, mirror=change.mirror)


def _weighed(route: Route, weights_bp: Weights, versions: Mapping[VersionName, Version]) -> Route:
    wanted = {version: weight_bp for version, weight_bp in check_weights(weights_bp).items() if weight_bp > 0}
    stable = route.stable if route.stable in wanted else max(sorted(wanted), key=lambda name: wanted[name])
    horizon = horizon_ms(*(versions[name] for name in wanted))
    return replace(route, stable=stable, weights_bp=wanted, latency_horizon_ms=horizon)


def _account(before: Route, after: Route, change: RouteChange, actor: str, reason: str) -> Account:
    mirror_action = RouteAction.SET_MIRROR if change.mirror else RouteAction.END_MIRROR
    return Account(
        RouteAction.SET_WEIGHTS if change.weights_bp is not None else mirror_action,
        actor,
        Cause.OPERATOR,
        reason,
        f"Changed the route of {after.model} by order: {'; '.join(_clauses(before, after, change))}.",
        evidence={"mirror_before": before.mirror, "mirror_after": after.mirror},
    )


def _clauses(before: Route, after: Route, change: RouteChange) -> Iterator[str]:
    if change.weights_bp is not None:
        shares = (f"{name} {weight_text(after.weights_bp[name])}" for name in sorted(after.weights_bp))
        yield f"weights {', '.join(shares)}"
    if change.mirror is not None:
        yield f"copies of {weight_text(change.mirror.share_bp)} of the requests go to {change.mirror.version}"
    elif before.mirror is None:
        if change.ends_mirror:
            yield "no copies, as before"
    elif after.mirror is None:
        yield f"{before.mirror.version} gets no more copies"
