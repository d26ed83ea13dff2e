"""Registering models and versions."""

from dataclasses import replace

from app.actions.identity import uuid7
from app.actions.ledger import Account, horizon_ms, record
from app.actions.means import Means
from app.domain.catalog import Model, ModelName, Version, VersionName
from app.domain.routing import FULL_BP, Route
from app.errors import StaleGeneration
from app.store import audit, catalog, routes
from app.store.database import Transaction

REGISTER = "register"
ATTEMPTS_MAX = 3


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

    Raises: UnknownModel, NameTaken (it differs), UpstreamNotAllowed.
    """
    allowed = replace(version, urls=tuple([await means.check_upstream(url) for url in version.urls]))
    attempts = iter(range(1, ATTEMPTS_MAX + 1))
    while True:
        try:
            return await _add_version(means, allowed, actor)
        except StaleGeneration:
            # Another first version was quicker; this one is not the first any more.
            if next(attempts) == ATTEMPTS_MAX:
                raise


async def _add_version(means: Means, version: Version, actor: str) -> bool:
    async with means.database.transaction() as tx:
        if not await catalog.add_version(tx, version):
            return False
        if await routes.route(tx, version.model) is None:
            at = (await routes.revision(tx)).at
            first = Route(version.model, 1, version.name, {version.name: FULL_BP}, horizon_ms(version))
            sentence = f"{version.name} is the first version of {version.model} and takes all traffic."
            await record(means, tx, None, first, at, Account(REGISTER, actor, "operator", None, sentence))
        else:
            await _registered(means, tx, actor, version.model, version.name)
        return True


async def _registered(
    means: Means, tx: Transaction, actor: str, model: ModelName, version: VersionName | None = None
) -> None:
    at = (await routes.revision(tx)).at
    await audit.add(tx, audit.Entry(uuid7(at, means.entropy(8)), at, actor, REGISTER, model, version))
    await routes.announce(tx)
