"""Quality as people read it: a version's value with its interval, by slice, by class, by how sure it was.

Rule: for display. What decides is the labels guardrail, which compares both arms under the coin; an interval here holds
for a version whose true quality does not move, however often somebody looks.

Source: rates by the beta-binomial mixture (`rate`); all other means by the normal mixture, whose level holds in
the limit of many labels (`normal_mixture`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from app.domain.catalog.declarations import QualityKind, QualityMetric, SliceKey
from app.domain.catalog.models import VersionName
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.cohort import LossSums
from app.domain.evidence.loss import (
    Labelled,
    Loss,
    Reliability,
    calibration,
    calibration_error,
    confusion,
    loss,
    mean_loss,
    shown,
    sums_of,
)
from app.domain.guardrails.split import Covered, coverage_of
from app.domain.stats.histogram import OTHER
from app.domain.stats.normal_mixture import normal_difference_interval
from app.domain.stats.rate import rate_bounds
from app.domain.stats.score import Score, ScoreEpoch, Sums, best_rho, increments, scaled

# Chance that an interval ever misses, both sides together.
ALPHA = 0.05
CLASSES_MAX = 50
_CLASSIFIES = frozenset(
    {
        QualityKind.ACCURACY,
        QualityKind.PRECISION,
        QualityKind.RECALL,
        QualityKind.F1,
        QualityKind.LOG_LOSS,
        QualityKind.BRIER,
    }
)
# Kinds whose shown value is linear in the loss and whose every exchange counts alike.
_MEANS = frozenset(
    {
        QualityKind.ACCURACY,
        QualityKind.EVENT,
        QualityKind.LOG_LOSS,
        QualityKind.BRIER,
        QualityKind.ABSOLUTE_ERROR,
        QualityKind.SCORE,
    }
)
# Tightest near a thousand labels whose losses scatter moderately.
_RHO = best_rho(100.0, ALPHA)
_RHO_OF_DIFFERENCE = best_rho(25.0, ALPHA)


@dataclass(frozen=True, slots=True)
class Value:
    """A value in the metric's own unit.

    Attributes:
        scored: Exchanges it is made of.
        value, low, high: None where nothing can be said.
    """

    scored: int = 0
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:  # ADR 0112
    """One version by one metric.

    Attributes:
        labelled: Exchanges with a label; of some of them nothing can be compared.
        slices: Slice key's name to value to figures.
        confusion: (label, predicted class) to predictions; empty beyond CLASSES_MAX classes.
        reliability: Of two classes; empty where no probability was given.
        calibration_error: ECE of the same.
    """

    labelled: int = 0
    overall: Value = Value()
    slices: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    confusion: Mapping[tuple[str, str], int] = field(default_factory=dict)
    reliability: tuple[Reliability, ...] = ()
    calibration_error: float | None = None


def value_of(metric: QualityMetric, sums: LossSums) -> Value:
    """Sums of losses as one value and its interval."""
    mean = mean_loss(sums)
    if mean is None:
        return Value(int(sums.n))
    bounds = _bounds(metric, sums)
    if bounds is None:
        return Value(int(sums.n), shown(metric, mean))
    low, high = sorted(shown(metric, each) for each in bounds)
    return Value(int(sums.n), shown(metric, mean), low, high)


def _bounds(metric: QualityMetric, sums: LossSums) -> tuple[float, float] | None:
    """Interval of the mean loss; None of F1, whose denominator answers itself choose."""
    if metric.kind is QualityKind.F1:
        return None
    n, a, b, aa, ab, bb = sums
    if aa == a == ab and bb == b:
        return rate_bounds(a, b, ALPHA)
    if b != n:
        return None
    low, high = normal_difference_interval(Score(a, max(aa - a * a / n, 0.0), n), ALPHA, _RHO)
    return max(low, 0.0), min(high, 1.0)


def figures_of(metric: QualityMetric, rows: Sequence[Labelled], slice_keys: Iterable[SliceKey] = ()) -> Figures:
    """All there is to show of one version's labelled exchanges."""
    losses = [(row, found) for row in rows if (found := loss(metric, row)) is not None]
    parts = {key.name: _by_slice(metric, key, losses) for key in slice_keys}
    pairs = confusion(metric, rows) if metric.kind in _CLASSIFIES else {}
    classes = {name for pair in pairs for name in pair}
    table = calibration(metric, rows) if metric.kind in _CLASSIFIES and _is_binary(metric, pairs) else ()
    return Figures(
        len(rows),
        value_of(metric, sums_of(found for _, found in losses)),
        parts,
        pairs if len(classes) <= CLASSES_MAX else {},
        table,
        calibration_error(table),
    )


def _is_binary(metric: QualityMetric, pairs: Mapping[tuple[str, str], int]) -> bool:
    """Whether there is one other class at most than the positive one."""
    return len({label for label, _ in pairs} - {metric.positive}) <= 1


def _by_slice(metric: QualityMetric, key: SliceKey, losses: Sequence[tuple[Labelled, Loss]]) -> Mapping[str, Value]:
    name_of = _told_apart(key, (row for row, _ in losses))
    cut: dict[str, list[Loss]] = {}
    for row, found in losses:
        value = row.slices.get(key.name)
        if value is not None:
            cut.setdefault(name_of[value], []).append(found)
    return {name: value_of(metric, sums_of(part)) for name, part in sorted(cut.items())}


def _told_apart(key: SliceKey, rows: Iterable[Labelled]) -> Mapping[str, str]:
    """Each value to itself, or to `other` beyond the most frequent ones."""
    counted = Counter(value for row in rows if (value := row.slices.get(key.name)) is not None)
    kept = {value for value, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[: key.values_max]}
    return {value: value if value in kept else OTHER for value in counted}


class Difference(NamedTuple):
    """A difference of two versions, the second minus the first, in the metric's own unit.

    Attributes:
        value, low, high: None where nothing can be said.
        why: Why there is no interval; None where there is one.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str | None = None


class _Epoch(NamedTuple):
    """One generation: the second's chance, given that it is one of the two, and what both lost."""

    share: float
    second: LossSums
    first: LossSums

    @property
    def n(self) -> float:
        return self.first.n + self.second.n


NOT_CONCURRENT = "not concurrent: no coin chose between the two at the same time"
UNEVEN = "not comparable: labels came for one of the two more often than the coin explains"
NO_INTERVAL = "this metric's difference has no interval here; the labels guardrail judges it"


def difference(
    metric: QualityMetric,
    rows: Iterable[Labelled],
    first: VersionName,
    second: VersionName,
    weights_bp: Mapping[int, Mapping[VersionName, int]],
) -> Difference:
    """What the second has beyond the first, over generations in which a coin chose between the two.

    Args:
        metric: As declared.
        rows: Labelled exchanges of both.
        first: The one that is subtracted.
        second: The other one.
        weights_bp: Generation to version to weight.
    """
    sums = _by_generation(metric, rows, weights_bp)
    shares = {generation: _share(weights_bp[generation], first, second) for generation, _ in sums}
    epochs = [
        _Epoch(share, sums.get((generation, second), LossSums()), sums.get((generation, first), LossSums()))
        for generation, share in sorted(shares.items())
        if 0.0 < share < 1.0
    ]
    ours, theirs = mean_loss(_plus(each.second for each in epochs)), mean_loss(_plus(each.first for each in epochs))
    if ours is None or theirs is None:
        return Difference(None, why=NOT_CONCURRENT)
    plain = shown(metric, ours) - shown(metric, theirs)
    covered = (Covered(round(each.share * FULL_BP), int(each.second.n), int(each.first.n)) for each in epochs)
    if coverage_of(each for each in covered if 0 < each.weight_bp < FULL_BP).is_uneven:
        return Difference(plain, why=UNEVEN)
    if metric.kind not in _MEANS:
        return Difference(plain, why=NO_INTERVAL)
    return _interval(metric, epochs)


def _by_generation(
    metric: QualityMetric, rows: Iterable[Labelled], weights_bp: Mapping[int, Mapping[VersionName, int]]
) -> Mapping[tuple[int, VersionName], LossSums]:
    sums: dict[tuple[int, VersionName], LossSums] = {}
    for row in rows:
        found = loss(metric, row)
        if found is not None and row.generation in weights_bp:
            place = (row.generation, row.version)
            sums[place] = sums.get(place, LossSums()).plus(sums_of((found,)))
    return sums


def _share(weights_bp: Mapping[VersionName, int], first: VersionName, second: VersionName) -> float:
    """The second's chance, given that it is one of the two; 0 where neither could be drawn."""
    both = weights_bp.get(first, 0) + weights_bp.get(second, 0)
    return weights_bp.get(second, 0) / both if both else 0.0


def _plus(parts: Iterable[LossSums]) -> LossSums:
    total = LossSums()
    for part in parts:
        total = total.plus(part)
    return total


def _interval(metric: QualityMetric, epochs: Sequence[_Epoch]) -> Difference:
    """Of kinds that are linear in the loss, so that one slope turns an interval of losses into one of values."""
    everything = _plus(each.first.plus(each.second) for each in epochs)
    tossed = (ScoreEpoch(each.share, _sums(each.second), _sums(each.first), each.n) for each in epochs)
    totals = scaled(increments(tossed, everything.a / everything.n), inf)
    slope = shown(metric, 1.0) - shown(metric, 0.0)
    bounds = normal_difference_interval(totals, ALPHA, _RHO_OF_DIFFERENCE)
    low, high = sorted(slope * min(max(each, -1.0), 1.0) for each in bounds)
    return Difference(slope * totals.score / totals.overlap, low, high)


def _sums(part: LossSums) -> Sums:
    # What rounding took from the squares must not make them impossible.
    return Sums(part.n, part.a, max(part.aa, part.a * part.a / part.n if part.n else 0.0))
