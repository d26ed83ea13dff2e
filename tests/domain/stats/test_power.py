"""What an effect costs is what the tables of the methods say, and grows the way it must."""

from math import inf

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.stats.power import (
    Conditions,
    Need,
    mean_proven,
    mean_refuted,
    rate_better,
    rate_proven,
    rate_refuted,
    smallest_difference,
    smallest_rate,
)

HALF = Conditions(0.5)
rates = st.floats(1e-4, 0.9)
weights = st.floats(1e-4, 0.9)


@pytest.mark.parametrize(
    ("canary", "weight", "limit", "extra"),
    # Reference simulations: log(1/alpha) / I at 1 % for stable and alpha = 1 %.
    [
        (0.015, 0.5, 18_070, 45),
        (0.02, 0.5, 5_341, 27),
        (0.05, 0.5, 615, 12),
        (0.5, 0.5, 24, 5.8),
        (0.02, 0.1, 13_448, 13.4),
        (0.02, 0.05, 25_129, 12.6),
        (0.05, 0.01, 11_373, 4.5),
    ],
)
def test_no_test_can_turn_back_with_fewer_answers_than_the_limit(
    canary: float, weight: float, limit: float, extra: float
) -> None:
    need = rate_refuted(0.01, canary, Conditions(weight))
    assert need is not None
    assert need.limit == pytest.approx(limit, rel=0.02)
    assert need.limit * weight * (canary - 0.01) == pytest.approx(extra, rel=0.05)
    assert need.exchanges == pytest.approx(1.3 * need.limit)


@pytest.mark.parametrize(("margin", "measured"), [(0.01, 4_500), (0.005, 11_000)])
def test_proof_takes_about_what_was_measured(margin: float, measured: float) -> None:
    need = rate_proven(0.01, margin, HALF)
    assert need.exchanges == pytest.approx(measured, rel=0.35)
    assert need.limit < need.exchanges


def test_a_score_takes_about_what_was_measured() -> None:
    need = mean_refuted(0.02, 0.12, HALF)
    assert need is not None
    assert need.limit == pytest.approx(1_335, rel=0.02)
    assert need.exchanges == pytest.approx(2_300, rel=0.2)
    assert need.extra_bad is None


def test_the_smallest_effect_of_a_week_at_ten_an_hour_is_what_the_table_says() -> None:
    assert smallest_rate(0.01, Conditions(0.5, exchanges_per_s=10 / 3_600), 7 * 86_400.0) == pytest.approx(
        0.024, rel=0.02
    )


def test_labels_and_time_follow_from_the_share_that_is_judged_and_the_traffic() -> None:
    whole = rate_refuted(0.01, 0.05, Conditions(0.25, exchanges_per_s=10.0))
    tenth = rate_refuted(0.01, 0.05, Conditions(0.25, exchanges_per_s=10.0, judged_share=0.1))
    assert whole is not None
    assert tenth is not None
    assert tenth.judged == whole.judged == whole.exchanges
    assert tenth.exchanges == pytest.approx(10.0 * whole.exchanges)
    assert whole.seconds == pytest.approx(whole.exchanges / 10.0)
    assert whole.canary_answers == pytest.approx(0.25 * whole.exchanges)


def test_what_is_no_effect_has_no_answer() -> None:
    assert rate_refuted(0.01, 0.01, HALF) is None
    assert rate_refuted(0.02, 0.01, HALF) is None
    assert rate_better(0.05, 0.05, HALF) is None
    assert rate_refuted(0.0, 5e-324, HALF) is None
    assert rate_refuted(0.3, 0.3 + 1e-12, HALF) is None
    assert rate_refuted(1.0 - 1e-16, 1.0, HALF) is None
    assert rate_refuted(0.5, 0.5 + 2e-9, HALF) is None
    assert mean_refuted(0.0, 0.1, HALF) is None
    assert smallest_rate(0.01, HALF, 60.0) is None
    assert smallest_difference(0.1, HALF, 60.0) is None
    assert smallest_difference(0.1, Conditions(0.5, exchanges_per_s=1e-3), 60.0) is None


def test_fewer_slow_answers_prove_a_canary_not_slower() -> None:
    need = rate_better(0.05, 0.02, HALF)
    assert need is not None
    assert need.extra_bad == 0.0
    more = rate_better(0.05, 0.03, HALF)
    assert more is not None
    assert more.exchanges > need.exchanges


@given(rates, rates, weights)
def test_a_greater_difference_needs_fewer_answers(stable: float, canary: float, weight: float) -> None:
    assume(stable + 1e-4 < canary < 0.9)
    near, far = (rate_refuted(stable, rate, Conditions(weight)) for rate in (canary, canary + 0.05))
    assert near is not None
    assert far is not None
    assert _is_finite(near)
    assert far.exchanges < near.exchanges


@given(st.floats(0.0, 0.5), st.floats(1e-3, 0.4), weights)
def test_a_wider_margin_is_proven_sooner(stable: float, margin: float, weight: float) -> None:
    narrow, wide = (rate_proven(stable, each, Conditions(weight)) for each in (margin, margin + 0.05))
    assert _is_finite(narrow)
    assert wide.exchanges < narrow.exchanges


@given(st.floats(0.01, 0.5), st.floats(0.01, 0.5), weights)
def test_the_smallest_difference_is_the_one_that_takes_the_time_there_is(
    deviation: float, difference: float, weight: float
) -> None:
    under = Conditions(weight, exchanges_per_s=10.0)
    need = mean_refuted(difference, deviation, under)
    assert need is not None
    assert need.seconds is not None
    assert smallest_difference(deviation, under, need.seconds) == pytest.approx(difference, rel=0.01)
    assert mean_proven(difference, deviation, under).exchanges < need.exchanges * 1.5


def _is_finite(need: Need) -> bool:
    return all(0.0 <= value < inf for value in (need.limit, need.exchanges, need.canary_answers, need.judged))
