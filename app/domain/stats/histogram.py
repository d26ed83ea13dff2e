"""Distributions that add up: exact while values are few, ever coarser bins when they are many.

Rule: a bin is the set of numbers whose 64-bit floats agree in all but the lowest `level` bits of
their order, so a coarser bin is a union of finer ones: histograms of any two processes add, in any
order, to the same one. No edge has to be known before the first value.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from struct import Struct
from typing import Final, TypeVar

BINS_MAX: Final = 64
LABELS_MAX: Final = 32
# A text that is not one of those told apart.
OTHER: Final = "other"
_FLOAT: Final = Struct("<d")
_BITS: Final = Struct("<q")
_LOW_63: Final = (1 << 63) - 1
_K = TypeVar("_K")


def add_counts(left: Mapping[_K, int], right: Mapping[_K, int]) -> Mapping[_K, int]:
    """Sum two sparse count maps."""
    if not right:
        return left
    total = dict(left)
    for key, count in right.items():
        total[key] = total.get(key, 0) + count
    return total


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often which value was seen.

    Attributes:
        level: Lowest bits of a number's order that bins leave out, 0 to 63.
        bins: Order of a number, shifted by `level`, to count; at most BINS_MAX.
        labels: Text to count; at most LABELS_MAX and `OTHER`.
        missing: How often there was no value where one belongs.
        nonfinite: How often it was no finite number.
    """

    level: int = 0
    bins: Mapping[int, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    missing: int = 0
    nonfinite: int = 0

    def __add__(self, other: "Histogram") -> "Histogram":
        level = max(self.level, other.level)
        bins = add_counts(_coarser(self.bins, level - self.level), _coarser(other.bins, level - other.level))
        level, bins = bounded(level, bins)
        return Histogram(
            level,
            bins,
            _fewer(add_counts(self.labels, other.labels)),
            self.missing + other.missing,
            self.nonfinite + other.nonfinite,
        )

    @property
    def n(self) -> int:
        """How many values, missing ones included."""
        return sum(self.bins.values()) + sum(self.labels.values()) + self.missing + self.nonfinite


def histogram_of(values: Iterable[float | str | None]) -> Histogram:
    """The histogram of these values."""
    bins: dict[int, int] = {}
    labels: dict[str, int] = {}
    missing = nonfinite = 0
    for value in values:
        if value is None:
            missing += 1
        elif isinstance(value, str):
            labels[value] = labels.get(value, 0) + 1
        elif isfinite(value):
            place = order_of(value)
            bins[place] = bins.get(place, 0) + 1
        else:
            nonfinite += 1
    level, few = bounded(0, bins)
    return Histogram(level, few, _fewer(labels), missing, nonfinite)


def order_of(value: float) -> int:
    """A number's place among all finite floats: ascends as they do."""
    # Adding 0.0 makes one zero of the two.
    (bits,) = _BITS.unpack(_FLOAT.pack(value + 0.0))
    return int(bits) if bits >= 0 else -(bits & _LOW_63)


def value_at(order: int) -> float:
    """The number at a place, as `order_of`."""
    bits = order if order >= 0 else -order - (1 << 63)
    (value,) = _FLOAT.unpack(_BITS.pack(bits))
    return float(value)


def _coarser(bins: Mapping[int, int], shift: int) -> Mapping[int, int]:
    if not shift:
        return bins
    fewer: dict[int, int] = {}
    for place, count in bins.items():
        fewer[place >> shift] = fewer.get(place >> shift, 0) + count
    return fewer


def bounded(level: int, bins: Mapping[int, int]) -> tuple[int, Mapping[int, int]]:
    """The finest level at which there are few enough bins, and those; found by halving: it is mostly far away."""
    if len(bins) <= BINS_MAX:
        return level, bins
    least, most = 1, 64
    while least < most:
        middle = (least + most) // 2
        if len({place >> middle for place in bins}) > BINS_MAX:
            least = middle + 1
        else:
            most = middle
    return level + least, _coarser(bins, least)


def _fewer(labels: Mapping[str, int]) -> Mapping[str, int]:
    """The most frequent labels, and how often there was another one."""
    if len(labels) <= LABELS_MAX:
        return labels
    ordered = sorted((label for label in labels if label != OTHER), key=lambda label: (-labels[label], label))
    kept = {label: labels[label] for label in ordered[:LABELS_MAX]}
    rest = sum(labels.values()) - sum(kept.values())
    return {**kept, OTHER: rest} if rest else kept


@dataclass(frozen=True, slots=True)
class Spread:
    """What one arm was asked and what it predicted, one value per exchange.

    Attributes:
        predictions: First prediction of each answer that was read.
        features: Feature name to the values of the requests that were read.
    """

    predictions: Histogram = Histogram()
    features: Mapping[str, Histogram] = field(default_factory=dict)

    def __add__(self, other: "Spread") -> "Spread":
        names = {**self.features, **other.features}
        none = Histogram()
        features = {name: self.features.get(name, none) + other.features.get(name, none) for name in names}
        return Spread(self.predictions + other.predictions, features)

    def or_else(self, other: "Spread") -> "Spread":
        """Each distribution of this one, and the other's where this has none."""
        features = {**other.features, **{name: each for name, each in self.features.items() if each.n}}
        return Spread(self.predictions if self.predictions.n else other.predictions, features)
