"""One arm's rate: fair at the ceiling, and an interval that a constant rate never leaves."""

from math import comb, exp, inf, log, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.stats.rate import concentration_for, log_e_above, rate_bounds

rates = st.floats(0.001, 0.999)
concentrations = st.floats(0.1, 1_000.0)


def mean(n: int, chance: float, log_e_of: dict[int, float]) -> float:
    """E[exp(log_e)] when each of n answers was bad with this chance."""
    return sum(comb(n, k) * chance**k * (1 - chance) ** (n - k) * exp(log_e_of[k]) for k in range(n + 1))


@given(n=st.integers(0, 25), rate=rates, concentration=concentrations)
def test_a_rate_at_the_ceiling_gains_nothing_on_average(n: int, rate: float, concentration: float) -> None:
    log_e = {k: log_e_above(k, n, rate, concentration) for k in range(n + 1)}
    assert mean(n, rate, log_e) == pytest.approx(1.0, rel=1e-6)


@given(n=st.integers(1, 25), rate=rates, lower=st.floats(0.0, 1.0))
def test_a_rate_below_the_ceiling_loses_on_average(n: int, rate: float, lower: float) -> None:
    log_e = {k: log_e_above(k, n, rate) for k in range(n + 1)}
    assert mean(n, rate * lower, log_e) <= 1.0 + 1e-6


def test_far_below_the_ceiling_there_is_no_evidence_however_many_answers_came() -> None:
    assert log_e_above(0, 10**6, 0.5) == -inf
    assert log_e_above(10**6, 10**9, 0.01) == -inf
    assert log_e_above(10**7 + 10**5, 10**9, 0.01) > log(100)


def test_an_interval_ends_where_rates_end() -> None:
    assert rate_bounds(0, 50, 0.05)[0] == 0.0
    assert rate_bounds(50, 50, 0.05)[1] == 1.0


def test_a_prior_for_hardly_any_answers_is_weak_but_a_prior() -> None:
    assert concentration_for(1.0, 0.05) == 0.001
    assert log_e_above(1, 1, 0.5, concentration_for(1.0, 0.05)) > 0.0


def test_before_any_answer_every_rate_is_possible() -> None:
    assert rate_bounds(0, 0, 0.05) == (0.0, 1.0)
    assert log_e_above(0, 0, 0.01) == pytest.approx(0.0, abs=1e-12)


@given(n=st.integers(1, 10**6), share=st.floats(0.0, 1.0), alpha=st.floats(1e-6, 0.5))
def test_the_interval_holds_the_observed_rate_and_stays_in_the_unit(n: int, share: float, alpha: float) -> None:
    bad = round(share * n)
    lower, upper = rate_bounds(bad, n, alpha)
    assert 0.0 <= lower <= bad / n <= upper <= 1.0


def test_one_side_alone_refutes_a_ceiling_sooner_than_the_interval_does() -> None:
    limit = log(100)
    sooner = next(n for n in range(100, 10_000, 10) if log_e_above(0.06 * n, n, 0.03) >= limit)
    later = next(n for n in range(100, 10_000, 10) if rate_bounds(0.06 * n, n, 0.01)[0] > 0.03)
    assert sooner < later


@pytest.mark.parametrize(("bad", "n"), [(-1, 10), (11, 10), (nan, 10), (1, nan), (1, inf), (0, -1)])
def test_counts_that_cannot_be_are_refused(bad: float, n: float) -> None:
    with pytest.raises(ValueError, match="bad answers of"):
        rate_bounds(bad, n, 0.05)
    with pytest.raises(ValueError, match="bad answers of"):
        log_e_above(bad, n, 0.05)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, nan, inf])
def test_a_ceiling_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="no share"):
        log_e_above(1, 10, share)
    with pytest.raises(ValueError, match="no share"):
        rate_bounds(1, 10, share)
