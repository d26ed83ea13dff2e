"""Drift is told in vain in at most one look of a hundred, whatever the number of values, and told when it is there."""

import numpy as np
import pytest

from app.domain.reference_drift import drifted
from app.domain.spread import Spread, histogram_of
from bench.drift import histogram_of_many, spread_of

RUNS = 20


@pytest.mark.parametrize("n", [50, 200, 1_000, 20_000])
def test_a_hundred_features_that_did_not_drift_are_seldom_flagged(n: int) -> None:
    rng = np.random.default_rng(n)
    reference = spread_of(rng.normal(size=(5_000, 100)))
    alarms = sum(
        any(each.flagged for each in drifted(reference, spread_of(rng.normal(size=(n, 100))), 1)) for _ in range(RUNS)
    )
    # With a chance of 0.5 % each, two or more of twenty have a chance of 0.5 %.
    assert alarms <= 1


def test_one_feature_of_a_hundred_that_shifted_is_named() -> None:
    rng = np.random.default_rng(1)
    reference = spread_of(rng.normal(size=(5_000, 100)))
    now = rng.normal(size=(2_000, 100))
    now[:, 7] += 0.5
    assert [each.name for each in drifted(reference, spread_of(now), 1) if each.flagged] == ["f7"]


def test_a_shift_too_small_to_matter_is_not_flagged_however_sure_it_is() -> None:
    rng = np.random.default_rng(2)
    reference = spread_of(rng.normal(size=(100_000, 3)))
    now = spread_of(rng.normal(size=(300_000, 3)) + 0.03)
    found = drifted(reference, now, 1)
    assert max(each.log_e for each in found) > 2.0
    assert not any(each.flagged for each in found)


def test_a_feature_that_is_lost_and_a_class_that_swallows_the_others_are_flagged() -> None:
    reference = Spread(histogram_of(["yes"] * 300 + ["no"] * 700), {"age": histogram_of(map(float, range(1_000)))})
    now = Spread(histogram_of(["no"] * 200), {"age": histogram_of([None] * 200)})
    assert {each.name for each in drifted(reference, now, 1) if each.flagged} == {"age", "predictions"}


def test_the_quick_histogram_is_the_real_one() -> None:
    values = np.random.default_rng(3).normal(size=5_000)
    assert histogram_of_many(values) == histogram_of(values.tolist())
    assert histogram_of_many(values[:50]) == histogram_of(values[:50].tolist())
