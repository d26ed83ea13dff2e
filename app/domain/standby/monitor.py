"""After a promotion: whether the version before it, which keeps a little of the traffic, would be better today.

Rule: both versions answer the same hours by one coin, so a worse hour for both is no decay; a second is
read once, and for both at once. Nothing of before the promotion is compared with what came after it.

Bad answers and each quality metric have a detector of their own (`label_monitor`); what is held against the limit is
their mean, which is an e-detector as they are, so that one promise covers them all. Of a metric that several sources
label it is the least that is left without any one of them, and in doubt about the coverage at most 1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from math import exp, inf, log
from typing import NamedTuple

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.cohort import Cohort
from app.domain.evidence.recent import Lately
from app.domain.evidence.tally import Horizon, TallyRow, flaw_of
from app.domain.guardrails.common_cause import is_canary_troubled, troubled_stable
from app.domain.guardrails.errors import exposure_guardrail
from app.domain.guardrails.finding import Cause
from app.domain.guardrails.phrases import percent
from app.domain.guardrails.split import labelled_alike
from app.domain.rollout.rollout import Rollout, RolloutId, later
from app.domain.rollout.wording import span_text
from app.domain.stats.e_detector import Detector, after_bucket, beside_standby, log_alarm, unalarmed
from app.domain.stats.eprocess import WORSE, Outcomes, log_sum_exp

# A busy model is looked at in minutes, any other in hours: fixed when the watch begins.
BUSY_PER_S = 1.0
BUSY_BUCKET_S = 60
QUIET_BUCKET_S = 3_600
# On average at most one false alarm in ten years of buckets, so at most one in 3,652 watches of a day.
FALSE_ALARM_S = 10 * 365.25 * 86_400.0

ANSWERS = "answers"
"""The suspicion by bad answers: errors and timeouts; others have the name of a quality metric."""


class EndedBy(StrEnum):
    """Why a standby gets no more traffic."""

    TIME = "time"  # it was not better in all that time
    DECAY = "decay"  # it was, and is stable again
    ROLLBACK = "rollback"  # a person made it stable again
    ROLLOUT = "rollout"  # another canary was started
    ROUTE = "route"  # a person set the weights


class Seen(NamedTuple):
    """Answers of one version that say something about it, and the bad ones among them; labels may say so in part."""

    judged: int = 0
    bad: float = 0

    def plus(self, more: "Seen") -> "Seen":
        """Both together."""
        return Seen(self.judged + more.judged, self.bad + more.bad)


class Pair(NamedTuple):
    """Both versions in one second."""

    second: int
    stable: Seen
    standby: Seen


_NOTHING = Seen()
_FRESH = unalarmed(WORSE)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One e-detector: evidence, by one kind of bad answer, that stable has become worse than the standby.

    Attributes:
        read_through: Last second already read.
        bucket: Which bucket is under way, counted from the watch's start.
        whole: The detector after the buckets before it; those without a bad answer do not count.
        stable, standby: Of the bucket under way.
        stable_total, standby_total: Of the whole watch.
        without: Of a quality metric: who gave labels, to the same without them.
    """

    read_through: int
    bucket: int = 0
    whole: Detector = _FRESH
    stable: Seen = _NOTHING
    standby: Seen = _NOTHING
    stable_total: Seen = _NOTHING
    standby_total: Seen = _NOTHING
    without: Mapping[str, "Suspicion"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WatchedMetric:
    """A quality metric that is watched by.

    Attributes:
        cohort: Its matured labels since the promotion; stable has the canary's place in it.
        acts: As `Watch.acts`, of its own guardrail.
    """

    cohort: Cohort
    acts: bool


@dataclass(frozen=True, slots=True)
class Watch:  # ADR 0107
    """A promoted version and the standby beside it.

    Attributes:
        stable, standby: The promoted version, and the one it took the place of.
        until: When the standby's traffic ends by itself.
        bucket_s: Length of a bucket in seconds.
        acts: Whether proof of decay turns back, as the policy's errors guardrail would have; else it is told.
        suspicions: By kind of bad answer: `ANSWERS`, or the name of a quality metric.
        metrics: By their names.
        lately: What both did of late, the standby in the canary's place; a bad rate is usual as before the rollout.
        told: What was found and told already.
    """

    rollout_id: RolloutId
    model: ModelName
    stable: VersionName
    standby: VersionName
    standby_bp: int
    started_at: datetime
    until: datetime
    bucket_s: int
    acts: bool
    suspicions: Mapping[str, Suspicion]
    lately: Lately = field(default_factory=Lately)
    told: tuple[Cause, ...] = ()
    metrics: Mapping[str, WatchedMetric] = field(default_factory=dict)

    @property
    def weight(self) -> float:
        """Chance that an exchange was drawn for stable."""
        return 1.0 - self.standby_bp / FULL_BP

    @property
    def weight_bp(self) -> int:
        """The same in basis points."""
        return FULL_BP - self.standby_bp

    @property
    def log_limit(self) -> float:
        """The alarm: log A, A the buckets in which one false alarm is allowed on average."""
        return log(FALSE_ALARM_S / self.bucket_s)

    @property
    def acting(self) -> tuple[str, ...]:
        """Kinds of bad answers of which a proof turns back."""
        by_labels = tuple(name for name, each in self.metrics.items() if each.acts)
        return (ANSWERS, *by_labels) if self.acts else by_labels

    @property
    def log_m(self) -> float:
        """Log of the mean of the detectors that may turn back, in the middle of a bucket too; of all where none may."""
        return _log_mean(self, self.acting or tuple(self.suspicions))


@dataclass(frozen=True, slots=True)
class WatchStep:
    """What one look makes of a watch.

    Attributes:
        ended_by: TIME or DECAY; None while it goes on.
        sentence: Why it ended, or what was found; empty when nothing was.
        found: Trouble of both or decay, when it is new and nothing but telling follows.
        numbers: JSON values.
    """

    watch: Watch
    ended_by: EndedBy | None = None
    sentence: str = ""
    found: Cause | None = None
    numbers: Mapping[str, object] = field(default_factory=dict)


def begun(rollout: Rollout, standby_bp: int, now: datetime) -> Watch:
    """The watch over a rollout that was promoted now."""
    evidence = rollout.evidence
    read_through = max(int(now.timestamp()) - 1, evidence.read_through[Horizon.STATUS])
    metrics = _watched_metrics(rollout, read_through)
    per_s = max(evidence.exchanges_per_s, evidence.usual_per_s or 0.0)
    return Watch(
        rollout_id=rollout.id,
        model=rollout.model,
        stable=rollout.canary,
        standby=rollout.stable,
        standby_bp=standby_bp,
        started_at=now,
        until=later(now, rollout.policy.watch_s),
        bucket_s=BUSY_BUCKET_S if per_s >= BUSY_PER_S else QUIET_BUCKET_S,
        acts=exposure_guardrail(rollout.policy).turns_back,
        suspicions={kind: Suspicion(read_through) for kind in (ANSWERS, *metrics)},
        lately=Lately(usual_rate=evidence.lately.usual_rate),
        metrics=metrics,
    )


def _watched_metrics(rollout: Rollout, read_through: int) -> Mapping[str, WatchedMetric]:
    """Those that judged the rollout, but for the ones whose denominator the version itself chooses."""
    cohorts = rollout.evidence.of_model.cohorts
    named = [(each, cohorts.get(each.of or "")) for each in rollout.policy.guardrails]
    return {
        cohort.metric.name: WatchedMetric(Cohort(cohort.metric, read_through, cohort.reference), each.turns_back)
        for each, cohort in named
        if cohort is not None and not cohort.metric.chooses_its_own
    }


def absorbed(watch: Watch, rows: Iterable[TallyRow], mature_s: int) -> Watch:
    """The watch with the rows of every second that became mature.

    Args:
        rows: Of both versions, drawn with the watch's own weights, of seconds above what was read and at
            most `mature_s`; others are ignored. A second with counts that cannot be is left out, of both.
        mature_s: The newest second that is final on every live replica.
    """
    answers = watch.suspicions[ANSWERS]
    span = sorted(
        (
            row
            for row in rows
            if answers.read_through < row.key.second <= mature_s and row.key.version in {watch.stable, watch.standby}
        ),
        key=_second,
    )
    seconds = [list(of_second) for _, of_second in groupby(span, key=_second)]
    sound = [of_second for of_second in seconds if not any(flaw_of(row.tally) for row in of_second)]
    pairs = [_pair(watch, of_second) for of_second in sound]
    read = read_pairs(watch, ANSWERS, pairs, mature_s)
    return replace(read, lately=watch.lately.after((row for rows in sound for row in rows), watch.standby))


def read_pairs(watch: Watch, kind: str, pairs: Sequence[Pair], through: int) -> Watch:
    """The watch with these seconds of one kind of bad answer, in the order of time, read up to `through`."""
    suspicion = watch.suspicions[kind]
    for pair in pairs:
        suspicion = with_pair(watch, suspicion, pair)
    read = replace(suspicion, read_through=max(suspicion.read_through, through))
    return replace(watch, suspicions={**watch.suspicions, kind: read})


def with_pair(watch: Watch, suspicion: Suspicion, pair: Pair) -> Suspicion:
    """The detector with what both versions did in the pair's second, or in those since the pair before."""
    bucket = (pair.second - int(watch.started_at.timestamp())) // watch.bucket_s
    if bucket > suspicion.bucket:
        closed = _now(watch, suspicion)
        suspicion = replace(suspicion, bucket=bucket, whole=closed, stable=_NOTHING, standby=_NOTHING)
    return replace(
        suspicion,
        stable=suspicion.stable.plus(pair.stable),
        standby=suspicion.standby.plus(pair.standby),
        stable_total=suspicion.stable_total.plus(pair.stable),
        standby_total=suspicion.standby_total.plus(pair.standby),
    )


def _now(watch: Watch, suspicion: Suspicion) -> Detector:
    """The detector as it stands within its bucket.

    (1 + M) times the factors of the bucket so far is at any moment what it may be at the bucket's end, so an
    alarm need not wait for that: its average wait is A begun buckets all the same.
    """
    if suspicion.stable.bad + suspicion.standby.bad == 0:
        return suspicion.whole
    bucket = Outcomes(watch.weight, suspicion.stable.bad, suspicion.standby.bad)
    return after_bucket(suspicion.whole, beside_standby(bucket, WORSE))


def _log_mean(watch: Watch, kinds: Sequence[str]) -> float:
    return log_sum_exp([_log_m(watch, kind) for kind in kinds]) - log(len(kinds))


def _log_m(watch: Watch, kind: str) -> float:
    """The detector of one kind of bad answer."""
    suspicion = watch.suspicions[kind]
    log_m = log_alarm(_now(watch, suspicion))
    if kind not in watch.metrics:
        return log_m
    if len(suspicion.without) > 1:
        log_m = min(log_m, *(log_alarm(_now(watch, each)) for each in suspicion.without.values()))
    return labelled_alike(watch.metrics[kind].cohort).harm(log_m)


def _pair(watch: Watch, of_second: Sequence[TallyRow]) -> Pair:
    seen = {watch.stable: _NOTHING, watch.standby: _NOTHING}
    for row in of_second:
        tally = row.tally
        seen[row.key.version] = seen[row.key.version].plus(Seen(tally.judged, tally.errors + tally.timeouts))
    return Pair(of_second[0].key.second, seen[watch.stable], seen[watch.standby])


def _second(row: TallyRow) -> int:
    return row.key.second


def judged(watch: Watch, now: datetime) -> WatchStep:
    """What follows from what was read; all of it is in the watch, so a stored one can be judged again."""
    acting = watch.acting
    told_only = [kind for kind in watch.suspicions if kind not in acting]
    if acting and _log_mean(watch, acting) >= watch.log_limit:
        sentence = f"Turned {watch.stable} back: {_clause(watch, acting)}."
        return WatchStep(watch, EndedBy.DECAY, sentence, None, _numbers(watch))
    if now >= watch.until:
        return WatchStep(watch, EndedBy.TIME, _over(watch, now), None, _numbers(watch))
    has_decayed = bool(told_only) and _log_mean(watch, told_only) >= watch.log_limit
    found = {Cause.DECAY: has_decayed, Cause.EXTERNAL: _is_external(watch)}
    sentences = {
        Cause.DECAY: _stays(watch, told_only) if has_decayed else "",
        Cause.EXTERNAL: f"{watch.stable} and {watch.standby} got worse together: the cause lies outside of both.",
    }
    standing = tuple(name for name, is_so in found.items() if is_so)
    new = next((name for name in standing if name not in watch.told), None)
    return WatchStep(replace(watch, told=standing), None, sentences[new] if new else "", new, _numbers(watch))


def _is_external(watch: Watch) -> bool:
    """Whether both are far above the rate of bad answers that was usual before the rollout."""
    worse = troubled_stable(watch.lately)
    return worse is not None and is_canary_troubled(watch.lately, worse.limit)


def _heaviest(watch: Watch, kinds: Sequence[str]) -> str:
    return max(kinds, key=lambda kind: _log_m(watch, kind))


def _stays(watch: Watch, kinds: Sequence[str]) -> str:
    kind = _heaviest(watch, kinds)
    whose = "errors" if kind == ANSWERS else f"labels of {kind}"
    return f"{watch.stable} has decayed and stays, as its {whose} do not turn back: {_clause(watch, kinds)}."


def _clause(watch: Watch, kinds: Sequence[str]) -> str:
    kind = _heaviest(watch, kinds)
    answers, noun = ("answers", "bad") if kind == ANSWERS else ("labelled answers", f"bad by {kind}")
    stable, standby = watch.suspicions[kind].stable_total, watch.suspicions[kind].standby_total
    return (
        f"{watch.standby} would be better today: since the promotion {percent(_rate(stable))} of {watch.stable}'s "
        f"{stable.judged:,} {answers} were {noun}, {percent(_rate(standby))} of {watch.standby}'s {standby.judged:,}; "
        f"evidence {exp(min(_log_mean(watch, kinds), 50.0)):,.0f} of {exp(watch.log_limit):,.0f} needed, "
        "in vain at most once in ten years on average"
    )


def _over(watch: Watch, now: datetime) -> str:
    answers = watch.suspicions[ANSWERS].standby_total.judged
    unlabelled = [name for name in watch.metrics if not watch.suspicions[name].stable_total.judged]
    sentence = (
        f"{watch.stable} goes on alone: {watch.standby} gave {answers:,} answers beside it for "
        f"{span_text((now - watch.started_at).total_seconds())} and was not proven better."
    )
    if not unlabelled:
        return sentence
    return f"{sentence} No label of {', '.join(unlabelled)} was old enough by then."


def _rate(seen: Seen) -> float:
    return seen.bad / seen.judged if seen.judged else 0.0


def _numbers(watch: Watch) -> Mapping[str, object]:
    return {
        "log_m": _or_none(watch.log_m),
        "log_limit": watch.log_limit,
        "bucket_s": watch.bucket_s,
        "standby_bp": watch.standby_bp,
        "suspicions": {
            kind: {
                "log_m": _or_none(log_alarm(_now(watch, suspicion))),
                "stable_answers": suspicion.stable_total.judged,
                "stable_bad": suspicion.stable_total.bad,
                "standby_answers": suspicion.standby_total.judged,
                "standby_bad": suspicion.standby_total.bad,
            }
            for kind, suspicion in watch.suspicions.items()
        },
    }


def _or_none(logarithm: float) -> float | None:
    """JSON has no number for the logarithm of nothing."""
    return None if logarithm == -inf else logarithm
