"""A world whose answers are read: slices, flaws, labels and predictions through the product's own judges.

Rule: as in `world`, the product decides and the world only draws. Labels come `LABEL_S` seconds after the draw, for
every exchange; a distribution is read when its ten seconds are over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from app.domain.catalog.declarations import QualityKind, QualityMetric, SliceKey
from app.domain.catalog.policy import Policy
from app.domain.evidence.absorb_observed import absorb_observed
from app.domain.evidence.cohort import Cohort, CohortArm, CohortEpoch, LossSums, SliceEpoch
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.model_evidence import ModelEvidence, SpreadEpoch
from app.domain.evidence.observed import SPREAD_S, Observed, ObservedRow, SliceCounts
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow
from app.domain.stats.histogram import Histogram, Spread
from bench.world import CANARY, MODEL, STABLE, START_S, Arm, Setting, World

LABEL_S = 10
ON_TIME = QualityMetric("on_time", QualityKind.ACCURACY, horizon_s=float(LABEL_S))
_USUAL = 10_000


@dataclass(frozen=True, slots=True)
class Model:
    """How a version answers in each slice, and what it predicts.

    Attributes:
        errors, wrong: Rates by slice, in the order of the traffic's shares.
        classes: Label to its share; empty predicts nothing.
    """

    errors: tuple[float, ...]
    wrong: tuple[float, ...]
    classes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelSetting:
    """What is played.

    Attributes:
        shares: Of the traffic by slice; they sum to 1.
        labelled: Whether labels come back.
    """

    stable: Model
    canary: Model
    shares: tuple[float, ...]
    exchanges_per_s: float
    policy: Policy
    labelled: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The slices' values."""
        return tuple(f"c{place:03}" for place in range(len(self.shares)))


class _Second(NamedTuple):
    """One arm's second: exchanges, errors and wrong answers by slice, and predictions by label."""

    weight_bp: int
    is_canary: bool
    n: list[int]
    wrong: list[int]


class ModelWorld(World):
    """One rollout of a model whose answers are read, played second by second."""

    def __init__(self, setting: ModelSetting, rng: np.random.Generator) -> None:
        self._model = setting
        self._waiting: dict[int, list[_Second]] = {}
        self._read: list[ObservedRow] = []
        self._spreads: dict[int, dict[int, SpreadEpoch]] = {}
        stable, canary = (
            Arm(float(np.dot(setting.shares, model.errors))) for model in (setting.stable, setting.canary)
        )
        super().__init__(Setting(stable, canary, setting.exchanges_per_s, setting.policy), rng)
        cohorts = {ON_TIME.name: Cohort(ON_TIME, START_S - 1, self._reference())} if setting.labelled else {}
        of_model = ModelEvidence(
            cohorts=cohorts,
            usual=_spread(setting.stable, rng, _USUAL),
            slice_keys=(SliceKey("carrier", header="x-carrier", values_max=len(setting.shares)),),
        )
        self.rollout = replace(self.rollout, evidence=replace(self.rollout.evidence, of_model=of_model))

    def _reference(self) -> float:
        return min(max(float(np.dot(self._model.shares, self._model.stable.wrong)), 0.001), 0.99)

    def read(self, second: int) -> Evidence:
        """Outcomes at once, with what was read of the answers; labels and distributions as they come."""
        evidence = super().read(second)
        evidence = absorb_observed(evidence, self._read, self.weights_bp, START_S + second)
        self._read = []
        due = self._waiting.pop(second - LABEL_S, [])
        cohorts = {name: _labelled(cohort, due, self._model) for name, cohort in evidence.of_model.cohorts.items()}
        spreads = evidence.of_model.spreads
        if (second + 1) % SPREAD_S == 0:
            spreads = _added(spreads, self._spreads.pop(second // SPREAD_S, {}))
        return replace(evidence, of_model=replace(evidence.of_model, cohorts=cohorts, spreads=spreads))

    def draw(self, second: int) -> Iterator[TallyRow]:
        """Both arms' answers to the requests of one second, slice by slice."""
        exchanges = int(self.rng.poisson(self._model.exchanges_per_s))
        drawn = int(self.rng.binomial(exchanges, self.canary_share()))
        for version, model, n in ((STABLE, self._model.stable, exchanges - drawn), (CANARY, self._model.canary, drawn)):
            if n:
                yield self._answered(second, TallyKey(START_S + second, MODEL, self.generation, version), model, n)

    def _answered(self, second: int, key: TallyKey, model: Model, n: int) -> TallyRow:
        by_slice = self.rng.multinomial(n, self._model.shares)
        errors = self.rng.binomial(by_slice, model.errors)
        wrong = self.rng.binomial(by_slice - errors, model.wrong)
        slices = {
            name: SliceCounts(int(here), int(bad), int(here - bad), 0)
            for name, here, bad in zip(self._model.names, by_slice, errors, strict=True)
            if here
        }
        bad = int(errors.sum())
        self._read.append(ObservedRow(key, Observed(n, bad, n - bad, 0, slices={"carrier": slices}), 1))
        weight_bp, is_canary = self.weights_bp[self.generation], key.version == CANARY
        self._waiting.setdefault(second, []).append(
            _Second(weight_bp, is_canary, (by_slice - errors).tolist(), wrong.tolist())
        )
        here = self._spreads.setdefault(second // SPREAD_S, {})
        here[weight_bp] = _plus(here.get(weight_bp, SpreadEpoch()), _spread(model, self.rng, n - bad), canary=is_canary)
        outcomes = {Outcome.UPSTREAM_ERROR: bad, Outcome.OK: n - bad}
        return TallyRow(key, Tally(n, {outcome: count for outcome, count in outcomes.items() if count}), 1)


def _spread(model: Model, rng: np.random.Generator, n: int) -> Spread:
    if not model.classes:
        return Spread()
    counts = rng.multinomial(n, list(model.classes.values()))
    return Spread(Histogram(labels={label: int(c) for label, c in zip(model.classes, counts, strict=True) if c}))


def _plus(epoch: SpreadEpoch, spread: Spread, *, canary: bool) -> SpreadEpoch:
    if canary:
        return SpreadEpoch(epoch.canary + spread, epoch.stable)
    return SpreadEpoch(epoch.canary, epoch.stable + spread)


def _added(spreads: Mapping[int, SpreadEpoch], more: Mapping[int, SpreadEpoch]) -> Mapping[int, SpreadEpoch]:
    total = dict(spreads)
    for weight_bp, epoch in more.items():
        before = total.get(weight_bp, SpreadEpoch())
        total[weight_bp] = SpreadEpoch(before.canary + epoch.canary, before.stable + epoch.stable)
    return total


def _labelled(cohort: Cohort, due: list[_Second], setting: ModelSetting) -> Cohort:
    """With the labels of one second: an answer is wrong or not, so all sums of losses are their number."""
    by_weight, slices = dict(cohort.by_weight), {key: dict(epochs) for key, epochs in cohort.slices.items()}
    for each in due:
        losses = [LossSums(n, a, n, a, a, n) for n, a in zip(each.n, each.wrong, strict=True)]
        whole = LossSums(*map(sum, zip(*losses, strict=True)))
        epoch = by_weight.get(each.weight_bp, CohortEpoch())
        arm = epoch.canary if each.is_canary else epoch.stable
        arm = CohortArm(arm.drawn + int(whole.n), {"ops": arm.by_source.get("ops", LossSums()).plus(whole)})
        by_weight[each.weight_bp] = replace(epoch, **{"canary" if each.is_canary else "stable": arm})
        for name, more in zip(setting.names, losses, strict=True):
            if more.n:
                epochs = slices.setdefault(f"carrier={name}", {})
                canary, stable = epochs.get(each.weight_bp, SliceEpoch())
                both = (canary.plus(more), stable) if each.is_canary else (canary, stable.plus(more))
                epochs[each.weight_bp] = SliceEpoch(*both)
    return replace(cohort, by_weight=by_weight, slices=slices)
