"""Drift by category: the coin allows none, a tolerance allows some, and effect sizes are of the same epochs."""

from collections.abc import Iterator
from itertools import product
from math import comb, exp, inf, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from app.domain.stats.eprocess import ratio_interval
from app.domain.stats.homogeneity import (
    CategoryEpoch,
    bin_of,
    decile_edges,
    log_e_category,
    log_e_drift,
    outcomes_of,
    shift,
)


def mean_over_coins(seen: tuple[int, ...], weight: float, ratios: tuple[float, ...], tolerance: float) -> float:
    """E[e-value] given each category's count, its arm drawn with the weight tilted by its ratio."""
    tilted = [weight * r / (1.0 - weight + weight * r) for r in ratios]
    mean = 0.0
    for canary in product(*(range(n + 1) for n in seen)):
        chance = 1.0
        for k, n, share in zip(canary, seen, tilted, strict=True):
            chance *= comb(n, k) * share**k * (1.0 - share) ** (n - k)
        stable = tuple(n - k for n, k in zip(seen, canary, strict=True))
        mean += chance * exp(log_e_drift([CategoryEpoch(weight, canary, stable)], tolerance))
    return mean


@pytest.mark.parametrize("weight", [0.02, 0.5])
def test_a_fair_coin_gains_nothing_on_average(weight: float) -> None:
    assert mean_over_coins((5, 3, 6), weight, (1.0, 1.0, 1.0), 0.0) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("ratios", [(1.25, 0.8, 1.0), (1.25, 1.25, 0.8), (1.1, 0.9, 1.0)])
def test_shifts_within_the_tolerance_gain_nothing_on_average(ratios: tuple[float, ...]) -> None:
    assert mean_over_coins((5, 3, 6), 0.3, ratios, 0.25) <= 1.0 + 1e-9


def ramp(rng: np.random.Generator) -> Iterator[list[CategoryEpoch]]:
    """A rollout of equal arms seen twelve times, while the mix of categories moves."""
    epochs: list[CategoryEpoch] = []
    for weight in (0.01, 0.1, 0.5):
        canary = stable = np.zeros(4, int)
        for _ in range(4):
            shares = rng.dirichlet([5.0, 3.0, 2.0, 0.2])
            n = int(rng.binomial(500, weight))
            canary, stable = canary + rng.multinomial(n, shares), stable + rng.multinomial(500 - n, shares)
            yield [*epochs, CategoryEpoch(weight, tuple(canary.tolist()), tuple(stable.tolist()))]
        epochs.append(CategoryEpoch(weight, tuple(canary.tolist()), tuple(stable.tolist())))


def test_equal_arms_are_called_adrift_at_any_look_of_a_ramp_no_more_often_than_promised() -> None:
    runs, alpha = 300, 0.05
    rng = np.random.default_rng(8)
    called = sum(any(log_e_drift(seen) >= log(1 / alpha) for seen in ramp(rng)) for _ in range(runs))
    assert binom.sf(called - 1, runs, alpha) > 0.001


def test_one_large_shift_and_many_small_ones_are_both_seen() -> None:
    sparse = [CategoryEpoch(0.5, (90, *[500] * 19), (15, *[500] * 19))]
    diffuse = [CategoryEpoch(0.5, tuple([150, 100] * 10), tuple([100, 150] * 10))]
    assert log_e_drift(sparse) > log(1_000)
    assert log_e_drift(diffuse) > log(1_000)
    assert log_e_drift([CategoryEpoch(0.5, (500,) * 20, (500,) * 20)]) < 0.0


def test_what_the_tolerance_allows_is_seen_without_it() -> None:
    epochs = [CategoryEpoch(0.5, (3_450, 3_000), (3_000, 3_300))]
    assert log_e_drift(epochs) > log(10)
    assert log_e_drift(epochs, 0.25) < 0.0


counts = st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
some_epochs = st.lists(st.builds(CategoryEpoch, st.floats(0.001, 0.9), counts, counts), min_size=1, max_size=4)


@given(some_epochs.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))))
def test_neither_the_order_of_epochs_nor_a_cut_matters(orders: tuple[list[CategoryEpoch], list[CategoryEpoch]]) -> None:
    drawn, shuffled = orders
    halves = [CategoryEpoch(e.weight, tuple(n // 2 for n in e.canary), tuple(n // 2 for n in e.stable)) for e in drawn]
    rests = [
        CategoryEpoch(e.weight, tuple(n - n // 2 for n in e.canary), tuple(n - n // 2 for n in e.stable)) for e in drawn
    ]
    assert log_e_drift(shuffled, 0.1) == pytest.approx(log_e_drift(drawn, 0.1), abs=1e-9)
    assert log_e_drift(halves + rests, 0.1) == pytest.approx(log_e_drift(drawn, 0.1), abs=1e-9)


def test_the_effect_size_compares_within_epochs_not_over_them() -> None:
    # The mix of categories changed while the weight rose: pooled, the arms would differ.
    even = [CategoryEpoch(0.1, (90, 10), (810, 90)), CategoryEpoch(0.5, (100, 400), (100, 400))]
    seen = shift(even)
    assert seen is not None
    assert seen.population_stability < 1e-4
    moved = shift([CategoryEpoch(0.5, (300, 700), (700, 300))])
    assert moved is not None
    assert moved.population_stability == pytest.approx(0.4 * log(7 / 3) * 2, rel=0.01)
    # Each of 0.3 and 0.7 beside the even half.
    assert moved.jensen_shannon == pytest.approx(0.3 * log(0.6) + 0.7 * log(1.4), rel=0.01)


def test_before_anything_was_seen_there_is_neither_evidence_nor_effect() -> None:
    assert log_e_drift([]) == 0.0
    assert log_e_drift([CategoryEpoch(0.5, (0, 0), (0, 0))]) == pytest.approx(0.0, abs=1e-12)
    assert shift([]) is None
    assert shift([CategoryEpoch(0.5, (5, 1), (0, 0))]) is None


def test_the_bound_beside_a_category_is_of_the_same_counts() -> None:
    epochs = [CategoryEpoch(0.5, (300, 700), (200, 800))]
    lower, upper = ratio_interval(outcomes_of(epochs, 0), 0.01)
    assert lower < 1.5 < upper


def test_numbers_fall_into_stables_deciles_and_missing_ones_into_a_bin_of_their_own() -> None:
    edges = decile_edges([*range(100), nan])
    assert edges == (10, 20, 30, 40, 50, 60, 70, 80, 90)
    assert [bin_of(value, edges) for value in (-inf, 9.9, 10, 95, inf, nan)] == [0, 0, 1, 9, 9, 10]
    assert decile_edges([1.0] * 50) == (1.0,)


@pytest.mark.parametrize(
    "broken",
    [
        CategoryEpoch(0.5, (1, 2), (1,)),
        CategoryEpoch(0.5, (), ()),
        CategoryEpoch(0.0, (1, 2), (1, 2)),
        CategoryEpoch(0.5, (-1, 2), (1, 2)),
    ],
)
def test_epochs_that_cannot_be_are_refused(broken: CategoryEpoch) -> None:
    with pytest.raises(ValueError, match=r"the same categories|no coin made"):
        log_e_drift([broken])


def test_a_tolerance_or_sample_that_cannot_be_is_refused() -> None:
    for tolerance in (-0.1, nan, inf):
        with pytest.raises(ValueError, match="no tolerance"):
            log_e_category([CategoryEpoch(0.5, (1,), (1,))], 0, tolerance)
    with pytest.raises(ValueError, match="no values"):
        decile_edges([nan])
