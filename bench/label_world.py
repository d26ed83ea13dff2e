"""A world whose labels come late, and from whoever sends them: delays that depend on the label, sources that lie.

Rule: as in `world`, the product decides and the world only draws. Time may be compressed: nothing here knows hours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.domain.catalog.declarations import Missing, QualityKind, QualityMetric
from app.domain.catalog.models import VersionName
from app.domain.catalog.policy import Policy
from app.domain.evidence.absorb_cohort import Matured, absorb_cohort
from app.domain.evidence.cohort import MISSING, Cohort, CohortArm, CohortEpoch, LossSums
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.loss import Labelled
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow
from bench.world import CANARY, MODEL, STABLE, START_S, Arm, Setting, World

Flags: TypeAlias = NDArray[np.bool_]
_LEAST_REFERENCE = 0.001


class Told(StrEnum):
    """What a source says of an answer."""

    TRUTH = "truth"
    CANARY_WRONG = "canary_wrong"  # every answer of the canary is wrong, every one of stable's right
    CANARY_RIGHT = "canary_right"  # the other way round


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends labels.

    Attributes:
        share: Of all exchanges; the shares sum to 1 at most, what is left has no label.
    """

    name: str
    share: float
    told: Told = Told.TRUTH


@dataclass(frozen=True, slots=True)
class LabelSetting:
    """What is played.

    Attributes:
        metric: Accuracy, or an event; of an event a wrong answer is one after which it did not happen.
        stable_wrong, canary_wrong: Shares of wrong answers.
        sooner_s: Mean time, exponential, until a wrong answer is told, or that an event has happened.
        later_s: Time until a right one is, or that none has happened; None never tells it.
    """

    metric: QualityMetric
    stable_wrong: float
    canary_wrong: float
    exchanges_per_s: float
    policy: Policy
    sources: tuple[Source, ...] = (Source("ops", 1.0),)
    sooner_s: float = 0.0
    later_s: float | None = 0.0
    error_rate: float = 0.01

    @property
    def is_healthy(self) -> bool:
        """Whether the canary is no worse."""
        return self.canary_wrong <= self.stable_wrong

    @property
    def reference(self) -> float:
        """Stable's loss before the start, as the product would have measured it."""
        return max(self.stable_wrong, _LEAST_REFERENCE)


class Answers(NamedTuple):
    """One arm's answers of one second.

    Attributes:
        drawn: Exchanges, those that ended badly among them.
        said_wrong: Of each label that will ever come, whether it says wrong.
        after_s: When, in seconds after the draw.
        source: Place of its source in the setting.
    """

    generation: int
    version: VersionName
    drawn: int
    said_wrong: Flags
    after_s: NDArray[np.float64]
    source: NDArray[np.int64]


def answers(setting: LabelSetting, generation: int, version: VersionName, n: int, rng: np.random.Generator) -> Answers:
    """What comes of `n` exchanges that one version answered well, and when."""
    is_canary = version == CANARY
    wrong = rng.random(n) < (setting.canary_wrong if is_canary else setting.stable_wrong)
    after_s = _delays(setting, wrong, rng)
    shares = [source.share for source in setting.sources]
    source = rng.choice(len(shares) + 1, size=n, p=[*shares, max(0.0, 1.0 - sum(shares))])
    for place, each in enumerate(setting.sources):
        if each.told is not Told.TRUTH:
            wrong = np.where(source == place, is_canary == (each.told is Told.CANARY_WRONG), wrong)
    comes = (source < len(shares)) & np.isfinite(after_s)
    return Answers(generation, version, n, wrong[comes], after_s[comes], source[comes])


def _delays(setting: LabelSetting, wrong: Flags, rng: np.random.Generator) -> NDArray[np.float64]:
    """A label comes as the truth is known, whatever its source makes of it."""
    sooner = rng.exponential(setting.sooner_s, len(wrong))
    later = np.full(len(wrong), np.inf if setting.later_s is None else setting.later_s)
    # What is told of an event is that it happened.
    told_sooner = ~wrong if setting.metric.kind is QualityKind.EVENT else wrong
    return np.where(told_sooner, sooner, later)


def rows(setting: LabelSetting, second: int, of_second: list[Answers]) -> Iterator[Labelled]:
    """The labels that have come when their second matures."""
    for part in of_second:
        within = part.after_s <= setting.metric.horizon_s
        sources, wrong = part.source[within].tolist(), part.said_wrong[within].tolist()
        for place, (source, is_wrong) in enumerate(zip(sources, wrong, strict=True)):
            yield _row(setting, second, part, place, setting.sources[source].name, is_wrong=is_wrong)


def _row(setting: LabelSetting, second: int, part: Answers, place: int, source: str, *, is_wrong: bool) -> Labelled:
    exchange = f"{second:016x}{part.version == CANARY:08x}{place:08x}"
    predictions: tuple[str, ...] = ("0" if is_wrong else "1",)
    label = "1"
    if setting.metric.kind is QualityKind.EVENT:
        label, predictions = predictions[0], ()
    return Labelled(exchange, part.version, part.generation, START_S + second, source, label, predictions)


class LabelWorld(World):
    """One rollout of a model whose labels come late, played second by second."""

    def __init__(self, setting: LabelSetting, rng: np.random.Generator) -> None:
        self._labels = setting
        self._waiting: dict[int, list[Answers]] = {}
        arm = Arm(setting.error_rate)
        super().__init__(Setting(arm, arm, setting.exchanges_per_s, setting.policy), rng)
        evidence = self.rollout.evidence
        self.rollout = replace(self.rollout, evidence=with_cohort(evidence, begun(setting)))

    def read(self, second: int) -> Evidence:
        """Outcomes at once; labels of the second whose horizon has passed."""
        evidence = super().read(second)
        due = second - int(self._labels.metric.horizon_s)
        if due < 0:
            return evidence
        cohort = evidence.of_model.cohorts[self._labels.metric.name]
        ripe = self._waiting.pop(due, [])
        return with_cohort(evidence, ripened(self._labels, cohort, due, ripe, self.weights_bp))

    def draw(self, second: int) -> Iterator[TallyRow]:
        """Both arms' answers to the requests of one second."""
        exchanges = int(self.rng.poisson(self._labels.exchanges_per_s))
        drawn = int(self.rng.binomial(exchanges, self.canary_share()))
        for version, n in ((STABLE, exchanges - drawn), (CANARY, drawn)):
            if n:
                bad = int(self.rng.binomial(n, self._labels.error_rate))
                labelled = answers(self._labels, self.generation, version, n - bad, self.rng)
                self._waiting.setdefault(second, []).append(labelled._replace(drawn=n))
                key = TallyKey(START_S + second, MODEL, self.generation, version)
                outcomes = {Outcome.UPSTREAM_ERROR: bad, Outcome.OK: n - bad}
                yield TallyRow(key, Tally(n, {outcome: count for outcome, count in outcomes.items() if count}), 1)


def begun(setting: LabelSetting) -> Cohort:
    """The cohort before the first exchange."""
    return Cohort(setting.metric, START_S - 1, setting.reference)


def with_cohort(evidence: Evidence, cohort: Cohort) -> Evidence:
    """The evidence with the one cohort as it is now."""
    return replace(evidence, of_model=replace(evidence.of_model, cohorts={cohort.metric.name: cohort}))


def ripened(
    setting: LabelSetting, cohort: Cohort, second: int, ripe: list[Answers], weights_bp: Mapping[int, int]
) -> Cohort:
    """The cohort with one more second that has matured, by the product's own rule."""
    drawn = {(part.generation, part.version): part.drawn for part in ripe}
    more = Matured(tuple(rows(setting, second, ripe)), drawn, START_S + second)
    return absorb_cohort(cohort, more, weights_bp, CANARY)


def counted(setting: LabelSetting, cohort: Cohort, ripe: list[Answers], weights_bp: Mapping[int, int]) -> Cohort:
    """As `ripened`, by counting in place of going through every label: for simulations of many runs."""
    by_weight = dict(cohort.by_weight)
    for part in ripe:
        weight_bp = weights_bp[part.generation]
        epoch = by_weight.get(weight_bp, CohortEpoch())
        if part.version == CANARY:
            by_weight[weight_bp] = CohortEpoch(_counted(setting, epoch.canary, part), epoch.stable)
        else:
            by_weight[weight_bp] = CohortEpoch(epoch.canary, _counted(setting, epoch.stable, part))
    return replace(cohort, by_weight=by_weight)


def _counted(setting: LabelSetting, arm: CohortArm, part: Answers) -> CohortArm:
    within = part.after_s <= setting.metric.horizon_s
    size = len(setting.sources)
    known = np.bincount(part.source[within], minlength=size).tolist()
    wrong = np.bincount(part.source[within & part.said_wrong], minlength=size).tolist()
    by_source = {source: sums for source, sums in arm.by_source.items() if source != MISSING}
    for source, n, a in zip(setting.sources, known, wrong, strict=True):
        if n:
            by_source[source.name] = by_source.get(source.name, LossSums()).plus(_binary(n, a))
    drawn = arm.drawn + part.drawn
    lacking = drawn - sum(sums.n for sums in by_source.values())
    if setting.metric.missing is Missing.BAD and lacking > 0:
        by_source[MISSING] = _binary(lacking, lacking)
    return CohortArm(drawn, by_source)


def _binary(n: float, a: float) -> LossSums:
    """An answer is wrong or not, so all sums of losses are their number."""
    return LossSums(n, a, n, a, a, n)
