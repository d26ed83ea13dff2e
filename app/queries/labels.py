"""Reads of a model's labels, counted."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.actions.context import Means
from app.domain.catalog.models import ModelName
from app.store.labels import labels
from app.store.labels.labels import Stats
from app.store.routing import catalog, routes


@dataclass(frozen=True, slots=True)
class CountedLabels:
    """Labels of exchanges drawn since a time."""

    since: datetime
    stats: Stats


async def counted_labels(means: Means, model: ModelName, history: timedelta) -> CountedLabels:
    """Of exchanges drawn in that time before now. Raises: UnknownModel."""
    async with means.database.transaction() as tx:
        await catalog.model(tx, model)
        since = ((await routes.revision(tx)).at - history).astimezone(UTC)
        return CountedLabels(since, await labels.stats(tx, model, int(since.timestamp())))
