"""A distribution while it grows: values are put aside and counted many at once.

Rule: what comes out is `app.domain.stats.histogram.histogram_of` of all values, whenever it is asked for.
"""

from struct import pack, unpack
from typing import Final

from app.domain.stats.histogram import BINS_MAX, LABELS_MAX, Histogram, bounded, order_of

_ASIDE_MAX: Final = 256
_KEPT_LABELS: Final = 8 * LABELS_MAX
_LOW_63: Final = (1 << 63) - 1
_INFINITE: Final = order_of(float("inf"))
_NONE: Final = Histogram()


class HistogramCell:
    """How often which value was seen."""

    __slots__ = ("_aside", "_bins", "_labels", "_level", "_missing", "_nonfinite")

    def __init__(self) -> None:
        self._aside: list[float] = []
        self._bins: dict[int, int] = {}
        self._labels: dict[str, int] = {}
        self._level = 0
        self._missing = 0
        self._nonfinite = 0

    def add(self, value: float | str | None) -> None:
        """Count a value; None is one that is missing."""
        if isinstance(value, float):
            self._aside.append(value)
            if len(self._aside) >= _ASIDE_MAX:
                self._count()
        elif value is None:
            self._missing += 1
        else:
            labels = self._labels
            labels[value] = labels.get(value, 0) + 1
            if len(labels) > _KEPT_LABELS:
                self._labels = dict((Histogram(labels=labels) + _NONE).labels)

    def histogram(self) -> Histogram:
        """A copy of what was counted."""
        self._count()
        counted = Histogram(self._level, dict(self._bins), dict(self._labels), self._missing, self._nonfinite)
        return counted + _NONE

    def _count(self) -> None:
        """Count what was put aside."""
        n = len(self._aside)
        bins, level = self._bins, self._level
        for bits in unpack(f"<{n}q", pack(f"<{n}d", *self._aside)):
            place = bits if bits >= 0 else -(bits & _LOW_63)
            if -_INFINITE < place < _INFINITE:
                place >>= level
                bins[place] = bins.get(place, 0) + 1
            else:
                self._nonfinite += 1
        self._aside.clear()
        if len(bins) > BINS_MAX:
            self._level, fewer = bounded(level, bins)
            self._bins = dict(fewer)
