"""The e-detector: its mean grows by one a bucket at most, so false alarms are as rare as promised."""

from collections.abc import Sequence
from math import comb, exp, inf, log, nan

import pytest

from app.domain.stats.e_detector import (
    Detector,
    after_bucket,
    against_rate,
    beside_standby,
    detectable,
    log_alarm,
    unalarmed,
)
from app.domain.stats.eprocess import Outcomes, tilted

# One bucket: its chance, and its factors.
Bucket = tuple[float, tuple[float, ...]]


def of_rate(n: int, rate: float, most: float, ratios: Sequence[float]) -> list[Bucket]:
    return [(comb(n, k) * rate**k * (1 - rate) ** (n - k), against_rate(k, n, most, ratios)) for k in range(n + 1)]


def of_coin(n: int, weight: float, ratios: Sequence[float], r0: float = 1.0) -> list[Bucket]:
    share = tilted(weight, r0)
    return [
        (comb(n, k) * share**k * (1 - share) ** (n - k), beside_standby(Outcomes(weight, k, n - k), ratios, r0))
        for k in range(n + 1)
    ]


def run(buckets: list[Bucket], ratios: Sequence[float], log_limit: float, horizon: int) -> tuple[float, float]:
    """E[buckets until the alarm or the horizon] and E[mean of M then], by the exact recursion over all stories."""
    waited = evidence = 0.0
    open_: dict[Detector, float] = {unalarmed(ratios): 1.0}
    for _ in range(horizon):
        waited += sum(open_.values())
        after: dict[Detector, float] = {}
        for detector, chance in open_.items():
            for likely, factors in buckets:
                moved = after_bucket(detector, factors)
                if log_alarm(moved) >= log_limit:
                    evidence += chance * likely * exp(log_alarm(moved))
                else:
                    after[moved] = after.get(moved, 0.0) + chance * likely
        open_ = after
    return waited, evidence + sum(chance * exp(log_alarm(detector)) for detector, chance in open_.items())


RATIOS = (1.5, 3.0)


@pytest.mark.parametrize(
    "buckets",
    [
        of_rate(1, 0.2, 0.2, RATIOS),
        of_rate(2, 0.1, 0.1, RATIOS),
        of_coin(1, 0.98, RATIOS),
        of_coin(2, 0.5, RATIOS, 1.1),
    ],
    ids=["rate", "rate of two", "beside a standby of 2 %", "beside an equal standby, on the margin"],
)
def test_at_the_boundary_the_mean_of_the_detector_is_the_time_that_passed(buckets: list[Bucket]) -> None:
    waited, evidence = run(buckets, RATIOS, log(6), 10)
    assert evidence == pytest.approx(waited, rel=1e-9)


def test_the_average_wait_for_a_false_alarm_is_at_least_the_limit() -> None:
    waited, _ = run(of_rate(1, 0.2, 0.2, RATIOS), RATIOS, log(6), 16)
    assert waited >= 6.0


def test_below_the_boundary_the_wait_is_longer_still() -> None:
    at, _ = run(of_rate(1, 0.2, 0.2, RATIOS), RATIOS, log(6), 12)
    below, evidence = run(of_rate(1, 0.1, 0.2, RATIOS), RATIOS, log(6), 12)
    assert below > at
    assert evidence < below


def hours_until_alarm(bad: int, n: int, most: float) -> int:
    ratios = detectable(most)
    detector, hours = unalarmed(ratios), 0
    while log_alarm(detector) < log(87_600):
        detector, hours = after_bucket(detector, against_rate(bad, n, most, ratios)), hours + 1
    return hours


def test_a_decay_is_found_in_hours_at_one_false_alarm_in_ten_years() -> None:
    assert hours_until_alarm(50, 1_000, 0.012) == 1
    assert hours_until_alarm(20, 1_000, 0.012) in range(5, 9)
    assert hours_until_alarm(15, 1_000, 0.012) in range(28, 42)


def test_beside_a_standby_a_worse_hour_for_both_is_no_decay_and_a_worse_version_is() -> None:
    ratios = detectable(0.01)
    shared = alone = unalarmed(ratios)
    for hour in range(48):
        bad = 10 if hour < 24 else 100
        shared = after_bucket(shared, beside_standby(Outcomes(0.5, bad, bad), ratios))
        alone = after_bucket(alone, beside_standby(Outcomes(0.5, bad, 10), ratios))
    assert log_alarm(shared) < log(100)
    assert log_alarm(alone) > log(87_600)


def test_only_ratios_that_leave_a_rate_below_one_half_are_watched_for() -> None:
    assert all(ratio * 0.2 <= 0.5 for ratio in detectable(0.2))
    assert detectable(0.2)


@pytest.mark.parametrize(("bad", "n"), [(-1, 5), (6, 5), (nan, 5), (1, inf)])
def test_counts_that_cannot_be_are_refused(bad: float, n: float) -> None:
    with pytest.raises(ValueError, match="bad answers of"):
        against_rate(bad, n, 0.1, RATIOS)  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [0.0, 1.0, nan])
def test_a_bound_that_is_no_rate_is_refused(most: float) -> None:
    with pytest.raises(ValueError, match="no rate"):
        against_rate(1, 5, most, RATIOS)
    with pytest.raises(ValueError, match="no rate"):
        detectable(most)


def test_a_bucket_without_a_coin_is_refused() -> None:
    with pytest.raises(ValueError, match="no coin made"):
        beside_standby(Outcomes(1.0, 1, 1), RATIOS)
