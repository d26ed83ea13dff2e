"""What this process alone can prove against a canary, for when nobody else can judge it.

Rule: the test is the controller's own (app.domain.stats.eprocess), on this process's counts of one weight
epoch, and far stricter: the controller has every replica's counts and should decide first.
"""

from math import log
from typing import Final

from app.domain.stats.eprocess import Outcomes, log_e_tilt

# A healthy canary is braked by one process with a chance of at most 1 in so many, in its whole rollout.
BRAKE_AT: Final = 1_000.0


class LocalEvidence:  # ADR 0068
    """The case against one version, begun anew in each weight epoch."""

    __slots__ = ("_epoch", "_epochs", "_errors_seen")

    def __init__(self) -> None:
        self._epoch: object = None
        self._epochs = 0
        self._errors_seen = 0

    def forget(self) -> None:
        """The version lost its traffic, or is stable now."""
        self._epoch = None
        self._epochs = 0

    def proves_worse(self, epoch: object, canary_errors: int, stable_errors: int, weight: float) -> bool:
        """Whether the canary answers worse than stable, beyond reasonable doubt.

        The k-th epoch may err with a chance of 1 / (1,000 k (k + 1)); these sum to 1 / 1,000.

        Args:
            epoch: Stands for the weight epoch; another object begins another one.
            canary_errors, stable_errors: Since the epoch began.
            weight: Chance that the coin chose the canary of the two, in (0, 1).
        """
        if epoch is not self._epoch:
            self._epoch = epoch
            self._epochs += 1
            self._errors_seen = 0
        if canary_errors <= self._errors_seen:
            return False  # only another error of the canary can raise the evidence
        self._errors_seen = canary_errors
        log_e = log_e_tilt((Outcomes(weight, canary_errors, stable_errors),))
        return log_e >= log(BRAKE_AT * self._epochs * (self._epochs + 1))
