"""The score process: fair on its margin, exact for any size of count."""

from fractions import Fraction
from itertools import product
from math import exp, expm1, inf, isfinite, log, log1p, nan, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binom

from app.domain.stats.score import (
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
    log_e_worse,
    scale_not_worse,
    scale_worse,
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


def means_over_coins(
    n: int, weight: float, canary_rate: float, stable_rate: float, margin: float
) -> tuple[float, float]:
    """E[e-value] of harm and of no harm by enumerating every draw and outcome of n exchanges."""
    centre = 0.2
    worse, not_worse = scale_worse(centre, weight, weight), scale_not_worse(centre, weight, weight)
    kinds = {
        (arm, bad): (weight if arm else 1 - weight) * (rate if bad else 1 - rate)
        for arm, rate in ((1, canary_rate), (0, stable_rate))
        for bad in (0, 1)
    }
    harm = proof = 0.0
    for story in product(kinds, repeat=n):
        chance = 1.0
        for kind in story:
            chance *= kinds[kind]
        canary = [bad for arm, bad in story if arm]
        stable = [bad for arm, bad in story if not arm]
        epoch = ScoreEpoch(weight, binary(len(canary), sum(canary)), binary(len(stable), sum(stable)), n)
        totals = score([epoch], centre)
        harm += chance * exp(log_e_worse(totals, margin, 1.0, worse))
        proof += chance * exp(log_e_not_worse(totals, margin, 1.0, not_worse))
    return harm, proof


@pytest.mark.parametrize("weight", [0.1, 0.5])
@pytest.mark.parametrize("margin", [0.0, 0.1, 0.3])
def test_a_canary_on_the_margin_is_proven_neither_good_nor_bad_on_average(weight: float, margin: float) -> None:
    for stable_rate in (0.0, 0.2, 0.6):
        harm, proof = means_over_coins(5, weight, stable_rate + margin, stable_rate, margin)
        assert harm <= 1.0 + 1e-12
        assert proof <= 1.0 + 1e-12


def test_looked_at_for_ever_a_canary_on_the_margin_is_rarely_called_harmless_or_harmful() -> None:
    # Graded outcomes in [0, 1] whose mean swings; the canary's lies 0.05 above stable's.
    runs, alpha, margin, centre, weight, n = 400, 0.05, 0.05, 0.3, 0.3, 60
    rho = best_rho(10.0, 2 * alpha)
    rng = np.random.default_rng(12)
    harmful = harmless = 0
    for _ in range(runs):
        epochs: list[ScoreEpoch] = []
        harm = proof = -inf
        for look in range(15):
            mean = 0.3 + 0.2 * np.sin(look)
            drawn = rng.random(n) < weight
            graded = rng.beta(4 * (mean + margin * drawn), 4 * (1 - mean - margin * drawn))
            arms = [Sums(len(arm), float(arm.sum()), float((arm**2).sum())) for arm in (graded[drawn], graded[~drawn])]
            epochs.append(ScoreEpoch(weight, arms[0], arms[1], n))
            totals = score(epochs, centre)
            harm = max(harm, log_e_worse(totals, margin, rho, scale_worse(centre, weight, weight)))
            proof = max(proof, log_e_not_worse(totals, margin, rho, scale_not_worse(centre, weight, weight)))
        harmful += harm >= log(1 / alpha)
        harmless += proof >= log(1 / alpha)
    assert binom.sf(harmful - 1, runs, alpha) > 0.001
    assert binom.sf(harmless - 1, runs, alpha) > 0.001


@given(
    weight=st.floats(1e-4, 0.9),
    canary=st.tuples(st.integers(0, 500), st.integers(0, 500)),
    stable=st.tuples(st.integers(0, 500), st.integers(0, 500)),
)
def test_an_epoch_cut_in_two_has_the_same_score(
    weight: float, canary: tuple[int, int], stable: tuple[int, int]
) -> None:
    def epoch(part: list[tuple[int, int]]) -> ScoreEpoch:
        arms = [binary(good + bad, bad) for bad, good in part]
        return ScoreEpoch(weight, arms[0], arms[1], arms[0].n + arms[1].n)

    halves = [(bad // 2, good // 2) for bad, good in (canary, stable)]
    rests = [(bad - bad // 2, good - good // 2) for bad, good in (canary, stable)]
    whole = score([epoch([canary, stable])], 0.01)
    assert score([epoch(halves), epoch(rests)], 0.01) == pytest.approx(whole, rel=1e-12, abs=1e-9)


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
    lower, upper = difference_interval(Score(0.0, 0.0, 0.5), 0.05, 1.0, 0.5, 0.5)
    assert -inf < lower < 0.0 < upper < inf


def test_sums_are_exact_for_binary_outcomes() -> None:
    epoch = ScoreEpoch(0.25, binary(8, 3), binary(24, 1), 32)
    m, w = Fraction(1, 8), Fraction(1, 4)
    exact = (1 - w) * (3 - 8 * m) - w * (1 - 24 * m)
    assert score([epoch], 0.125).score == float(exact)


@pytest.mark.parametrize(
    "broken",
    [
        ScoreEpoch(0.0, binary(1, 0), binary(1, 0), 2),
        ScoreEpoch(1.0, binary(1, 0), binary(1, 0), 2),
        ScoreEpoch(nan, binary(1, 0), binary(1, 0), 2),
        ScoreEpoch(0.5, binary(1, 0), binary(1, 0), nan),
        ScoreEpoch(0.5, binary(1, 2), binary(1, 0), 2),
        ScoreEpoch(0.5, binary(1, 0), binary(-1, 0), 2),
        ScoreEpoch(0.5, Sums(1, nan, 0), binary(1, 0), 2),
        ScoreEpoch(0.5, Sums(inf, 0, 0), binary(1, 0), 2),
        ScoreEpoch(0.5, Sums(2, 2, 0), binary(1, 0), 2),
        ScoreEpoch(0.5, Sums(2, 0, -1), binary(1, 0), 2),
    ],
)
def test_an_epoch_that_cannot_be_is_refused(broken: ScoreEpoch) -> None:
    with pytest.raises(ValueError, match=r"no coin made|no outcomes in"):
        score([broken], 0.01)


@pytest.mark.parametrize(
    ("s", "v", "rho", "c"),
    [
        (nan, 1, 1, 1),
        (inf, 1, 1, 1),
        (0, -1, 1, 1),
        (0, nan, 1, 1),
        (0, 1, 0, 1),
        (0, 1, inf, 1),
        (0, inf, 1, 1),
        (0, 1, 1, 0),
    ],
)
def test_what_is_no_score_process_is_refused(s: float, v: float, rho: float, c: float) -> None:
    with pytest.raises(ValueError, match="no score process"):
        gamma_exponential_log_mixture(s, v, rho, c)
    if s == 0:
        with pytest.raises(ValueError, match="no score process"):
            gamma_exponential_bound(v, 0.05, rho, c)


def test_outcomes_that_all_lie_on_the_centre_have_no_variance_below_zero() -> None:
    arm = Sums(3, 3 * 0.1, 3 * 0.1 * 0.1)
    assert score([ScoreEpoch(0.5, arm, arm, 6)], 0.1).variance >= 0.0
