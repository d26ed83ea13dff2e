"""Latency in logarithmic bins: a sum of histograms is the histogram of the sum."""

from collections.abc import Mapping


def latency_bin(us: float) -> int:
    """The bin of a latency in microseconds: floor(log(us) / log 1.02), never below 0."""
    raise NotImplementedError


def edge_us(index: int) -> float:
    """Lower edge of a bin in microseconds."""
    raise NotImplementedError


def quantile_bin(bins: Mapping[int, int], level: float) -> int | None:
    """The bin that holds the quantile, None when the histogram is empty."""
    raise NotImplementedError


def count_from(bins: Mapping[int, int], first: int) -> int:
    """How many answers lie in bin `first` or above; exact."""
    raise NotImplementedError
