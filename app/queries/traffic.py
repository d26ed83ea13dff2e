"""Reads what a model's traffic is, for calculations."""

from typing import Final

from app.actions.context import Means
from app.domain.catalog.models import ModelName
from app.store.evidence import tallies
from app.store.routing import catalog

MEASURED_OVER_S: Final = 3_600


async def measured_traffic(means: Means, model: ModelName) -> float | None:
    """A model's exchanges a second in the last hour; None when there was none. Raises: UnknownModel."""
    async with means.database.transaction() as tx:
        await catalog.model(tx, model)
        return sum((await tallies.exchanges(tx, model, MEASURED_OVER_S)).values()) / MEASURED_OVER_S or None
