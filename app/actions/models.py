"""Registering models and versions."""

from dataclasses import replace

from app.actions.context import Means
from app.actions.decision_writer import SALT_BYTES, Account, RouteAction, horizon_ms, record
from app.actions.ids import uuid7
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.routing import FULL_BP, Route
from app.domain.guardrails.finding import Cause
from app.errors import InvalidInput, StaleGeneration
from app.store.pg.database import Transaction
from app.store.rollouts import audit
from app.store.routing import catalog, routes

ATTEMPTS_MAX = 3
URLS_MAX = 16


async def register_model(means: Means, model: Model, *, actor: str) -> bool:
    """Store a model; False if the very same was registered before. Raises: NameTaken."""
    async with means.database.transaction() as tx:
        if not await catalog.add_model(tx, model):
            return False
        await _registered(means, tx, actor, model.name)
        return True


async def register_version(means: Means, version: Version, *, actor: str) -> bool:
    """Store a version; the first of a model becomes its stable with all traffic.

    Returns:
        False if the very same was registered before.

    Raises: UnknownModel, NameTaken (it differs), UpstreamNotAllowed, InvalidInput.
    """
    allowed = await _allowed(means, version)
    attempts = iter(range(1, ATTEMPTS_MAX + 1))
    while True:
        try:
            return await _add_version(means, allowed, actor)
        except StaleGeneration:
            # Another first version was quicker; this one is not the first any more.
            if next(attempts) == ATTEMPTS_MAX:
                raise


async def _allowed(means: Means, version: Version) -> Version:
    """The version with its urls in the spelling that was checked, so that they are the ones connected to."""
    if not 1 <= len(version.urls) <= URLS_MAX:
        raise InvalidInput("/urls", f"must name 1 to {URLS_MAX} model servers")
    urls = tuple([await means.check_upstream(url, f"/urls/{place}") for place, url in enumerate(version.urls)])
    for place, url in enumerate(urls):
        if url in urls[:place]:
            raise InvalidInput(f"/urls/{place}", "names a model server that was named before")
    if version.server_name is not None and not any(url.startswith("https:") for url in urls):
        raise InvalidInput("/server_name", "is checked in certificates, and no url is https")
    return replace(version, urls=urls)


async def _add_version(means: Means, version: Version, actor: str) -> bool:
    async with means.database.transaction() as tx:
        if not await catalog.add_version(tx, version):
            return False
        _check_reference(await catalog.model(tx, version.model), version)
        if await routes.route(tx, version.model) is None:
            at = (await routes.revision(tx)).at
            weights_bp = {version.name: FULL_BP}
            salt = means.entropy(SALT_BYTES)
            first = Route(version.model, 1, version.name, weights_bp, horizon_ms(version), salt=salt)
            sentence = f"{version.name} is the first version of {version.model} and takes all traffic."
            await record(
                means, tx, None, first, at, Account(RouteAction.REGISTER, actor, Cause.OPERATOR, None, sentence)
            )
        else:
            await _registered(means, tx, actor, version.model, version.name)
        return True


def _check_reference(model: Model, version: Version) -> None:
    """Raises: InvalidInput: it holds a feature that nobody watches, which a slip of the pen makes."""
    watched = {each.name for each in model.features}
    for name in version.credentials.reference.features:
        if name not in watched:
            raise InvalidInput(f"/credentials/reference/features/{name}", f"is no feature that {model.name} declares")


async def _registered(
    means: Means, tx: Transaction, actor: str, model: ModelName, version: VersionName | None = None
) -> None:
    at = (await routes.revision(tx)).at
    await audit.add(tx, audit.Entry(uuid7(at, means.entropy(8)), at, actor, RouteAction.REGISTER, model, version))
    await routes.announce(tx)
