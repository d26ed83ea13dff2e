"""Reads of the catalog: models, their versions, and where their traffic goes."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.actions.context import Means
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.routing import Route
from app.domain.rollout.rollout import Rollout
from app.errors import UnknownVersion
from app.store.evidence import tallies
from app.store.rollouts import rollouts, standbys
from app.store.rollouts.standbys import Watched
from app.store.routing import catalog, routes


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model in a list; `rollout` is the running one."""

    model: Model
    route: Route | None
    rollout: Rollout | None


@dataclass(frozen=True, slots=True)
class WholeModel:
    """Everything that is registered of a model; `rollout` and `watched` are the running ones or the last."""

    model: Model
    route: Route | None
    rollout: Rollout | None
    watched: Watched | None
    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class ModelList:
    """All models, as far as this release can read them.

    Attributes:
        unreadable: Models of which something makes no sense, the whole model, its route or its rollout, each with
            the reason.
    """

    models: tuple[ListedModel, ...]
    unreadable: Mapping[ModelName, str]


@dataclass(frozen=True, slots=True)
class ObservedRoute:
    """Who should get exchanges, and how many each version got of the last ones."""

    route: Route
    exchanges: Mapping[VersionName, int]


async def listed_models(means: Means) -> ModelList:
    """All models by name: what cannot be read of one keeps no other from being listed."""
    async with means.database.transaction() as tx:
        reading = await routes.read(tx)
        active, lost_rollouts = await rollouts.active(tx)
        models, lost_models = await catalog.models(tx)
    routed = {entry.model.name: entry.route for entry in reading.table.models}
    running = {seen.rollout.model: seen.rollout for seen in active}
    listed = (ListedModel(model, routed.get(model.name), running.get(model.name)) for model in models)
    return ModelList(tuple(listed), {**lost_rollouts, **reading.unreadable, **lost_models})


async def registered_model(means: Means, name: ModelName) -> Model:
    """A model as registered. Raises: UnknownModel."""
    async with means.database.transaction() as tx:
        return await catalog.model(tx, name)


async def whole_model(means: Means, name: ModelName) -> WholeModel:
    """Raises: UnknownModel."""
    async with means.database.transaction() as tx:
        return WholeModel(
            await catalog.model(tx, name),
            await routes.route(tx, name),
            await rollouts.latest(tx, name),
            await standbys.latest(tx, name),
            await catalog.versions(tx, name),
        )


async def registered_versions(means: Means, model: ModelName) -> tuple[Version, ...]:
    """A model's versions, the oldest first. Raises: UnknownModel."""
    async with means.database.transaction() as tx:
        return await catalog.versions(tx, model)


async def registered_version(means: Means, model: ModelName, name: VersionName) -> Version:
    """A version as registered. Raises: UnknownModel, UnknownVersion."""
    async with means.database.transaction() as tx:
        return await catalog.version(tx, model, name)


async def observed_route(means: Means, model: ModelName, window_s: int) -> ObservedRoute:
    """The route beside the exchanges of the last `window_s` seconds.

    Raises: UnknownModel, UnknownVersion: it has none yet.
    """
    async with means.database.transaction() as tx:
        route = await routes.route(tx, model)
        if route is None:
            raise UnknownVersion(model, "at all")
        return ObservedRoute(route, await tallies.exchanges(tx, model, window_s))
