"""Registering models and versions."""

from app.actions.means import Means
from app.domain.catalog import Model, Version


async def register_model(means: Means, model: Model, *, actor: str) -> bool:
    """Store a model; False if the very same was registered before. Raises: NameTaken."""
    raise NotImplementedError


async def register_version(means: Means, version: Version, *, actor: str) -> bool:
    """Store a version; the first of a model becomes its stable with all traffic.

    Returns:
        False if the very same was registered before.

    Raises: UnknownModel, NameTaken (it differs), UpstreamNotAllowed.
    """
    raise NotImplementedError
