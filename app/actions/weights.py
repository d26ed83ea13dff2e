"""Setting a route's weights by hand."""

from app.actions.means import Means
from app.domain.catalog import ModelName
from app.domain.routing import Weights
from app.store.decisions import Decision


async def set_weights(means: Means, model: ModelName, weights_bp: Weights, *, actor: str, reason: str) -> Decision:
    """Replace a route's weights.

    Raises: UnknownModel, UnknownVersion, InvalidInput, RolloutActive, TargetUnhealthy (a version that
        would get traffic it did not have), StaleGeneration.
    """
    raise NotImplementedError
