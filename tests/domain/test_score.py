"""The score process: fair on its margin, exact for any size of count."""

from fractions import Fraction
from itertools import product
from math import exp, expm1, inf, isfinite, log, log1p, sqrt
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from app.domain.score import (
    Score,
    ScoreEpoch,
    Sums,
    best_rho,
    binary,
    difference_interval,
    excess_bound,
    gamma_exponential_bound,
    gamma_exponential_log_mixture,
    log_e_not_worse,
    scale_not_worse,
    score,
)


def integral(s: float, v: float, rho: float, c: float) -> float:
    """The mixture by quadrature over its definition, as a check."""

    def log_integral(shape: float, shift: float) -> float:
        # With t = exp(-y) the end at 0 is tame: exp((shape + shift) (1 - e^-y) - shape y) dy.
        def log_density(y: float) -> float:
            return -(shape + shift) * expm1(-y) - shape * y

        peak = max(0.0, log1p(shift / shape)) if shift > 0 else 0.0
        top = log_density(peak)
        area, _ = quad(lambda y: exp(log_density(y) - top), 0.0, 40.0, points=[peak, peak + 0.1], limit=500)
        return top + log(area)

    return log_integral((v + rho) / c**2, s / c) - log_integral(rho / c**2, 0.0)


@pytest.mark.parametrize(
    ("s", "v", "rho", "c"),
    [
        (3.0, 4.0, 2.0, 1.0),
        (-8.0, 9.0, 2.0, 0.5),
        (0.0, 1e-9, 1.0, 0.9),
        (40.0, 100.0, 10.0, 0.5),
        (-90.0, 30.0, 5.0, 1.0),
    ],
)
def test_the_mixture_is_the_integral_it_is_defined_as(s: float, v: float, rho: float, c: float) -> None:
    assert gamma_exponential_log_mixture(s, v, rho, c) == pytest.approx(integral(s, v, rho, c), abs=1e-7)


@given(
    v=st.floats(0.0, 1e12),
    deviations=st.floats(-80.0, 80.0),
    rho=st.floats(0.01, 1e4),
    c=st.floats(1e-3, 1.0),
)
def test_the_mixture_is_finite_for_any_size(v: float, deviations: float, rho: float, c: float) -> None:
    assert isfinite(gamma_exponential_log_mixture(deviations * sqrt(v + rho), v, rho, c))


@given(v=st.floats(0.0, 1e10), z=st.floats(-40.0, 40.0), step=st.floats(0.01, 5.0))
def test_more_score_is_more_evidence(v: float, z: float, step: float) -> None:
    low, high = z * sqrt(v + 1.0), (z + step) * sqrt(v + 1.0)
    assert gamma_exponential_log_mixture(low, v, 2.0, 0.5) < gamma_exponential_log_mixture(high, v, 2.0, 0.5) + 1e-9


def test_huge_variance_agrees_with_the_normal_limit() -> None:
    v, rho = 1e10, 1e9
    for z in (-5.0, -1.0, 0.0, 2.0, 5.0):
        s = z * sqrt(v + rho)
        normal = 0.5 * log(rho / (v + rho)) + z * z / 2 + log(2 * NormalDist().cdf(z))
        assert gamma_exponential_log_mixture(s, v, rho, 0.5) == pytest.approx(normal, abs=2e-3)


@given(v=st.floats(0.0, 1e9), alpha=st.floats(1e-4, 0.2), rho=st.floats(0.1, 100.0), c=st.floats(0.05, 1.0))
def test_the_bound_is_where_the_mixture_reaches_its_limit(v: float, alpha: float, rho: float, c: float) -> None:
    bound = gamma_exponential_bound(v, alpha, rho, c)
    assert gamma_exponential_log_mixture(bound, v, rho, c) == pytest.approx(log(1 / alpha), abs=1e-5)


def mean_over_coins(n: int, weight: float, canary_rate: float, stable_rate: float, margin: float) -> float:
    """E[e-value] by enumerating every draw and outcome of n exchanges."""
    centre = 0.2
    scale = scale_not_worse(centre, weight, weight)
    kinds = {
        (arm, bad): (weight if arm else 1 - weight) * (rate if bad else 1 - rate)
        for arm, rate in ((1, canary_rate), (0, stable_rate))
        for bad in (0, 1)
    }
    mean = 0.0
    for story in product(kinds, repeat=n):
        chance = 1.0
        for kind in story:
            chance *= kinds[kind]
        canary = [bad for arm, bad in story if arm]
        stable = [bad for arm, bad in story if not arm]
        epoch = ScoreEpoch(weight, binary(len(canary), sum(canary)), binary(len(stable), sum(stable)), n)
        mean += chance * exp(log_e_not_worse(score([epoch], centre), margin, 1.0, scale))
    return mean


@pytest.mark.parametrize("weight", [0.1, 0.5])
@pytest.mark.parametrize("margin", [0.1, 0.3])
def test_a_canary_on_the_margin_is_not_proven_good_on_average(weight: float, margin: float) -> None:
    for stable_rate in (0.0, 0.2, 0.6):
        assert mean_over_coins(5, weight, stable_rate + margin, stable_rate, margin) <= 1.0 + 1e-12


def test_scaled_epochs_are_fair_too() -> None:
    epochs = [ScoreEpoch(0.01, binary(3, 1), binary(300, 4), 303), ScoreEpoch(0.5, binary(90, 2), binary(85, 1), 175)]
    cap = scale_not_worse(0.01, 0.5, 0.5)
    scaled = score(epochs, 0.01, cap)
    alone = [score([epoch], 0.01) for epoch in epochs]
    b = cap / scale_not_worse(0.01, 0.01, 0.01)
    assert scaled.score == pytest.approx(b * alone[0].score + alone[1].score)
    assert scaled.variance == pytest.approx(b * b * alone[0].variance + alone[1].variance)
    assert scaled.overlap == pytest.approx(b * alone[0].overlap + alone[1].overlap)


def test_the_excess_bound_shrinks_as_answers_come() -> None:
    rho, scale = best_rho(10.0, 0.1), scale_not_worse(0.01, 1e-4, 0.5)
    bounds = []
    for canary in (0, 5, 20, 100, 1_000):
        n, weight = canary * 100, 0.01
        arms = [Sums(count, 0.01 * count, 0.01 * count) for count in (canary, n - canary)]
        epoch = ScoreEpoch(weight, arms[0], arms[1], n)
        bounds.append(excess_bound(score([epoch], 0.01), 0.05, rho, scale))
    assert bounds[0] == 1.0
    assert bounds[1:] == pytest.approx([0.95, 0.25, 0.058, 0.0115], rel=0.03)


def test_without_overlap_nothing_is_known() -> None:
    assert difference_interval(Score(0.0, 0.0, 0.0), 0.05, 1.0, 0.5, 0.5) == (-inf, inf)
    assert excess_bound(Score(0.0, 0.0, 0.0), 0.05, 1.0, 0.5) == 1.0


def test_sums_are_exact_for_binary_outcomes() -> None:
    epoch = ScoreEpoch(0.25, binary(8, 3), binary(24, 1), 32)
    m, w = Fraction(1, 8), Fraction(1, 4)
    exact = (1 - w) * (3 - 8 * m) - w * (1 - 24 * m)
    assert score([epoch], 0.125).score == float(exact)
