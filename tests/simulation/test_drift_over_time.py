"""Drift over many windows and features: hardly ever an alarm without a cause, and causes are found."""

import numpy as np
import pytest

from app.domain.stats.histogram import Histogram, histogram_of
from bench import drift


@pytest.mark.parametrize("n", [50, 1_000, 1_000_000])
def test_a_hundred_features_that_do_not_drift_are_not_flagged_nor_proven_at_any_size(n: int) -> None:
    rng = np.random.default_rng(n)
    ended = [drift.alarms(n, rng, windows=3) for _ in range(2)]
    assert not any(each.flagged or each.proven for each in ended)


def test_usual_rules_raise_an_alarm_in_the_same_draws() -> None:
    found = drift.alarms(50, np.random.default_rng(2), windows=1)
    assert dict(zip(drift.RULES, found.rules, strict=True)) == dict.fromkeys(drift.RULES, True)
    assert not found.flagged


@pytest.mark.parametrize(
    ("change", "n"), [("shift of 1 sd", 1_000), ("all missing", 100), ("two labels become one", 1_000)]
)
def test_a_changed_feature_among_a_hundred_is_found(change: str, n: int) -> None:
    rng = np.random.default_rng(4)
    assert all(drift.is_found(change, n, rng) for _ in range(10))


def test_a_shift_too_small_to_matter_is_not_flagged_by_a_million_values() -> None:
    rng = np.random.default_rng(4)
    assert not any(drift.is_found("shift of 0.03 sd", 1_000_000, rng) for _ in range(10))


def coarser(histogram: Histogram, level: int) -> dict[int, int]:
    bins: dict[int, int] = {}
    for place, count in histogram.bins.items():
        at = place >> (level - histogram.level)
        bins[at] = bins.get(at, 0) + count
    return bins


def test_numbers_are_drawn_as_the_product_would_keep_them() -> None:
    rng = np.random.default_rng(6)
    made, read = drift.drawn(drift.NUMBER, 20_000, rng).histogram, histogram_of(rng.normal(size=20_000).tolist())
    assert abs(made.level - read.level) <= 1
    level = max(made.level, read.level)
    ours, theirs = (coarser(each, level) for each in (made, read))
    for place, count in theirs.items():
        assert abs(ours.get(place, 0) - count) <= 6.0 * np.sqrt(max(2 * count, 4))
    assert sum(made.bins.values()) == 20_000
