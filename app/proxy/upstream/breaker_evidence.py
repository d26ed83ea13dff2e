"""What this process alone can prove against a canary, for when nobody else can judge it.

Rule: the test is the controller's own (app.domain.stats.eprocess), on this process's counts of one weight
epoch, and far stricter: the controller has every replica's counts and should decide first.
"""

from collections.abc import Iterator
from math import log
from typing import TYPE_CHECKING, Final

from app.domain.catalog.routing import RoutedModel
from app.domain.stats.eprocess import Outcomes, log_e_tilt

if TYPE_CHECKING:
    from app.proxy.routing.table import Arm, CompiledRoute

# A healthy canary is braked by one process with a chance of at most 1 in so many, in its whole rollout.
BRAKE_AT: Final = 1_000.0


class LocalEvidence:
    """The case against one version, begun anew in each weight epoch."""

    __slots__ = ("_arm", "_epochs", "_errors_seen")

    def __init__(self) -> None:
        self._arm: Arm | None = None
        self._epochs = 0
        self._errors_seen = 0

    def forget(self) -> None:
        """The version lost its traffic, or is stable now."""
        self._arm = None
        self._epochs = 0

    def proves_worse(self, canary: "Arm", stable: "Arm", weight: float) -> bool:
        """Whether the canary answers worse than stable, beyond reasonable doubt.

        The k-th epoch may err with a chance of 1 / (1,000 k (k + 1)); these sum to 1 / 1,000.

        Args:
            canary, stable: Both arms of one generation.
            weight: Chance that the coin chose the canary of the two, in (0, 1).
        """
        if canary is not self._arm:
            self._arm = canary
            self._epochs += 1
            self._errors_seen = 0
        if canary.errors <= self._errors_seen:
            return False  # only another error of the canary can raise the evidence
        self._errors_seen = canary.errors
        log_e = log_e_tilt((Outcomes(weight, canary.errors, stable.errors),))
        return log_e >= log(BRAKE_AT * self._epochs * (self._epochs + 1))


class Suspect:
    """A canary in the present routing, and how a coin chooses between it and stable."""

    __slots__ = ("_canary", "_stable", "_weight")

    def __init__(self, canary: "Arm", stable: "Arm", weight: float) -> None:
        self._canary = canary
        self._stable = stable
        self._weight = weight

    def sweep(self, now: float) -> None:
        """Once a second: brake the canary when it is proven worse."""
        pool = self._canary.pool
        if pool.evidence.proves_worse(self._canary, self._stable, self._weight):
            pool.brake.judged_worse(now)


def suspects(routed: RoutedModel, route: "CompiledRoute") -> Iterator[Suspect]:
    """Arms of a route that a coin chooses beside stable; callers that stick to their arm are no coin."""
    weights_bp = routed.route.weights_bp
    stable_bp = weights_bp.get(routed.route.stable, 0)
    if stable_bp == 0 or routed.model.is_sticky:
        return
    for arm in route.others:
        weight_bp = weights_bp[arm.version]
        yield Suspect(arm, route.stable, weight_bp / (weight_bp + stable_bp))
