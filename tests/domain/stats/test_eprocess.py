"""The coin's e-processes: fair under their hypothesis, blind to how the data were cut."""

from fractions import Fraction
from math import comb, exp, inf, isnan, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from app.domain.stats.eprocess import (
    BETTER,
    EXCESSES,
    SPLIT_RATIOS,
    WORSE,
    Outcomes,
    greatest_ratio,
    least_ratio,
    log_e_dirichlet,
    log_e_full,
    log_e_split,
    log_e_tilt,
    log_sum_exp,
    log_weighted_mean,
    ratio_interval,
)
from app.domain.stats.eprocess_batch import ManyOutcomes, log_e_tilt_of_many

weights = st.floats(1e-4, 0.9)
few = st.integers(0, 60)
epochs = st.lists(st.builds(Outcomes, weights, few, few, few, few), min_size=1, max_size=5)


def coin_mean(n: int, share: float, log_e_of: dict[int, float]) -> float:
    """E[exp(log_e)] when each of n outcomes fell on the canary with chance `share`."""
    return sum(comb(n, k) * share**k * (1 - share) ** (n - k) * exp(log_e_of[k]) for k in range(n + 1))


@given(n=st.integers(0, 25), weight=st.floats(0.001, 0.9))
def test_a_fair_coin_gains_nothing_on_average(n: int, weight: float) -> None:
    log_e = {k: log_e_tilt([Outcomes(weight, k, n - k)]) for k in range(n + 1)}
    assert coin_mean(n, weight, log_e) == pytest.approx(1.0, rel=1e-9)


@given(n=st.integers(1, 25), weight=st.floats(0.001, 0.9), better=st.floats(0.0, 1.0))
def test_a_canary_that_fails_less_loses_on_average(n: int, weight: float, better: float) -> None:
    log_e = {k: log_e_tilt([Outcomes(weight, k, n - k)]) for k in range(n + 1)}
    assert coin_mean(n, weight * better, log_e) <= 1.0 + 1e-9


@given(n=st.integers(1, 20), weight=st.floats(0.001, 0.9), r0=st.floats(1.0, 3.0))
def test_a_canary_exactly_on_the_margin_gains_nothing_on_average(n: int, weight: float, r0: float) -> None:
    on_margin = weight * r0 / (1.0 - weight + weight * r0)
    worse = {k: log_e_tilt([Outcomes(weight, k, n - k)], r0) for k in range(n + 1)}
    better = {k: log_e_tilt([Outcomes(weight, k, n - k)], r0, BETTER) for k in range(n + 1)}
    assert coin_mean(n, on_margin, worse) == pytest.approx(1.0, rel=1e-9)
    assert coin_mean(n, on_margin, better) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("ratios", [WORSE, BETTER], ids=["harm", "proof"])
@pytest.mark.parametrize("reference", [0.0, 0.05, 0.5])
def test_good_answers_gain_nothing_on_average_either(reference: float, ratios: tuple[float, ...]) -> None:
    bad, good, weight = 6, 8, 0.3
    mean = 0.0
    for a in range(bad + 1):
        for c in range(good + 1):
            chance = comb(bad, a) * comb(good, c) * weight ** (a + c) * (1 - weight) ** (bad + good - a - c)
            mean += chance * exp(log_e_full([Outcomes(weight, a, bad - a, c, good - c)], reference, ratios))
    assert mean == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(("canary_rate", "ratios"), [(0.05, WORSE), (0.3, BETTER)], ids=["harm", "proof"])
def test_with_good_answers_a_canary_on_the_right_side_loses_on_average(
    canary_rate: float, ratios: tuple[float, ...]
) -> None:
    # Every way in which six exchanges can be drawn and answered; the reference is wrong on purpose.
    n, weight, stable_rate, mean = 6, 0.4, 0.2, 0.0
    chances = (weight * canary_rate, (1 - weight) * stable_rate, weight * (1 - canary_rate))
    for a in range(n + 1):
        for b in range(n + 1 - a):
            for c in range(n + 1 - a - b):
                four = (a, b, c, n - a - b - c)
                ways = comb(n, a) * comb(n - a, b) * comb(n - a - b, c)
                rest = 1.0 - sum(chances)
                chance = ways * chances[0] ** a * chances[1] ** b * chances[2] ** c * rest ** four[3]
                mean += chance * exp(log_e_full([Outcomes(weight, *four)], 0.1, ratios))
    assert mean <= 1.0 + 1e-12


@given(n=st.integers(0, 25), weight=st.floats(0.001, 0.9))
def test_a_split_as_drawn_gains_nothing_on_average(n: int, weight: float) -> None:
    log_e = {k: log_e_split([Outcomes(weight, k, n - k)]) for k in range(n + 1)}
    assert coin_mean(n, weight, log_e) == pytest.approx(1.0, rel=1e-9)


def test_the_mixture_equals_exact_arithmetic() -> None:
    def exact(a: int, n: int, w: Fraction) -> Fraction:
        ratios = [1 + Fraction(x) for x in EXCESSES]
        return sum((r**a / (1 + w * (r - 1)) ** n for r in ratios), Fraction()) / len(ratios)

    for a, n, w in ((0, 0, 0.5), (3, 5, 0.5), (7, 90, 0.05), (40, 60, 0.25)):
        assert log_e_tilt([Outcomes(w, a, n - a)]) == pytest.approx(log(exact(a, n, Fraction(w))), abs=1e-10)


@given(epochs.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))))
def test_the_order_of_epochs_does_not_matter(orders: tuple[list[Outcomes], list[Outcomes]]) -> None:
    drawn, shuffled = orders
    assert log_e_tilt(shuffled) == pytest.approx(log_e_tilt(drawn), abs=1e-9)
    assert log_e_full(shuffled, 0.05) == pytest.approx(log_e_full(drawn, 0.05), abs=1e-9)
    assert log_e_split(shuffled) == pytest.approx(log_e_split(drawn), abs=1e-9)


@given(st.builds(Outcomes, weights, few, few, few, few))
def test_an_epoch_cut_in_two_says_the_same(whole: Outcomes) -> None:
    half = Outcomes(whole.weight, *(int(count) // 2 for count in whole[1:]))
    rest = Outcomes(whole.weight, *(int(count) - int(count) // 2 for count in whole[1:]))
    assert log_e_tilt([half, rest]) == pytest.approx(log_e_tilt([whole]), abs=1e-9)
    assert log_e_full([half, rest], 0.05) == pytest.approx(log_e_full([whole], 0.05), abs=1e-9)
    assert log_e_split([half, rest]) == pytest.approx(log_e_split([whole]), abs=1e-9)


@given(epochs, st.floats(0.5, 4.0))
def test_the_bound_beside_a_verdict_lies_above_the_margin_exactly_when_the_verdict_does(
    drawn: list[Outcomes], r0: float
) -> None:
    limit = log(100)
    log_e = log_e_tilt(drawn, r0)
    bound = least_ratio(drawn, limit)
    if abs(log_e - limit) > 1e-6:
        assert (bound > r0) is (log_e > limit)


@given(epochs, st.floats(1e-3, 0.2))
def test_an_interval_of_the_ratio_is_where_neither_direction_is_refuted(drawn: list[Outcomes], alpha: float) -> None:
    lower, upper = ratio_interval(drawn, alpha)
    assert lower <= upper
    assert (lower, upper) == (least_ratio(drawn, log(2 / alpha)), greatest_ratio(drawn, log(2 / alpha)))
    for bound, excesses in ((lower, WORSE), (upper, BETTER)):
        if 1.001e-3 < bound < 0.999e3:
            assert log_e_tilt(drawn, bound, excesses) == pytest.approx(log(2 / alpha), abs=1e-5)


def test_without_answers_any_ratio_is_possible() -> None:
    assert ratio_interval([], 0.05) == pytest.approx((1e-3, 1e3))


def test_two_failures_of_a_hardly_exposed_canary_are_enough() -> None:
    assert log_e_tilt([Outcomes(0.01, 1, 0)]) < log(100) < log_e_tilt([Outcomes(0.01, 2, 0)])


def test_huge_counts_neither_overflow_nor_lose_the_sign() -> None:
    assert log_e_tilt([Outcomes(0.5, 600_000_000, 500_000_000)]) > 1e6
    # Without a canary failure the smallest tilt loses least: 10^9 log(1 + 0.5 * 0.1) nats.
    assert log_e_tilt([Outcomes(0.5, 0, 10**9)]) == pytest.approx(-1e9 * log(1.05) - log(13), rel=1e-9)
    assert log_e_full([Outcomes(0.5, 10**9, 10**9, 10**9, 10**9)], 0.05) < 0.0


def test_looked_at_for_ever_equal_arms_are_refuted_as_rarely_as_promised() -> None:
    # 2,000 rollouts whose base rate swings, whose weight follows the evidence, looked at 60 times.
    runs, alpha = 2_000, 0.02
    rng = np.random.default_rng(3)
    weights = (0.05, 0.2, 0.5)
    canary, stable, caught = np.zeros((3, runs)), np.zeros((3, runs)), np.zeros(runs, dtype=bool)
    rung, columns = np.zeros(runs, dtype=int), np.arange(runs)
    for look in range(60):
        bad = rng.binomial(500, 0.02 * (1 + 0.8 * np.sin(look / 5)), runs)
        drawn = rng.binomial(bad, np.array(weights)[rung])
        canary[rung, columns] += drawn
        stable[rung, columns] += bad - drawn
        nothing = np.zeros_like(canary)
        log_e = np.array(log_e_tilt_of_many(ManyOutcomes(weights, np.array([canary, stable, nothing, nothing]))))
        caught |= log_e >= log(1 / alpha)
        rung = np.where(log_e < log(3), np.minimum(2, rung + (look % 7 == 6)), 0)
    assert binom.sf(int(caught.sum()) - 1, runs, alpha) > 0.001


def test_a_split_as_promised_is_no_evidence_and_a_wrong_one_is() -> None:
    assert log_e_split([Outcomes(0.5, 50_000, 50_000)]) < 0.0
    assert log_e_split([Outcomes(0.5, 52_000, 48_000)]) > log(1_000)
    assert log_e_split([Outcomes(0.5, 48_000, 52_000)]) > log(1_000)
    assert log_e_split([]) == pytest.approx(0.0, abs=1e-12)


def test_a_split_is_watched_from_one_percent_to_a_hundredfold_both_ways() -> None:
    assert (min(SPLIT_RATIOS), max(SPLIT_RATIOS)) == pytest.approx((1 / 101, 101))
    assert sorted(1 / ratio for ratio in SPLIT_RATIOS) == pytest.approx(sorted(SPLIT_RATIOS))
    assert min(ratio for ratio in SPLIT_RATIOS if ratio > 1.0) == pytest.approx(1.01)


def test_one_loss_in_all_epochs_is_found_sooner_by_one_ratio_than_by_a_mixture_per_epoch() -> None:
    # 5 % of the canary's answers are lost; the counts are the expected ones, of a ramp of eight epochs.
    ramp = [(w, round(0.95 * w * 40_000), round((1 - w) * 40_000)) for w in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)]
    one = log_e_split([Outcomes(*epoch) for epoch in ramp])
    each = sum(log_e_dirichlet((c, s), (w, 1 - w), 1_000.0) for w, c, s in ramp)
    assert one > each + 10


def test_a_draw_of_the_dirichlet_mixture_gains_nothing_on_average() -> None:
    n, weight = 30, 0.2
    log_e = {k: log_e_dirichlet((k, n - k), (weight, 1 - weight), 100.0) for k in range(n + 1)}
    assert coin_mean(n, weight, log_e) == pytest.approx(1.0, rel=1e-9)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20))
def test_log_sum_exp_equals_the_sum(values: list[float]) -> None:
    assert log_sum_exp(values) == pytest.approx(log(sum(exp(value) for value in values)), abs=1e-9)


def test_nothing_sums_to_nothing() -> None:
    assert log_sum_exp([]) == -inf
    assert log_weighted_mean([(0.5, log(4)), (0.5, log(2)), (0.0, 800.0)]) == pytest.approx(log(3))


@pytest.mark.parametrize(
    "broken",
    [
        Outcomes(0.0, 1, 1),
        Outcomes(1.0, 1, 1),
        Outcomes(nan, 1, 1),
        Outcomes(0.5, -1, 1),
        Outcomes(0.5, 1, nan),
        Outcomes(0.5, 1, 1, -1, 0),
        Outcomes(0.5, 1, 1, 0, inf),  # type: ignore[arg-type]
    ],
)
def test_an_epoch_that_cannot_be_is_refused(broken: Outcomes) -> None:
    for test in (
        log_e_tilt,
        log_e_split,
        lambda epochs: log_e_full(epochs, 0.05),
        lambda epochs: least_ratio(epochs, 3),
    ):
        with pytest.raises(ValueError, match="no coin made"):
            test([broken])


@pytest.mark.parametrize("r0", [0.0, -1.0, nan, inf])
def test_a_ratio_that_cannot_be_is_refused(r0: float) -> None:
    with pytest.raises(ValueError, match="no ratio"):
        log_e_tilt([Outcomes(0.5, 1, 1)], r0)


@pytest.mark.parametrize("reference", [-0.1, 1.0, nan])
def test_a_reference_that_cannot_be_is_refused(reference: float) -> None:
    with pytest.raises(ValueError, match="no reference"):
        log_e_full([Outcomes(0.5, 1, 1)], reference)


def test_where_bad_is_so_common_that_no_ratio_is_possible_there_is_no_evidence() -> None:
    assert log_e_full([Outcomes(0.5, 90, 5, 10, 95)], 0.95) == 0.0


@given(weights, st.integers(0, 10**12), st.integers(0, 10**12))
def test_any_possible_counts_give_a_finite_log(weight: float, a: int, b: int) -> None:
    assert abs(log_e_tilt([Outcomes(weight, a, b)])) < inf
    assert abs(log_e_full([Outcomes(weight, a, b, b, a)], 0.05)) < inf
    assert abs(log_e_split([Outcomes(weight, a, b)])) < inf


def test_evidence_that_is_no_number_passes_no_limit() -> None:
    mean = log_weighted_mean([(0.5, nan), (0.5, 800.0)])
    assert isnan(mean)
    assert not mean >= log(100)
