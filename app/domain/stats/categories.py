"""Distributions cut into categories that were fixed beforehand: bins at a reference's quantiles, labels, the rest.

Rule: categories depend on the reference alone. What is compared is first brought to one level; a bin that
then lies in two categories counts for the one its middle lies in, so that no arm is favoured.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.domain.stats.histogram import Histogram

# Fewer values than this do not say what is usual.
REFERENCE_MIN = 200
BINS = 10


@dataclass(frozen=True, slots=True)
class Categories:
    """How one distribution is cut.

    Attributes:
        edges: Places of numbers, ascending, as `histogram.order_of`; a number below the first is in category 0.
        labels: Texts told apart; behind the numbers in this order, then other texts, missing, nonfinite.
        level: Of the reference's bins.
    """

    edges: tuple[int, ...]
    labels: tuple[str, ...]
    level: int = 0

    @property
    def size(self) -> int:
        """How many categories there are."""
        return len(self.edges) + 1 + len(self.labels) + 3


def categories_of(reference: Histogram, bins: int = BINS) -> Categories | None:
    """Categories of about equal shares; None where the reference has too few values.

    Args:
        reference: Stable's distribution of before the start, or the one it was trained on.
        bins: Most ranges of numbers.
    """
    if reference.n < REFERENCE_MIN:
        return None
    counts = sorted((_middle(place, reference.level), count) for place, count in reference.bins.items())
    total = sum(count for _, count in counts)
    edges: list[int] = []
    seen = 0
    for (place, count), (following, _) in pairwise(counts):
        seen += count
        if seen * bins >= (len(edges) + 1) * total and len(edges) < bins - 1:
            edges.append((place + following + 1) // 2)
    return Categories(tuple(edges), tuple(sorted(reference.labels)), reference.level)


def shared_level(categories: Categories, histograms: Iterable[Histogram]) -> int:
    """The level at which all of these can be compared; that of the reference, mostly."""
    return max((categories.level, *(histogram.level for histogram in histograms)))


def counted(categories: Categories, histogram: Histogram, level: int) -> tuple[int, ...]:
    """How many values fall in each category, shape (categories.size,).

    Args:
        categories: Of the reference.
        histogram: What is counted.
        level: The same for all that are compared, at least the histogram's own; see `shared_level`.
    """
    counts = [0] * categories.size
    for place, count in histogram.bins.items():
        counts[bisect_right(categories.edges, _middle(place >> (level - histogram.level), level))] += count
    behind = len(categories.edges) + 1
    for label, count in histogram.labels.items():
        counts[behind + _position(categories.labels, label)] += count
    counts[-2] = histogram.missing
    counts[-1] = histogram.nonfinite
    return tuple(counts)


def _middle(place: int, level: int) -> int:
    return (place << level) + ((1 << level) >> 1)


def _position(labels: Sequence[str], label: str) -> int:
    try:
        return labels.index(label)
    except ValueError:
        return len(labels)
