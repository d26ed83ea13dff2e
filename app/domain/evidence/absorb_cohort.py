"""The ledger of matured cohorts: both arms' labels by canary weight, source and slice.

Rule: a second is read once, for both arms at once, whatever the order of its rows and however the reading
is cut; an exchange counts for the first source that labelled it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from app.domain.catalog.declarations import Missing, QualityMetric, SliceKey
from app.domain.catalog.models import VersionName
from app.domain.evidence.cohort import MISSING, SOURCES_MAX, Cohort, CohortArm, CohortEpoch, LossSums, SliceEpoch
from app.domain.evidence.loss import Labelled, Loss, loss, sums_of
from app.domain.stats.histogram import OTHER

_ALL_BAD = Loss(1.0, 1.0)
# Without enough labels of stable a loss like this is taken for usual; a wrong one costs power, never validity.
USUAL_LOSS = 0.1
LEAST_LABELLED = 100
_LEAST_LOSS, _MOST_LOSS = 0.001, 0.99

Drawn = Mapping[tuple[int, VersionName], int]


@dataclass(frozen=True, slots=True)
class Matured:  # ADR 0097
    """What became old enough.

    Attributes:
        rows: Labelled exchanges of both arms, each once, of the seconds up to `through`.
        drawn: Generation and version to how many exchanges were drawn in them.
        through: The last second read.
        disagreed: How many of the exchanges two sources labelled differently.
    """

    rows: tuple[Labelled, ...]
    drawn: Drawn
    through: int
    disagreed: int = 0


def begun(metric: QualityMetric, started_s: int, usual: Iterable[Labelled]) -> Cohort:
    """An empty cohort.

    Args:
        metric: As declared now.
        started_s: Unix second of the rollout's start.
        usual: Stable's labelled exchanges of before.
    """
    sums = sums_of(found for each in usual if (found := loss(metric, each)) is not None)
    enough = sums.n >= LEAST_LABELLED and sums.b > 0.0
    reference = min(max(sums.a / sums.b, _LEAST_LOSS), _MOST_LOSS) if enough else USUAL_LOSS
    return Cohort(metric, started_s - 1, reference)


def absorb_cohort(
    cohort: Cohort,
    matured: Matured,
    canary_weight_bp: Mapping[int, int],
    canary: VersionName,
    slice_keys: Iterable[SliceKey] = (),
) -> Cohort:
    """Add what matured since the last look.

    Args:
        cohort: What was read so far.
        matured: Of the seconds after `cohort.read_through`.
        canary_weight_bp: Generation to the canary's weight in it; rows of other generations are ignored.
        canary: Which of the two arms it is; every other version is stable.
        slice_keys: By what traffic is cut.
    """
    if matured.through <= cohort.read_through:
        return cohort
    added = _Added(cohort, canary, slice_keys)
    for (generation, version), count in matured.drawn.items():
        if generation in canary_weight_bp:
            added.draw(canary_weight_bp[generation], version, count)
    for row in sorted(matured.rows, key=lambda row: (row.second, row.exchange)):
        found = loss(cohort.metric, row)
        if found is not None and row.generation in canary_weight_bp:
            another = None if row.another is None else loss(cohort.metric, row._replace(label=row.another))
            added.label(canary_weight_bp[row.generation], row, found, another)
    return replace(
        cohort,
        read_through=matured.through,
        by_weight=added.by_weight(missing_is_bad=cohort.metric.missing is Missing.BAD),
        slices={name: dict(epochs) for name, epochs in added.slices.items()},
        disagreed=cohort.disagreed + matured.disagreed,
    )


class _Added:
    """A cohort while rows are added to it: [weight][is canary]."""

    def __init__(self, cohort: Cohort, canary: VersionName, slice_keys: Iterable[SliceKey]) -> None:
        self._canary = canary
        self._drawn: dict[tuple[int, bool], int] = {}
        self._sums: dict[tuple[int, bool], dict[str, LossSums]] = {}
        self._seconded: dict[tuple[int, bool], dict[str, LossSums]] = {}
        self._sources = set(cohort.sources)
        self._most = {key.name: key.values_max for key in slice_keys}
        self.slices: dict[str, dict[int, SliceEpoch]] = {name: dict(of) for name, of in cohort.slices.items()}
        for weight_bp, epoch in cohort.by_weight.items():
            for is_canary, arm in ((True, epoch.canary), (False, epoch.stable)):
                self._drawn[weight_bp, is_canary] = arm.drawn
                self._seconded[weight_bp, is_canary] = dict(arm.seconded)
                # What is missing is told anew from what was drawn and what was labelled.
                self._sums[weight_bp, is_canary] = {
                    source: sums for source, sums in arm.by_source.items() if source != MISSING
                }

    def draw(self, weight_bp: int, version: VersionName, count: int) -> None:
        place = (weight_bp, version == self._canary)
        self._drawn[place] = self._drawn.get(place, 0) + count

    def label(self, weight_bp: int, row: Labelled, found: Loss, another: Loss | None) -> None:
        is_canary = row.version == self._canary
        one = sums_of((found,))
        by_source = self._sums.setdefault((weight_bp, is_canary), {})
        source = self._source(row.source)
        by_source[source] = by_source.get(source, LossSums()).plus(one)
        if another is not None:
            seconded = self._seconded.setdefault((weight_bp, is_canary), {})
            seconded[source] = seconded.get(source, LossSums()).plus(sums_of((another,)))
        for key, value in row.slices.items():
            if key in self._most:
                self._cut(f"{key}={self._told_apart(key, value)}", weight_bp, one, is_canary=is_canary)

    def _source(self, source: str) -> str:
        """The source, while there is room to tell one more apart."""
        if len(self._sources) < SOURCES_MAX:
            self._sources.add(source)
        return source if source in self._sources else OTHER

    def _told_apart(self, key: str, value: str) -> str:
        known = {name for name in self.slices if name.startswith(f"{key}=")} - {f"{key}={OTHER}"}
        return value if f"{key}={value}" in known or len(known) < self._most[key] else OTHER

    def _cut(self, name: str, weight_bp: int, one: LossSums, *, is_canary: bool) -> None:
        epochs = self.slices.setdefault(name, {})
        epoch = epochs.get(weight_bp, SliceEpoch())
        if is_canary:
            epochs[weight_bp] = SliceEpoch(epoch.canary.plus(one), epoch.stable)
        else:
            epochs[weight_bp] = SliceEpoch(epoch.canary, epoch.stable.plus(one))

    def by_weight(self, *, missing_is_bad: bool) -> Mapping[int, CohortEpoch]:
        weights = {weight_bp for weight_bp, _ in (*self._drawn, *self._sums)}
        return {
            weight_bp: CohortEpoch(*(self._arm(weight_bp, is_canary, missing_is_bad) for is_canary in (True, False)))
            for weight_bp in sorted(weights)
        }

    def _arm(self, weight_bp: int, is_canary: bool, missing_is_bad: bool) -> CohortArm:
        drawn = self._drawn.get((weight_bp, is_canary), 0)
        by_source = dict(self._sums.get((weight_bp, is_canary), {}))
        lacking = drawn - sum(sums.n for sums in by_source.values())
        if missing_is_bad and lacking > 0:
            by_source[MISSING] = LossSums(*(lacking * each for each in sums_of((_ALL_BAD,))))
        return CohortArm(drawn, by_source, self._seconded.get((weight_bp, is_canary), {}))
