"""The ladder, the exposure budget and the forecasts."""

from math import inf, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.stats.planning import (
    admissible_bp,
    exchanges_to_refute,
    information,
    overlap_to_prove,
    rung_above,
    rung_below,
    rungs,
    smallest_effect,
)

most = st.integers(1, 5_000)
rates = st.floats(0.0, 1.0)


@given(most)
def test_the_ladder_ascends_from_one_to_the_maximum(max_weight_bp: int) -> None:
    ladder = rungs(max_weight_bp)
    assert list(ladder) == sorted(set(ladder))
    assert ladder[-1] == max_weight_bp
    assert ladder[0] == 1


@given(most)
def test_up_and_down_are_inverse_on_the_ladder(max_weight_bp: int) -> None:
    for rung in rungs(max_weight_bp)[:-1]:
        assert rung_below(rung_above(rung, max_weight_bp), max_weight_bp) == rung
    assert rung_above(max_weight_bp, max_weight_bp) == max_weight_bp
    assert rung_below(1, max_weight_bp) == 1


def test_the_budget_divided_by_what_is_exposed_unseen_is_the_weight() -> None:
    assert admissible_bp(5.0, 100.0, 2.0, 1.0) == 250.0
    assert admissible_bp(5.0, 100.0, 2.0, 0.05) == 5_000.0
    assert admissible_bp(5.0, 0.0, 2.0, 1.0) == inf


@given(rates, st.floats(1e-6, 1.0 - 1e-6), st.floats(0.001, 0.999))
def test_information_is_never_negative_and_zero_only_for_equal_rates(
    canary: float, stable: float, weight: float
) -> None:
    assert information(canary, stable, weight) >= -1e-12
    assert information(stable, stable, weight) == pytest.approx(0.0, abs=1e-12)


def test_equal_rates_are_never_refuted() -> None:
    assert exchanges_to_refute(0.01, 0.01, 0.5, log(100)) == inf


@given(st.floats(0.001, 0.2), st.floats(0.005, 0.2))
def test_the_overlap_that_proves_solves_its_equation(reference: float, margin: float) -> None:
    reach = log(20) + 1.0
    overlap = overlap_to_prove(reference, margin, log(20))
    assert margin * overlap == pytest.approx((2 * reference * overlap * reach) ** 0.5 + reach, rel=1e-9)


def test_the_proof_of_an_equal_canary_takes_about_what_simulations_say() -> None:
    # 4,500 exchanges at 50/50 for one point at 1 %; see docs/statistics.md.
    assert 2_500 < overlap_to_prove(0.01, 0.01, log(20)) / 0.25 < 7_000


def test_more_exchanges_show_smaller_effects_and_none_show_nothing() -> None:
    effects = [smallest_effect(0.01, 0.5, exchanges, log(100)) for exchanges in (100.0, 1_000.0, 100_000.0)]
    assert effects == sorted(effects, key=lambda effect: -(effect or 0.0))
    assert smallest_effect(0.01, 0.5, 0.0, log(100)) is None
    assert smallest_effect(0.01, 0.5, 5.0, log(100)) is None
    assert smallest_effect(0.01, 0.5, 3_600.0, log(100)) == pytest.approx(0.015, rel=0.1)
