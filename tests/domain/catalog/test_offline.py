"""Offline evaluation closes a door or is shown beside what came online; it proves nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.declarations import Credentials, QualityKind, QualityMetric
from app.domain.catalog.models import ModelName, Version, VersionName
from app.domain.catalog.offline import OfflineLimit, compared, looks_leaked, refusal
from app.domain.guardrails.policy import DEFAULT_POLICY, check_policy
from app.errors import InvalidInput

ACCURACY = QualityMetric("accuracy", QualityKind.ACCURACY)
MINUTES = QualityMetric("minutes", QualityKind.ABSOLUTE_ERROR, high=120.0)
STARS = QualityMetric("stars", QualityKind.SCORE, low=1.0, high=5.0)


def version(name: str, **offline: float) -> Version:
    return Version(ModelName("fraud"), VersionName(name), ("http://a",), credentials=Credentials(offline))


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 0.5), st.booleans())
def test_a_canary_is_refused_exactly_when_it_is_worse_by_more_than_the_margin(
    canary: float, stable: float, margin: float, lower_is_better: bool
) -> None:
    limits = (OfflineLimit("f1", margin, lower_is_better),)
    why = refusal(limits, version("v2", f1=canary), version("v1", f1=stable))
    worse_by = canary - stable if lower_is_better else stable - canary
    assert (why is not None) == (worse_by > margin)


def test_a_canary_without_the_metric_is_refused_and_one_beside_a_stable_without_it_is_not() -> None:
    limits = (OfflineLimit("f1"), OfflineLimit("robustness"))
    assert refusal(limits, version("v2", f1=0.9), version("v1", f1=0.8, robustness=0.5)) == (
        "v2 was registered without the offline metric robustness, and the policy asks for it"
    )
    assert refusal(limits, version("v2", f1=0.1, robustness=0.1), version("v1")) is None
    assert refusal((), version("v2"), version("v1", f1=1.0)) is None


def test_the_first_limit_that_is_not_kept_is_said_with_both_values() -> None:
    why = refusal((OfflineLimit("f1", 0.01),), version("v2", f1=0.85), version("v1", f1=0.9))
    assert why == "v2 has the offline f1 0.85 and v1 0.9: worse by 0.05, and the policy lets 0.01 through"


@pytest.mark.parametrize(
    ("metric", "offline", "low", "high", "leaked"),
    [
        (ACCURACY, 0.99, 0.80, 0.88, True),
        (ACCURACY, 0.99, 0.80, 0.90, False),
        (ACCURACY, 0.70, 0.90, 0.95, False),
        (MINUTES, 10.0, 23.0, 30.0, True),
        (MINUTES, 10.0, 21.0, 30.0, False),
        (MINUTES, 30.0, 5.0, 9.0, False),
        (STARS, 4.5, 3.0, 4.0, True),
        (STARS, 4.5, 3.0, 4.2, False),
    ],
)
def test_online_is_suspicious_when_its_whole_interval_is_a_tenth_of_the_range_worse(
    metric: QualityMetric, offline: float, low: float, high: float, leaked: bool
) -> None:
    assert looks_leaked(metric, offline, low, high) is leaked


def test_only_what_both_were_evaluated_by_is_compared() -> None:
    assert compared({"f1": 0.75, "mine": 1.0}, {"f1": 0.5, "yours": 2.0}) == {"f1": 0.25}


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ((OfflineLimit("f1"), OfflineLimit("f1", 0.1)), "/policy/offline/1/metric"),
        ((OfflineLimit("f1", -0.1),), "/policy/offline/0/margin"),
        ((OfflineLimit("f1", float("nan")),), "/policy/offline/0/margin"),
        (tuple(OfflineLimit(f"m{number}") for number in range(17)), "/policy/offline"),
    ],
)
def test_limits_that_mean_nothing_are_no_policy(limits: tuple[OfflineLimit, ...], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_policy(replace(DEFAULT_POLICY, offline=limits))
    assert refused.value.field == field
