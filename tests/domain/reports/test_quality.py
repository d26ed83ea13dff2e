"""Figures for people: values with intervals that hold at any time, and differences only where a coin was tossed."""

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.declarations import QualityKind, QualityMetric, SliceKey
from app.domain.catalog.models import VersionName
from app.domain.evidence.cohort import LossSums
from app.domain.evidence.loss import Labelled, Loss, sums_of
from app.domain.reports.quality import (
    NO_INTERVAL,
    NOT_CONCURRENT,
    UNEVEN,
    Difference,
    difference,
    figures_of,
    value_of,
)

V1, V2 = VersionName("v1"), VersionName("v2")
ACCURACY = QualityMetric("accuracy", QualityKind.ACCURACY)
RECALL = QualityMetric("recall", QualityKind.RECALL)
F1 = QualityMetric("f1", QualityKind.F1)
MINUTES = QualityMetric("minutes", QualityKind.ABSOLUTE_ERROR, high=60.0)
HALVES = {2: {V1: 5_000, V2: 5_000}}


def answer(version: VersionName, prediction: float, label: float, *, generation: int = 2, **slices: str) -> Labelled:
    return Labelled("x", version, generation, 1, "desk", label, (prediction,), (), slices)


def answers(version: VersionName, right: int, wrong: int, *, generation: int = 2) -> list[Labelled]:
    labels = [1.0] * right + [0.0] * wrong
    return [answer(version, 1.0, label, generation=generation) for label in labels]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=200))
def test_a_value_lies_in_its_interval_and_the_interval_in_the_metrics_range(losses: list[float]) -> None:
    shown = value_of(MINUTES, sums_of(Loss(each, 1.0) for each in losses))
    assert shown.value is not None
    assert shown.low is not None
    assert shown.high is not None
    assert 0.0 <= shown.low <= shown.value + 1e-9
    assert shown.value - 1e-9 <= shown.high <= 60.0


@given(st.integers(0, 300), st.integers(0, 300))
def test_more_errors_never_raise_a_rate_nor_its_interval(right: int, wrong: int) -> None:
    fewer = value_of(ACCURACY, sums_of([Loss(0.0, 1.0)] * (right + 1) + [Loss(1.0, 1.0)] * wrong))
    more = value_of(ACCURACY, sums_of([Loss(0.0, 1.0)] * right + [Loss(1.0, 1.0)] * (wrong + 1)))
    assert (fewer.value or 0.0) > (more.value or 0.0)
    assert (fewer.low or 0.0) >= (more.low or 0.0) - 1e-9
    assert (fewer.high or 0.0) >= (more.high or 0.0) - 1e-9


def test_an_interval_of_graded_losses_holds_at_every_look_in_nearly_all_histories() -> None:
    chance = random.Random(5)
    missed = 0
    for _ in range(200):
        losses, held = LossSums(), True
        for n in range(1, 1_001):
            losses = losses.plus(sums_of([Loss(chance.betavariate(0.5, 2.0), 1.0)]))
            if n % 50 == 0:
                shown = value_of(MINUTES, losses)
                held = held and (shown.low or 0.0) <= 60.0 * 0.2 <= (shown.high or 0.0)
        missed += not held
    assert missed <= 10


def test_nothing_is_said_of_nothing_and_no_interval_of_f1() -> None:
    assert (value_of(ACCURACY, LossSums()).value, figures_of(ACCURACY, []).overall.scored) == (None, 0)
    shown = value_of(F1, sums_of([Loss(0.0, 1.0), Loss(0.5, 0.5)]))
    assert shown.value == pytest.approx(2 / 3)
    assert (shown.low, shown.high) == (None, None)


def test_recall_counts_only_positive_labels() -> None:
    rows = [answer(V1, 1.0, 1.0)] * 30 + [answer(V1, 0.0, 1.0)] * 10 + [answer(V1, 1.0, 0.0)] * 500
    shown = figures_of(RECALL, rows).overall
    assert shown.value == pytest.approx(0.75)
    assert shown.low is not None
    assert shown.low < 0.6


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=60), st.integers(1, 4))
def test_slices_add_up_to_the_answers_that_have_the_key(values: list[str], values_max: int) -> None:
    rows = [answer(V1, 1.0, 1.0, carrier=value) for value in values] + answers(V1, 3, 3)
    parts = figures_of(ACCURACY, rows, [SliceKey("carrier", "x-c", None, values_max)]).slices["carrier"]
    assert sum(part.scored for part in parts.values()) == len(values)
    assert len(parts) <= values_max + 1


def apart(rows: Sequence[Labelled], metric: QualityMetric = ACCURACY) -> Difference:
    return difference(metric, rows, V1, V2, HALVES)


def test_a_difference_is_estimated_within_generations_and_not_across_them() -> None:
    """Both versions are alike, but the second was drawn mostly in the worse hour (Simpson's paradox)."""
    weights = {2: {V1: 9_000, V2: 1_000}, 3: {V1: 1_000, V2: 9_000}}
    good = [*answers(V1, 855, 45), *answers(V2, 95, 5)]
    bad = [*answers(V1, 50, 50, generation=3), *answers(V2, 450, 450, generation=3)]
    found = difference(ACCURACY, [*good, *bad], V1, V2, weights)
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.0 < found.high


def test_without_a_coin_between_them_there_is_no_difference() -> None:
    rows = [*answers(V1, 90, 10), *answers(V2, 70, 30)]
    assert difference(ACCURACY, rows, V1, V2, {}) == Difference(None, why=NOT_CONCURRENT)
    assert difference(ACCURACY, rows, V1, V2, {2: {V1: 10_000}}) == Difference(None, why=NOT_CONCURRENT)
    only_one = difference(ACCURACY, answers(V1, 90, 10), V1, V2, HALVES)
    assert (only_one.value, only_one.why) == (None, NOT_CONCURRENT)


def test_uneven_labels_and_ratios_have_no_interval() -> None:
    uneven = apart([*answers(V1, 500, 50), *answers(V2, 50, 5)])
    assert (uneven.low, uneven.high, uneven.why) == (None, None, UNEVEN)
    ratio = apart([*answers(V1, 50, 5), *answers(V2, 50, 5)], RECALL)
    assert ratio.value == pytest.approx(0.0)
    assert (ratio.low, ratio.why) == (None, NO_INTERVAL)


def test_a_difference_of_errors_is_in_their_own_unit_and_turns_round_with_the_arms() -> None:
    first = [answer(V1, 10.0, 0.0)] * 300
    second = [answer(V2, 25.0, 0.0)] * 300
    there, back = apart([*first, *second], MINUTES), difference(MINUTES, [*first, *second], V2, V1, HALVES)
    assert there.value == pytest.approx(15.0)
    assert (there.low or -math.inf) < 15.0 < (there.high or math.inf)
    assert (back.low, back.high) == pytest.approx((-(there.high or 0.0), -(there.low or 0.0)))
