"""The coin's e-processes: fair under their hypothesis, blind to how the data were cut."""

from fractions import Fraction
from math import comb, exp, inf, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence import (
    BETTER,
    EXCESSES,
    Outcomes,
    least_ratio,
    log_e_dirichlet,
    log_e_full,
    log_e_tilt,
    log_sum_exp,
    log_weighted_mean,
)

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


def test_good_answers_gain_nothing_on_average_either() -> None:
    bad, good, weight = 6, 8, 0.3
    mean = 0.0
    for a in range(bad + 1):
        for c in range(good + 1):
            chance = comb(bad, a) * comb(good, c) * weight ** (a + c) * (1 - weight) ** (bad + good - a - c)
            mean += chance * exp(log_e_full([Outcomes(weight, a, bad - a, c, good - c)], 0.05))
    assert mean == pytest.approx(1.0, rel=1e-9)


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


@given(st.builds(Outcomes, weights, few, few, few, few))
def test_an_epoch_cut_in_two_says_the_same(whole: Outcomes) -> None:
    half = Outcomes(whole.weight, *(count // 2 for count in whole[1:]))
    rest = Outcomes(whole.weight, *(count - count // 2 for count in whole[1:]))
    assert log_e_tilt([half, rest]) == pytest.approx(log_e_tilt([whole]), abs=1e-9)
    assert log_e_full([half, rest], 0.05) == pytest.approx(log_e_full([whole], 0.05), abs=1e-9)


@given(epochs, st.floats(0.5, 4.0))
def test_the_bound_beside_a_verdict_lies_above_the_margin_exactly_when_the_verdict_does(
    drawn: list[Outcomes], r0: float
) -> None:
    limit = log(100)
    log_e = log_e_tilt(drawn, r0)
    bound = least_ratio(drawn, limit)
    if abs(log_e - limit) > 1e-6:
        assert (bound > r0) is (log_e > limit)


def test_two_failures_of_a_hardly_exposed_canary_are_enough() -> None:
    assert log_e_tilt([Outcomes(0.01, 1, 0)]) < log(100) < log_e_tilt([Outcomes(0.01, 2, 0)])


def test_huge_counts_neither_overflow_nor_lose_the_sign() -> None:
    assert log_e_tilt([Outcomes(0.5, 600_000_000, 500_000_000)]) > 1e6
    # Without a canary failure the smallest tilt loses least: 10^9 log(1 + 0.5 * 0.1) nats.
    assert log_e_tilt([Outcomes(0.5, 0, 10**9)]) == pytest.approx(-1e9 * log(1.05) - log(13), rel=1e-9)
    assert log_e_full([Outcomes(0.5, 10**9, 10**9, 10**9, 10**9)], 0.05) < 0.0


def test_a_split_as_promised_is_no_evidence_and_a_wrong_one_is() -> None:
    assert log_e_dirichlet((50_000, 50_000), (0.5, 0.5), 1_000.0) < 0.0
    assert log_e_dirichlet((52_000, 48_000), (0.5, 0.5), 1_000.0) > log(1_000)


def test_a_draw_of_the_split_gains_nothing_on_average() -> None:
    n, weight = 30, 0.2
    log_e = {k: log_e_dirichlet((k, n - k), (weight, 1 - weight), 100.0) for k in range(n + 1)}
    assert coin_mean(n, weight, log_e) == pytest.approx(1.0, rel=1e-9)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20))
def test_log_sum_exp_equals_the_sum(values: list[float]) -> None:
    assert log_sum_exp(values) == pytest.approx(log(sum(exp(value) for value in values)), abs=1e-9)


def test_nothing_sums_to_nothing() -> None:
    assert log_sum_exp([]) == -inf
    assert log_weighted_mean([(0.5, log(4)), (0.5, log(2)), (0.0, 800.0)]) == pytest.approx(log(3))
