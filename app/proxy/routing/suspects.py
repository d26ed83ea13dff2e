"""Canaries that this process may have to keep its exchanges from, by its own evidence."""

from collections.abc import Iterator

from app.domain.catalog.routing import RoutedModel
from app.proxy.routing.arm import ServingArm
from app.proxy.routing.table import CompiledRoute


class Suspect:
    """A canary in the present routing, and how a coin chooses between it and stable."""

    __slots__ = ("_canary", "_stable", "_weight")

    def __init__(self, canary: ServingArm, stable: ServingArm, weight: float) -> None:
        self._canary = canary
        self._stable = stable
        self._weight = weight

    def sweep(self, now: float) -> None:
        """Once a second: brake the canary when it is proven worse."""
        canary = self._canary
        pool = canary.pool
        if pool.evidence.proves_worse(canary, canary.errors, self._stable.errors, self._weight):
            pool.brake.judged_worse(now)


def suspects(routed: RoutedModel, route: CompiledRoute) -> Iterator[Suspect]:
    """Arms of a route that a coin chooses beside stable; callers that stick to their arm are no coin."""
    weights_bp = routed.route.weights_bp
    stable_bp = weights_bp.get(routed.route.stable, 0)
    if stable_bp == 0 or routed.model.is_sticky:
        return
    for arm in route.others:
        weight_bp = weights_bp[arm.version]
        yield Suspect(arm, route.stable, weight_bp / (weight_bp + stable_bp))
