"""Both arms' counts as the tests take them, and rates that can be compared.

Rule: an arm's counts are never pooled over weights before they are compared: when the mix of
weights differs between the arms, pooled rates differ although the arms are the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple, TypeAlias

import numpy as np

from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.evidence import ArmCounts, EpochCounts, Evidence
from app.domain.evidence.memo import once_per_evidence
from app.domain.stats.eprocess import Outcomes
from app.domain.stats.eprocess_batch import Counts, ManyOutcomes

Count: TypeAlias = Callable[[ArmCounts], int]
Epochs: TypeAlias = Mapping[int, EpochCounts]

DRAWN: Count = attrgetter("drawn")
ENDED: Count = attrgetter("ended")
JUDGED: Count = attrgetter("judged")
ERRORS: Count = attrgetter("errors")
TIMEOUTS: Count = attrgetter("timeouts")
BAD: Count = attrgetter("bad")
BAD_OUTCOMES = (ERRORS, TIMEOUTS)
TIMED: Count = attrgetter("timed")

# The arms' places in an array.
CANARY, STABLE = 0, 1


@once_per_evidence
def drawn_by_coin(evidence: Evidence) -> Epochs:
    """The epochs in which both arms could be drawn, by ascending weight; only they are evidence."""
    return {weight: epoch for weight, epoch in sorted(evidence.by_weight.items()) if 0 < weight < FULL_BP}


@once_per_evidence
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


def counted_together(epochs: Epochs, counts: Sequence[Count], of: Count | None = None) -> ManyOutcomes:
    """Both arms' counts of each kind, as the bad answers of as many tests; the rest of `of` are good ones."""
    rows = [
        [[count(epoch.canary) for count in counts], [count(epoch.stable) for count in counts]]
        for epoch in epochs.values()
    ]
    bad = np.array(rows, dtype=np.float64).reshape(len(epochs), 2, len(counts))
    if of is None:
        return _many(epochs, bad, np.zeros_like(bad))
    everything = np.array([[of(epoch.canary), of(epoch.stable)] for epoch in epochs.values()], dtype=np.float64)
    return _many(epochs, bad, everything.reshape(len(epochs), 2, 1) - bad)


def slow_together(evidence: Evidence, places: Sequence[int], *, untimed_is_slow: int) -> ManyOutcomes:
    """Both arms' slow and quick answers beyond each of these thresholds, as many tests.

    Args:
        evidence: With thresholds.
        places: Of the thresholds.
        untimed_is_slow: The arm, CANARY or STABLE, whose missing latencies count as slow; the other's
            count as quick. Whatever kept them from coming, a test against them stays fair.
    """
    beyond, waited = _latencies(evidence)
    slow = beyond[:, :, list(places)]
    slow[:, untimed_is_slow] += waited[:, untimed_is_slow, 1:]
    return _many(drawn_by_coin(evidence), slow, waited.sum(axis=2, keepdims=True) - slow)


@once_per_evidence
def _latencies(evidence: Evidence) -> tuple[Counts, Counts]:
    """Slow answers, shape (epochs, arms, thresholds); timed and untimed ones, shape (epochs, arms, 2)."""
    epochs, levels = drawn_by_coin(evidence), len(evidence.thresholds)
    none = (0,) * levels
    arms = [arm for epoch in epochs.values() for arm in (epoch.canary, epoch.stable)]
    slow = np.array([(arm.slow or none)[:levels] for arm in arms], dtype=np.float64)
    waited = np.array([(arm.timed, arm.untimed) for arm in arms], dtype=np.float64)
    return slow.reshape(len(epochs), 2, levels), waited.reshape(len(epochs), 2, 2)


def _many(epochs: Epochs, bad: Counts, good: Counts) -> ManyOutcomes:
    """From counts of the shape (epochs, arms, tests)."""
    counts = np.concatenate((bad, good), axis=1).transpose(1, 0, 2)
    return ManyOutcomes(tuple(weight_bp / FULL_BP for weight_bp in epochs), counts)


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


@once_per_evidence
def rates(epochs: Epochs, bad: Count, of: Count) -> Rates | None:
    """Rates of `bad` among `of`, over epochs where both arms have some; None when there is none."""
    return rates_of(
        BadOf(weight_bp, of(epoch.canary), bad(epoch.canary), of(epoch.stable), bad(epoch.stable))
        for weight_bp, epoch in epochs.items()
    )


class BadOf(NamedTuple):
    """Both arms at one weight, in (0, FULL_BP) basis points: how many, and bad ones among them."""

    weight_bp: int
    canary_n: int
    canary_bad: int
    stable_n: int
    stable_bad: int


def rates_of(counts: Iterable[BadOf]) -> Rates | None:
    """The same of counts."""
    canary_n = canary_bad = 0
    # Not `sum`, which rounds otherwise from Python 3.12 on: decisions are made again to the bit.
    expected = 0.0
    for each in counts:
        if each.canary_n and each.stable_n:
            canary_n += each.canary_n
            canary_bad += each.canary_bad
            expected += each.canary_n * each.stable_bad / each.stable_n
    if not canary_n:
        return None
    return Rates(canary_bad / canary_n, expected / canary_n, canary_bad - expected)
