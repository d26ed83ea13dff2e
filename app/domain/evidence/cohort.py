"""Matured cohorts: both arms' labelled exchanges of seconds old enough for a label to have come.

Rule: a second is read once, when its horizon has passed, and for both arms at once; what came
later is kept and shown, and never compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from app.domain.catalog.declarations import QualityMetric

# Feedback that waited on a gateway's disk for Postgres gets so long to be written before its second is read.
GRACE_S = 5
# Who did not label, where that counts as bad; no source of labels.
MISSING = "missing"
# More sources of labels are told apart by name no longer.
SOURCES_MAX = 16


class LossSums(NamedTuple):
    """Sums over labelled exchanges of a loss a / b: numerator a and denominator b of each, in [0, 1].

    For all but precision, recall and F1 every b is 1, so that the loss is the mean of a.

    Attributes:
        n: Labelled exchanges.
        a, b: Sums. aa, ab, bb: Sums of products.
    """

    n: float = 0.0
    a: float = 0.0
    b: float = 0.0
    aa: float = 0.0
    ab: float = 0.0
    bb: float = 0.0

    def plus(self, other: "LossSums") -> "LossSums":
        """Both together."""
        n, a, b, aa, ab, bb = other
        return LossSums(self.n + n, self.a + a, self.b + b, self.aa + aa, self.ab + ab, self.bb + bb)


@dataclass(frozen=True, slots=True)
class CohortArm:
    """One arm at one weight.

    Attributes:
        drawn: Exchanges of the matured seconds, labelled or not.
        by_source: Who gave the labels, to their sums; an exchange counts for the first who labelled it.
        seconded: Of the exchanges that count for a source, those that others labelled too: what the next one said.
    """

    drawn: int = 0
    by_source: Mapping[str, LossSums] = field(default_factory=dict)
    seconded: Mapping[str, LossSums] = field(default_factory=dict)

    @property
    def labelled(self) -> int:
        """Labelled exchanges; one that counts as bad for want of a label is none."""
        return round(sum(sums.n for source, sums in self.by_source.items() if source != MISSING))

    def total(self, without: str | None = None) -> LossSums:
        """The sums of all sources, as if one had said nothing."""
        # What others said of the same exchanges stays, or who is left out would choose what they say.
        total = LossSums() if without is None else self.seconded.get(without, LossSums())
        for source, sums in self.by_source.items():
            if source != without:
                total = total.plus(sums)
        return total


@dataclass(frozen=True, slots=True)
class CohortEpoch:
    """Both arms at one canary weight."""

    canary: CohortArm = CohortArm()
    stable: CohortArm = CohortArm()


class SliceEpoch(NamedTuple):
    """Both arms' labelled exchanges of one slice at one canary weight."""

    canary: LossSums = LossSums()
    stable: LossSums = LossSums()


@dataclass(frozen=True, slots=True)
class Cohort:
    """All matured labels of one metric of one rollout.

    Attributes:
        metric: As it was declared at the start.
        read_through: Last second already read.
        reference: Stable's loss before the start, or a guess of it; fixed for ever.
        by_weight: Canary weight in basis points to both arms.
        slices: "key=value" to canary weight to both arms.
        disagreed: Exchanges that two sources labelled differently.
    """

    metric: QualityMetric
    read_through: int
    reference: float
    by_weight: Mapping[int, CohortEpoch] = field(default_factory=dict)
    slices: Mapping[str, Mapping[int, SliceEpoch]] = field(default_factory=dict)
    disagreed: int = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """Who labelled."""
        arms = (arm for epoch in self.by_weight.values() for arm in (epoch.canary, epoch.stable))
        return tuple(sorted({source for arm in arms for source in arm.by_source} - {MISSING}))
