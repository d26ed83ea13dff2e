"""What labels say of answers, against the textbook's formulas computed another way."""

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.declarations import QualityKind, QualityMetric
from app.domain.catalog.models import VersionName
from app.domain.evidence.loss import (
    Labelled,
    calibration,
    calibration_error,
    class_of,
    confusion,
    loss,
    mean_loss,
    shown,
    sums_of,
)

V1 = VersionName("v1")


def said(label: object, predictions: tuple[object, ...] = (), scores: tuple[float, ...] = ()) -> Labelled:
    return Labelled("0" * 32, V1, 1, 1_000, "us", label, predictions, scores)  # type: ignore[arg-type]


def metric(kind: QualityKind, **more: object) -> QualityMetric:
    return QualityMetric("m", kind, **more)  # type: ignore[arg-type]


pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(pairs)
def test_classes_are_counted_as_the_textbook_counts_them(outcomes: list[tuple[bool, bool]]) -> None:
    rows = [said(is_positive, (float(predicted),)) for predicted, is_positive in outcomes]
    tp = sum(p and y for p, y in outcomes)
    fp = sum(p and not y for p, y in outcomes)
    fn = sum(not p and y for p, y in outcomes)
    tn = len(outcomes) - tp - fp - fn
    right = {
        QualityKind.ACCURACY: (tp + tn, len(outcomes)),
        QualityKind.PRECISION: (tp, tp + fp),
        QualityKind.RECALL: (tp, tp + fn),
        QualityKind.F1: (2 * tp, 2 * tp + fp + fn),
    }
    for kind, (numerator, denominator) in right.items():
        mean = mean_loss(sums_of(found for row in rows if (found := loss(metric(kind), row)) is not None))
        if denominator:
            assert mean is not None
            assert shown(metric(kind), mean) == pytest.approx(numerator / denominator)
        else:
            assert mean is None


numbers = st.floats(-50.0, 50.0)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40))
def test_errors_of_numbers_are_those_of_numpy(values: list[tuple[float, float]]) -> None:
    truth, predicted = np.array(values).T
    rows = [said(y, (p,)) for y, p in values]
    for kind, expected in (
        (QualityKind.ABSOLUTE_ERROR, np.minimum(np.abs(truth - predicted), 30.0).mean()),
        (QualityKind.SQUARED_ERROR, sqrt((np.minimum(np.abs(truth - predicted), 30.0) ** 2).mean())),
    ):
        of = metric(kind, high=30.0)
        mean = mean_loss(sums_of(found for row in rows if (found := loss(of, row)) is not None))
        assert mean is not None
        assert shown(of, mean) == pytest.approx(expected, abs=1e-9)


def test_probabilities_are_scored_clipped() -> None:
    of = metric(QualityKind.LOG_LOSS, high=5.0, threshold=0.5)
    assert loss(of, said("1", (0.8,))) == pytest.approx((-log(0.8) / 5.0, 1.0))
    assert loss(of, said(0, (0.8,))) == pytest.approx((-log(0.2) / 5.0, 1.0))
    assert loss(of, said(0, (1.0,))) == (1.0, 1.0)
    brier = metric(QualityKind.BRIER, positive="cat")
    assert loss(brier, said("cat", ("cat",), (0.7,))) == pytest.approx((0.09, 1.0))
    assert loss(brier, said("cat", ("dog",), (0.7,))) == pytest.approx((0.49, 1.0))


def test_scores_and_events_need_no_prediction() -> None:
    stars = metric(QualityKind.SCORE, low=1.0, high=5.0)
    assert loss(stars, said(4.0)) == pytest.approx((0.25, 1.0))
    assert loss(stars, said(99.0)) == (0.0, 1.0)
    assert shown(stars, 0.25) == pytest.approx(4.0)
    assert loss(metric(QualityKind.SCORE, high=10.0, lower_is_better=True), said(2.5)) == pytest.approx((0.25, 1.0))
    assert [loss(metric(QualityKind.EVENT), said(value)) for value in (True, 0.0, "1", "maybe")] == [
        (0.0, 1.0),
        (1.0, 1.0),
        (0.0, 1.0),
        None,
    ]


def test_a_batch_is_one_exchange_and_counts_once() -> None:
    assert loss(metric(QualityKind.ACCURACY), said((1.0, 0.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0))) == (0.25, 1.0)


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (QualityKind.ACCURACY, said("1")),
        (QualityKind.ACCURACY, said(("1", "0"), ("1",))),
        (QualityKind.ABSOLUTE_ERROR, said("late", (3.0,))),
        (QualityKind.ABSOLUTE_ERROR, said(3.0, ("late",))),
        (QualityKind.BRIER, said("1", ("1",))),
        (QualityKind.LOG_LOSS, said("1", ("1",), (1.5,))),
        (QualityKind.SCORE, said(float("nan"))),
    ],
)
def test_what_cannot_be_compared_says_nothing(kind: QualityKind, row: Labelled) -> None:
    assert loss(metric(kind), row) is None


def test_a_prediction_that_is_no_number_is_as_wrong_as_can_be() -> None:
    assert loss(metric(QualityKind.ABSOLUTE_ERROR, high=10.0), said(3.0, (float("nan"),))) == (1.0, 1.0)


def test_a_class_is_told_by_its_value() -> None:
    assert [class_of(value) for value in (1, 1.0, True, "1", 0.5, 2.0**60)] == ["1"] * 4 + ["0.5", str(2**60)]
    assert [class_of(value, 0.5) for value in (0.5, 0.49, True, False)] == ["1", "0", "1", "0"]


def test_confusion_and_calibration_show_what_was_said_and_what_came() -> None:
    of = metric(QualityKind.ACCURACY, threshold=0.5)
    rows = [said(1, (0.95,)), said(0, (0.91,)), said(0, (0.15,)), said(0, (0.11,)), said("none", ())]
    assert confusion(of, rows) == {("1", "1"): 1, ("0", "1"): 1, ("0", "0"): 2}
    low, high = calibration(of, rows)
    assert (low.n, low.share_positive, high.n, high.share_positive) == (2, 0.0, 2, 0.5)
    assert calibration_error((low, high)) == pytest.approx(0.5 * 0.13 + 0.5 * 0.43)
    assert calibration_error(()) is None
