"""Both arms' counts as the tests take them, and rates that can be compared.

Rule: an arm's counts are never pooled over weights before they are compared: when the mix of
weights differs between the arms, pooled rates differ although the arms are the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeAlias

from app.domain.evidence import Outcomes
from app.domain.ledger import ArmCounts, EpochCounts, Evidence
from app.domain.routing import FULL_BP

Count: TypeAlias = Callable[[ArmCounts], int]
Epochs: TypeAlias = Mapping[int, EpochCounts]

DRAWN: Count = attrgetter("drawn")
ENDED: Count = attrgetter("ended")
JUDGED: Count = attrgetter("judged")
ERRORS: Count = attrgetter("errors")
TIMEOUTS: Count = attrgetter("timeouts")
BAD: Count = attrgetter("bad")
TIMED: Count = attrgetter("timed")


def drawn_by_coin(evidence: Evidence) -> Epochs:
    """The epochs in which both arms could be drawn, by ascending weight; only they are evidence."""
    return {weight: epoch for weight, epoch in sorted(evidence.by_weight.items()) if 0 < weight < FULL_BP}


def outcomes(epochs: Epochs, bad: Count, of: Count) -> tuple[Outcomes, ...]:
    """Both arms' bad and good answers per epoch."""
    return tuple(
        Outcomes(
            weight_bp / FULL_BP,
            bad(epoch.canary),
            bad(epoch.stable),
            of(epoch.canary) - bad(epoch.canary),
            of(epoch.stable) - bad(epoch.stable),
        )
        for weight_bp, epoch in epochs.items()
    )


@dataclass(frozen=True, slots=True)
class Rates:
    """Observed rates of bad answers, stable's standardised to the canary's mix of epochs.

    Attributes:
        canary, stable: Shares in [0, 1].
        extra: Bad answers of the canary beyond what stable would have given in its place.
    """

    canary: float
    stable: float
    extra: float


def rates(epochs: Epochs, bad: Count, of: Count) -> Rates | None:
    """Rates of `bad` among `of`, over epochs where both arms have some; None when there is none."""
    canary_n = canary_bad = 0
    expected = 0.0
    for epoch in epochs.values():
        if of(epoch.canary) and of(epoch.stable):
            canary_n += of(epoch.canary)
            canary_bad += bad(epoch.canary)
            expected += of(epoch.canary) * bad(epoch.stable) / of(epoch.stable)
    if not canary_n:
        return None
    return Rates(canary_bad / canary_n, expected / canary_n, canary_bad - expected)
