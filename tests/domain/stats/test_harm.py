"""What turns a canary back: fair, inverted truly, and quicker where bad answers are common."""

from itertools import product
from math import comb, exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.stats.eprocess import Outcomes, least_ratio, log_e_full, log_e_tilt
from app.domain.stats.harm import bad_until, least_harm_ratio, log_e_harm

counts = st.integers(0, 60)
epochs = st.lists(
    st.builds(Outcomes, st.sampled_from([0.0001, 0.05, 0.25, 0.5]), counts, counts, counts, counts), max_size=4
)
references = st.sampled_from([0.0, 0.001, 0.01, 0.2, 0.95])


@given(epochs, references)
def test_it_is_the_average_of_its_two_halves(drawn: list[Outcomes], reference: float) -> None:
    one, other = log_e_tilt(drawn), log_e_full(drawn, reference)
    greater = max(one, other)
    halves = exp(one - greater) / 2 + exp(other - greater) / 2
    assert log_e_harm(drawn, reference) == pytest.approx(greater + log(halves), abs=1e-9)


@pytest.mark.parametrize("weight", [0.05, 0.5])
@pytest.mark.parametrize("excess", [1.0, 0.8])
def test_its_mean_is_one_for_a_canary_that_is_not_worse_and_less_for_a_better_one(weight: float, excess: float) -> None:
    rate, answers = 0.3, 7
    theta = weight * excess / (1.0 - weight + weight * excess)
    good_theta = weight * (1.0 - excess * rate) / (1.0 - weight * excess * rate - (1.0 - weight) * rate)
    mean = 0.0
    for bad, canary_bad, canary_good in product(range(answers + 1), repeat=3):
        if canary_bad <= bad and canary_good <= answers - bad:
            total_bad = (1.0 - weight) * rate + weight * excess * rate
            chance = comb(answers, bad) * total_bad**bad * (1.0 - total_bad) ** (answers - bad)
            chance *= comb(bad, canary_bad) * theta**canary_bad * (1.0 - theta) ** (bad - canary_bad)
            good = answers - bad
            chance *= comb(good, canary_good) * good_theta**canary_good * (1.0 - good_theta) ** (good - canary_good)
            drawn = Outcomes(weight, canary_bad, bad - canary_bad, canary_good, good - canary_good)
            mean += chance * exp(log_e_harm([drawn], 0.1))
    assert mean == pytest.approx(1.0, abs=1e-9) if excess == 1.0 else mean < 1.0


@given(epochs, references, st.floats(0.5, 8.0))
def test_the_bound_is_on_the_side_of_one_where_the_process_stands(
    drawn: list[Outcomes], reference: float, log_limit: float
) -> None:
    log_e = log_e_harm(drawn, reference)
    least = least_harm_ratio(drawn, log_e, log_limit)
    assert least >= 1.0 if log_e >= log_limit else least <= 1.0
    # A half of it can never say more than that half would alone.
    assert least <= max(1.0, least_ratio(drawn, log_limit)) + 1e-9


def test_a_bound_above_one_is_where_half_of_the_tilt_and_a_half_of_nothing_reach_the_limit() -> None:
    drawn = [Outcomes(0.5, 60, 10, 940, 990)]
    least = least_harm_ratio(drawn, log_e_harm(drawn, 0.01), log(100.0))
    assert least > 1.0
    assert 0.5 * exp(log_e_tilt(drawn, least)) + 0.5 == pytest.approx(100.0, rel=1e-6)
    assert least_harm_ratio(drawn, log_e_harm(drawn, 0.01), 800.0) < 1.0


def test_good_answers_make_it_quicker_where_bad_ones_are_common() -> None:
    common = [Outcomes(0.5, 15, 1, 13, 31)]
    assert log_e_harm(common, 0.02) > log_e_tilt(common) + 1.0
    rare = [Outcomes(0.5, 9, 0, 991, 1_000)]
    assert log_e_harm(rare, 0.01) > log_e_tilt(rare) - log(2.0)


@given(epochs, references, st.floats(0.01, 0.9))
def test_so_many_more_bad_answers_reach_the_limit_and_one_fewer_does_not(
    drawn: list[Outcomes], reference: float, weight: float
) -> None:
    more = bad_until(drawn, reference, weight, log(100), 500)

    def after(count: int) -> float:
        return log_e_harm([*drawn, Outcomes(weight, count, 0)], reference)

    if more is None:
        assert after(500) < log(100)
    else:
        assert after(more) >= log(100) - 1e-9
        assert more == 0 or after(more - 1) < log(100) + 1e-9
