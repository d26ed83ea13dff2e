"""What a label says of an answer: a loss between 0 and 1, and what losses together are called.

Rule: an exchange is one unit however many predictions it brought; what cannot be compared (another
length, no prediction, no number) says nothing, and is neither good nor bad.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log, sqrt
from typing import NamedTuple, TypeAlias

from app.domain.catalog.declarations import QualityKind, QualityMetric
from app.domain.catalog.models import VersionName
from app.domain.evidence.cohort import LossSums

Label: TypeAlias = float | str | bool
Prediction: TypeAlias = float | str

# Below this a probability is taken for it: one certain mistake must not outweigh all others.
_LEAST_CHANCE = 1e-15
CALIBRATION_BINS = 10


class Labelled(NamedTuple):
    """One exchange and what somebody said of it.

    Attributes:
        label: One, or one for each prediction.
        predictions, scores: As they were read; empty where nothing was.
        another: What the next source said of it; None if there was none.
    """

    exchange: str
    version: VersionName
    generation: int
    second: int
    source: str
    label: Label | tuple[Label, ...]
    predictions: tuple[Prediction, ...] = ()
    scores: tuple[float, ...] = ()
    slices: Mapping[str, str] = {}
    another: Label | tuple[Label, ...] | None = None


class Loss(NamedTuple):
    """Numerator and denominator of one exchange's loss, 0 <= a <= b <= 1."""

    a: float
    b: float


class _Row(NamedTuple):
    """One prediction beside its label; `score` is None where the model gave none."""

    label: Label
    prediction: Prediction | None
    score: float | None


def loss(metric: QualityMetric, labelled: Labelled) -> Loss | None:
    """What the exchange lost, the mean over its rows; None where nothing can be said.

    Accuracy: a is the share of wrong predictions, b is 1. Recall: b is the share of positive labels, a
    of those missed. Precision: b of positive predictions, a of the wrong among them. F1: 1 - F1 =
    (FP + FN) / (2 TP + FP + FN), numerator and denominator halved. All others have b = 1.
    """
    rows = _rows(metric, labelled)
    if not rows:
        return None
    losses = [_LOSSES[metric.kind](metric, row) for row in rows]
    known = [each for each in losses if each is not None]
    if len(known) < len(rows):
        return None
    return Loss(sum(each.a for each in known) / len(known), sum(each.b for each in known) / len(known))


def _rows(metric: QualityMetric, labelled: Labelled) -> Sequence[_Row]:
    labels = labelled.label if isinstance(labelled.label, tuple) else (labelled.label,)
    if not metric.needs_prediction:
        return [_Row(label, None, None) for label in labels]
    predictions, scores = labelled.predictions, labelled.scores
    if len(predictions) != len(labels):
        return ()
    # Scores stand beside predictions only where there are as many.
    beside: Sequence[float | None] = scores if len(scores) == len(labels) else (None,) * len(labels)
    return [_Row(*row) for row in zip(labels, predictions, beside, strict=True)]


def class_of(value: Prediction | bool, threshold: float | None = None) -> str:
    """A class as text: 1, 1.0 and True are "1", a number against a threshold is "1" or "0"."""
    if isinstance(value, str):
        return value
    if threshold is not None and not isinstance(value, bool):
        return "1" if value >= threshold else "0"
    number = float(value)
    return str(int(number)) if isfinite(number) and number == int(number) else repr(number)


def _accuracy(metric: QualityMetric, row: _Row) -> Loss | None:
    return None if row.prediction is None else Loss(float(_predicted(metric, row) != class_of(row.label)), 1.0)


def _predicted(metric: QualityMetric, row: _Row) -> str:
    return class_of(row.prediction if row.prediction is not None else "", metric.threshold)


def _outcome(metric: QualityMetric, row: _Row) -> tuple[bool, bool]:
    """Whether it was predicted positive, and whether it is."""
    return _predicted(metric, row) == metric.positive, class_of(row.label) == metric.positive


def _precision(metric: QualityMetric, row: _Row) -> Loss | None:
    predicted, is_positive = _outcome(metric, row)
    return Loss(float(predicted and not is_positive), float(predicted))


def _recall(metric: QualityMetric, row: _Row) -> Loss | None:
    predicted, is_positive = _outcome(metric, row)
    return Loss(float(is_positive and not predicted), float(is_positive))


def _f1(metric: QualityMetric, row: _Row) -> Loss | None:
    predicted, is_positive = _outcome(metric, row)
    wrong = 0.5 * (predicted != is_positive)
    return Loss(wrong, wrong + float(predicted and is_positive))


def _chance(metric: QualityMetric, row: _Row) -> float | None:
    """The model's probability of the positive class; None where it gave none.

    A score is how sure the model was of what it predicted; a bare number between 0 and 1 is the chance itself.
    """
    if isinstance(row.prediction, float | int) and metric.threshold is not None:
        chance = float(row.prediction)
    elif row.score is None or row.prediction is None:
        return None
    else:
        sure = row.score
        chance = sure if _predicted(metric, row) == metric.positive else 1.0 - sure
    return chance if 0.0 <= chance <= 1.0 else None


def _log_loss(metric: QualityMetric, row: _Row) -> Loss | None:
    chance = _chance(metric, row)
    if chance is None:
        return None
    of_truth = chance if class_of(row.label) == metric.positive else 1.0 - chance
    return Loss(min(-log(max(of_truth, _LEAST_CHANCE)), metric.high) / metric.high, 1.0)


def _brier(metric: QualityMetric, row: _Row) -> Loss | None:
    chance = _chance(metric, row)
    return None if chance is None else Loss((chance - float(class_of(row.label) == metric.positive)) ** 2, 1.0)


def _error(row: _Row) -> float | None:
    if isinstance(row.label, str) or isinstance(row.prediction, str) or row.prediction is None:
        return None
    error = abs(float(row.label) - float(row.prediction))
    # A prediction that is no number is as wrong as can be.
    return error if error == error else float("inf")  # noqa: PLR0124 -- NaN


def _absolute(metric: QualityMetric, row: _Row) -> Loss | None:
    error = _error(row)
    return None if error is None else Loss(min(error, metric.high) / metric.high, 1.0)


def _squared(metric: QualityMetric, row: _Row) -> Loss | None:
    error = _error(row)
    return None if error is None else Loss((min(error, metric.high) / metric.high) ** 2, 1.0)


def _score(metric: QualityMetric, row: _Row) -> Loss | None:
    if isinstance(row.label, str) or not isfinite(row.label):
        return None
    share = (min(max(float(row.label), metric.low), metric.high) - metric.low) / (metric.high - metric.low)
    return Loss(share if metric.lower_is_better else 1.0 - share, 1.0)


def _event(metric: QualityMetric, row: _Row) -> Loss | None:  # noqa: ARG001 -- one shape for all kinds
    happened = {"1": 0.0, "0": 1.0}.get(class_of(row.label))
    return None if happened is None else Loss(happened, 1.0)


_LOSSES: Mapping[QualityKind, Callable[[QualityMetric, _Row], Loss | None]] = {
    QualityKind.ACCURACY: _accuracy,
    QualityKind.PRECISION: _precision,
    QualityKind.RECALL: _recall,
    QualityKind.F1: _f1,
    QualityKind.LOG_LOSS: _log_loss,
    QualityKind.BRIER: _brier,
    QualityKind.ABSOLUTE_ERROR: _absolute,
    QualityKind.SQUARED_ERROR: _squared,
    QualityKind.SCORE: _score,
    QualityKind.EVENT: _event,
}


def sums_of(losses: Iterable[Loss]) -> LossSums:
    """The sums of several exchanges."""
    n = a = b = aa = ab = bb = 0.0
    for each in losses:
        n += 1.0
        a += each.a
        b += each.b
        aa += each.a * each.a
        ab += each.a * each.b
        bb += each.b * each.b
    return LossSums(n, a, b, aa, ab, bb)


def mean_loss(sums: LossSums) -> float | None:
    """The loss a / b of many exchanges, in [0, 1]; None where no exchange says anything."""
    return sums.a / sums.b if sums.b > 0.0 else None


def shown(metric: QualityMetric, mean: float) -> float:
    """A mean loss in the metric's own unit: accuracy 0.9, RMSE 12 minutes, a score of 4.2."""
    match metric.kind:
        case QualityKind.LOG_LOSS | QualityKind.ABSOLUTE_ERROR:
            return mean * metric.high
        case QualityKind.SQUARED_ERROR:
            return sqrt(mean) * metric.high
        case QualityKind.BRIER:
            return mean
        case QualityKind.SCORE:
            share = mean if metric.lower_is_better else 1.0 - mean
            return metric.low + share * (metric.high - metric.low)
        case _:
            return 1.0 - mean


def confusion(metric: QualityMetric, labelled: Iterable[Labelled]) -> Mapping[tuple[str, str], int]:
    """(label, predicted class) to how many predictions."""
    counts: dict[tuple[str, str], int] = {}
    for each in labelled:
        for row in _rows(metric, each):
            if row.prediction is not None:
                pair = (class_of(row.label), _predicted(metric, row))
                counts[pair] = counts.get(pair, 0) + 1
    return counts


@dataclass(frozen=True, slots=True)
class Reliability:
    """One tenth of the scale of probabilities: how many, their mean, and the share that was positive."""

    n: int
    mean_chance: float
    share_positive: float


def calibration(metric: QualityMetric, labelled: Iterable[Labelled]) -> tuple[Reliability, ...]:
    """The reliability table of a probability of the positive class; bins without predictions are left out."""
    counts = [[0, 0.0, 0] for _ in range(CALIBRATION_BINS)]
    for each in labelled:
        for row in _rows(metric, each):
            chance = _chance(metric, row)
            if chance is not None:
                place = counts[min(int(chance * CALIBRATION_BINS), CALIBRATION_BINS - 1)]
                place[0] += 1
                place[1] += chance
                place[2] += class_of(row.label) == metric.positive
    return tuple(Reliability(int(n), total / n, positive / n) for n, total, positive in counts if n)


def calibration_error(table: Sequence[Reliability]) -> float | None:
    """ECE: mean gap between what was said and what came, weighted by how often; None without predictions.

    Source:
        Naeini, Cooper & Hauskrecht 2015, AAAI.
    """
    n = sum(each.n for each in table)
    return sum(each.n * abs(each.mean_chance - each.share_positive) for each in table) / n if n else None
