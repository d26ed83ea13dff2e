"""The normal mixture: the exact one's limit, and an interval that inverts a process."""

from math import inf, log, nan, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from app.domain.stats.normal_mixture import normal_difference_interval, normal_log_mixture, normal_mixture_bound
from app.domain.stats.score import Score, best_rho, gamma_exponential_bound, gamma_exponential_log_mixture

variances = st.floats(0.0, 1e12)
rhos = st.floats(1e-3, 1e6)


@pytest.mark.parametrize(("s", "v", "rho"), [(3.0, 4.0, 2.0), (-8.0, 9.0, 2.0), (0.0, 0.0, 1.0), (40.0, 100.0, 10.0)])
def test_the_mixture_is_the_integral_it_is_defined_as(s: float, v: float, rho: float) -> None:
    mean, _ = quad(
        lambda t: 2.0 * norm.pdf(t, scale=rho**-0.5) * 2.718281828459045 ** (t * s - t * t * v / 2), 0.0, 30.0
    )
    assert normal_log_mixture(s, v, rho) == pytest.approx(log(mean), abs=1e-7)


@given(v=st.floats(1e8, 1e12), z=st.floats(-5.0, 5.0))
def test_it_is_what_the_exact_mixture_becomes_when_steps_are_small(v: float, z: float) -> None:
    rho = v / 10.0
    s = z * sqrt(v + rho)
    assert normal_log_mixture(s, v, rho) == pytest.approx(gamma_exponential_log_mixture(s, v, rho, 0.5), abs=0.05)


@given(v=variances, alpha=st.floats(1e-4, 0.2), rho=rhos)
def test_the_bound_is_where_the_mixture_reaches_its_limit(v: float, alpha: float, rho: float) -> None:
    bound = normal_mixture_bound(v, alpha, rho)
    assert normal_log_mixture(bound, v, rho) == pytest.approx(log(1 / alpha), abs=1e-9)


@given(v=st.floats(1.0, 1e6), alpha=st.floats(1e-4, 0.2))
def test_it_is_narrower_than_the_exact_bound(v: float, alpha: float) -> None:
    rho = best_rho(v, 2 * alpha)
    assert normal_mixture_bound(v, alpha, rho) < gamma_exponential_bound(v, alpha, rho, 1.0)


@given(s=st.floats(-1e300, 0.0), v=variances, rho=rhos)
def test_a_score_below_zero_is_never_evidence(s: float, v: float, rho: float) -> None:
    assert normal_log_mixture(s, v, rho) <= 1e-12


def test_the_interval_holds_the_estimate_and_without_overlap_nothing_is_known() -> None:
    lower, upper = normal_difference_interval(Score(13.0, 20.0, 1_000.0), 0.05, 5.0)
    assert (lower + upper) / 2 == pytest.approx(0.013)
    assert normal_difference_interval(Score(0.0, 0.0, 0.0), 0.05, 5.0) == (-inf, inf)


@pytest.mark.parametrize(
    ("s", "v", "rho"),
    [
        (nan, 1.0, 1.0),
        (inf, 1.0, 1.0),
        (0.0, -1.0, 1.0),
        (0.0, 1.0, 0.0),
        (0.0, 1.0, inf),
        (0.0, inf, 1.0),
        (0.0, nan, 1.0),
    ],
)
def test_what_is_no_score_process_is_refused(s: float, v: float, rho: float) -> None:
    with pytest.raises(ValueError, match="no score process"):
        normal_log_mixture(s, v, rho)
    with pytest.raises(ValueError, match="no score process"):
        normal_difference_interval(Score(s, v, 1.0), 0.05, rho)
    if s == 0.0:
        with pytest.raises(ValueError, match="no score process"):
            normal_mixture_bound(v, 0.05, rho)
