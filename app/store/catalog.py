"""Models and versions as registered; immutable once there."""

from app.domain.catalog import Model, ModelName, Version, VersionName
from app.store.database import Transaction


async def models(tx: Transaction) -> tuple[Model, ...]:
    """All models by name."""
    raise NotImplementedError


async def model(tx: Transaction, name: ModelName) -> Model:
    """Raises: UnknownModel."""
    raise NotImplementedError


async def versions(tx: Transaction, of: ModelName) -> tuple[Version, ...]:
    """All versions of a model, the oldest first. Raises: UnknownModel."""
    raise NotImplementedError


async def version(tx: Transaction, of: ModelName, name: VersionName) -> Version:
    """Raises: UnknownModel, UnknownVersion."""
    raise NotImplementedError


async def add_model(tx: Transaction, new: Model) -> bool:
    """Store a model; False if the very same was there. Raises: NameTaken."""
    raise NotImplementedError


async def add_version(tx: Transaction, new: Version) -> bool:
    """Store a version; False if the very same was there. Raises: UnknownModel, NameTaken."""
    raise NotImplementedError
