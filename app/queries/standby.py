"""Reads of what follows a promotion."""

from app.actions.context import Means
from app.domain.catalog.models import ModelName
from app.errors import UnknownWatch
from app.store.rollouts import standbys
from app.store.rollouts.standbys import Watched
from app.store.routing import catalog


async def latest_watch(means: Means, model: ModelName) -> Watched:
    """The model's watch that goes on, or the last one that did. Raises: UnknownModel, UnknownWatch."""
    async with means.database.transaction() as tx:
        watched = await standbys.latest(tx, model)
        if watched is None:
            await catalog.model(tx, model)
            raise UnknownWatch(model)
        return watched
