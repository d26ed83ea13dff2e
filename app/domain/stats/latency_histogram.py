"""Latency in logarithmic bins: a sum of histograms is the histogram of the sum.

Rule: bin b holds latencies from 1.02**b up to, not including, 1.02**(b + 1) microseconds, so a
quantile read from it is off by at most 2 %, and counts above an edge are exact.

Source: Masson, Rim, Lee 2019, DDSketch, PVLDB 12(12).
"""

from collections.abc import Mapping
from math import ceil, log

GAMMA = 1.02
_BINS_PER_NAT = 1.0 / log(GAMMA)


def latency_bin(us: float) -> int:
    """The bin of a latency in microseconds: floor(log(us) / log(1.02)), never below 0."""
    return int(log(us) * _BINS_PER_NAT) if us > 1.0 else 0


def edge_us(index: int) -> float:
    """Lower edge of a bin in microseconds."""
    return GAMMA**index


def bin_reaching(us: float) -> int:
    """The first bin whose lower edge is not below `us` microseconds."""
    if us <= 1.0:
        return 0
    found = ceil(log(us) * _BINS_PER_NAT)
    # The logarithm of an edge is rounded, and may come out a little above or below its bin.
    if edge_us(found - 1) >= us:
        return found - 1
    return found if edge_us(found) >= us else found + 1


def quantile_bin(bins: Mapping[int, int], level: float) -> int | None:
    """The lowest bin with at least a share `level` of all answers in it or below; None when empty."""
    wanted = level * sum(bins.values())
    below = 0
    for index in sorted(bins):
        below += bins[index]
        if below >= wanted:
            return index
    return None


def count_from(bins: Mapping[int, int], first: int) -> int:
    """How many answers lie in bin `first` or above; exact."""
    return sum(count for index, count in bins.items() if index >= first)
