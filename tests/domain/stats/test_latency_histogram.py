"""Latency bins: close to the truth, exact at edges, additive."""

from math import floor, log

from hypothesis import given
from hypothesis import strategies as st

from app.domain.stats.latency_histogram import GAMMA, bin_reaching, count_from, edge_us, latency_bin, quantile_bin

latencies = st.floats(1.0, 3.6e9)
histograms = st.dictionaries(st.integers(0, 1_100), st.integers(1, 1_000), max_size=30)


@given(latencies)
def test_a_latency_lies_between_its_bins_edges(us: float) -> None:
    index = latency_bin(us)
    assert edge_us(index) * (1 - 1e-9) <= us <= edge_us(index + 1) * (1 + 1e-9)


@given(latencies)
def test_the_bin_is_the_floor_of_the_logarithm(us: float) -> None:
    assert abs(latency_bin(us) - floor(log(us) / log(GAMMA))) <= 1
    assert latency_bin(us * GAMMA * 1.000001) > latency_bin(us)


@given(st.floats(-1e9, 1.0))
def test_nothing_falls_below_the_first_bin(us: float) -> None:
    assert latency_bin(us) == 0
    assert bin_reaching(us) == 0


@given(latencies)
def test_the_bin_reaching_a_limit_holds_nothing_below_it(us: float) -> None:
    index = bin_reaching(us)
    assert edge_us(index) >= us
    assert index == 0 or edge_us(index - 1) < us


def test_the_bin_reaching_its_own_edge_is_the_bin_itself() -> None:
    assert [bin_reaching(edge_us(index)) for index in range(2_000)] == list(range(2_000))


@given(st.lists(latencies, min_size=1, max_size=200), st.floats(0.01, 0.999))
def test_a_quantile_is_off_by_at_most_one_bin(sample: list[float], level: float) -> None:
    bins: dict[int, int] = {}
    for us in sample:
        bins[latency_bin(us)] = bins.get(latency_bin(us), 0) + 1
    index = quantile_bin(bins, level)
    assert index is not None
    assert sum(us < edge_us(index + 1) * (1 + 1e-9) for us in sample) >= level * len(sample) - 1e-9
    assert count_from(bins, index + 1) <= (1 - level) * len(sample) + 1e-9


@given(histograms, histograms, st.integers(0, 1_100))
def test_counts_above_an_edge_add(one: dict[int, int], other: dict[int, int], first: int) -> None:
    both = {index: one.get(index, 0) + other.get(index, 0) for index in one.keys() | other.keys()}
    assert count_from(both, first) == count_from(one, first) + count_from(other, first)


def test_an_empty_histogram_has_no_quantile() -> None:
    assert quantile_bin({}, 0.5) is None
