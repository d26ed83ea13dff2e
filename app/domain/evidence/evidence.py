"""The evidence ledger: both arms' counts by canary weight, and up to where they were read.

Rule: a second is read once per horizon and for both arms at once, so rows may come in any
order and reading them again changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from math import ceil
from operator import add
from typing import ClassVar

from app.domain.catalog.models import VersionName
from app.domain.evidence.model_evidence import ModelEvidence
from app.domain.evidence.recent import LEAST_REFERENCE, MIN_REFERENCE, Lately
from app.domain.evidence.tally import Horizon, Outcome, Tally, TallyRow, Watermark, errors_of, flaw_of
from app.domain.stats.histogram import add_counts
from app.domain.stats.latency_histogram import bin_reaching, count_from, edge_us, quantile_bin

RECENT_S = 10
_TIMEOUT, _CANCELLED = Outcome.TIMEOUT, Outcome.CANCELLED


@dataclass(frozen=True)
class ArmCounts:  # ADR 0151
    """What one arm did at one weight.

    Attributes:
        drawn: Exchanges, of seconds mature for outcomes.
        outcomes: The ended ones of them, by outcome.
        timed: Answers with a latency, of seconds after the thresholds were frozen.
        slow: Of those, how many were slow, one count per threshold.
        awaited: All exchanges of those seconds, whether their latency came or not.
        ended, judged, errors, timeouts, bad: Derived: all outcomes, those that say something about the version, wrong
            or missing answers, late ones, and both of these.
    """

    drawn: int = 0
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)
    timed: int = 0
    slow: tuple[int, ...] = ()
    awaited: int = 0
    ended: ClassVar[int]
    judged: ClassVar[int]
    errors: ClassVar[int]
    timeouts: ClassVar[int]
    bad: ClassVar[int]

    def __post_init__(self) -> None:
        # A look reads each of them dozens of times; they are no fields, as what is derived is not stored.
        outcomes, remember = self.outcomes, partial(object.__setattr__, self)
        ended, errors, timeouts = sum(outcomes.values()), errors_of(outcomes), outcomes.get(_TIMEOUT, 0)
        remember("ended", ended)
        remember("judged", ended - outcomes.get(_CANCELLED, 0))
        remember("errors", errors)
        remember("timeouts", timeouts)
        remember("bad", errors + timeouts)

    def __add__(self, other: "ArmCounts") -> "ArmCounts":
        return ArmCounts(
            self.drawn + other.drawn,
            add_counts(self.outcomes, other.outcomes),
            self.timed + other.timed,
            tuple(map(add, self.slow, other.slow)) if self.slow and other.slow else self.slow or other.slow,
            self.awaited + other.awaited,
        )

    @property
    def untimed(self) -> int:
        """Exchanges whose latency should have come and did not."""
        return max(0, self.awaited - self.timed)


@dataclass(frozen=True, slots=True)
class EpochCounts:
    """Both arms at one canary weight."""

    canary: ArmCounts = ArmCounts()
    stable: ArmCounts = ArmCounts()


@dataclass(frozen=True, slots=True)
class SlowLimit:
    """One limit, in terms of stable's quantiles.

    Attributes:
        level: A quantile of stable's latency, in (0, 1).
        margin, floor_ms: The canary is slow above quantile * (1 + margin) + floor_ms.
    """

    level: float
    margin: float
    floor_ms: float

    @property
    def key(self) -> tuple[float, float, float]:
        """All of it, quicker to compare and to look up."""
        return self.level, self.margin, self.floor_ms


@dataclass(frozen=True, slots=True)
class Threshold:
    """When an answer is slow, at one quantile of stable's frozen latency distribution.

    Attributes:
        level: The quantile, in (0, 1).
        stable_bin, canary_bin: First slow bin of each arm; see `histogram`.
    """

    level: float
    stable_bin: int
    canary_bin: int


@dataclass(frozen=True, slots=True)
class Evidence:  # ADR 0005
    """Both arms' counts by weight, and up to which second they were read.

    Attributes:
        read_through: Horizon to the last second (inclusive) already absorbed.
        error_reference: Stable's rate of bad answers before the start, fixed for ever.
        limits: What is slow, fixed by the policy; the first ones are the live guardrail's.
        by_weight: Canary weight in basis points to counts; epochs of equal weight are summed.
        thresholds: One for each limit. Empty until enough stable answers were seen; never changed afterwards.
        stable_bins: Stable's latency histogram, kept only until the thresholds exist.
        recent: Draws of the last few mature seconds, the newest last.
        recent_exchanges: All exchanges of those seconds, when only each caller's first one is evidence.
        lately: What both arms did of late, at any weight.
        usual_per_s: Exchanges per second before the start; None when nobody looked.
        flaw: Why the counts cannot be trusted, in words; None while they can.
        of_model: What is about the model: labels, answers that were read, distributions.
        per_caller: Whether only each caller's first exchange is evidence: callers keep their arm, and what one of
            them meets again and again says no more than once.
        outcomes_before: Stable's ended exchanges before the start, by outcome, fixed for ever.
    """

    stable: VersionName
    canary: VersionName
    started_s: int
    read_through: Mapping[Horizon, int]
    error_reference: float
    limits: tuple[SlowLimit, ...]
    by_weight: Mapping[int, EpochCounts] = field(default_factory=dict)
    thresholds: tuple[Threshold, ...] = ()
    stable_bins: Mapping[int, int] = field(default_factory=dict)
    recent: tuple[int, ...] = ()
    recent_exchanges: tuple[int, ...] = ()
    lately: Lately = field(default_factory=Lately)
    usual_per_s: float | None = None
    flaw: str | None = None
    of_model: ModelEvidence = field(default_factory=ModelEvidence)
    per_caller: bool = False
    outcomes_before: Mapping[Outcome, int] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        stable: VersionName,
        canary: VersionName,
        limits: tuple[SlowLimit, ...],
        reference: Tally,
        now_s: int,
        *,
        per_caller: bool = False,
        reference_s: float | None = None,
    ) -> "Evidence":
        """Empty evidence that reads from the second `now_s` on.

        Args:
            stable, canary: The arms.
            limits: What is slow in this rollout; the first ones are the live guardrail's.
            reference: Stable's tally of the time before `now_s` (the store decides how far
                back); may be empty.
            now_s: Unix second of the start, database time.
            per_caller: As the attribute.
            reference_s: How many seconds the reference covers; None when nobody knows.
        """
        lately = Lately.since(reference)
        evidence = cls(
            stable=stable,
            canary=canary,
            started_s=now_s,
            read_through=dict.fromkeys(Horizon, now_s - 1),
            error_reference=lately.usual_rate or LEAST_REFERENCE,
            limits=limits,
            stable_bins=dict(reference.latency_bins),
            lately=lately,
            usual_per_s=reference.exchanges / reference_s if reference_s else None,
            per_caller=per_caller,
            outcomes_before=reference.outcomes,
        )
        return _frozen(evidence)

    @property
    def latency_horizon_ms(self) -> int | None:
        """The time after which an open exchange is slow for every threshold; None before they exist."""
        if not self.thresholds:
            return None
        last = max(max(threshold.stable_bin, threshold.canary_bin) for threshold in self.thresholds)
        return ceil(edge_us(last + 1) / 1_000.0)

    @property
    def draws_per_s(self) -> float:
        """How fast evidence comes: draws per second, of late or since the start, the greater; 0.0 if none."""
        elapsed = self.read_through[Horizon.STATUS] - self.started_s + 1
        if elapsed <= 0:
            return 0.0
        drawn = sum(epoch.canary.drawn + epoch.stable.drawn for epoch in self.by_weight.values())
        return max(drawn / elapsed, _mean(self.recent))

    @property
    def exchanges_per_s(self) -> float:
        """How much traffic is exposed: exchanges per second, whether they are evidence or not; 0.0 if none."""
        if not self.per_caller:
            return self.draws_per_s
        return max(self.draws_per_s, _mean(self.recent_exchanges))


def _mean(counts: Sequence[int]) -> float:
    return sum(counts) / len(counts) if counts else 0.0


def absorb(
    evidence: Evidence,
    rows: Iterable[TallyRow],
    canary_weight_bp: Mapping[int, int],
    mature: Watermark,
    exposed: Iterable[TallyRow] = (),
) -> Evidence:
    """Add the rows that became mature since the last look, each horizon on its own.

    Args:
        evidence: What was read so far.
        rows: All rows of both arms with `second` above the older of `evidence.read_through` and
            at most the newer of `mature`; rows outside a horizon's span, and rows of other
            versions, are ignored.
        canary_weight_bp: Generation to the canary's weight in it; every generation of `rows`.
        mature: The newest second that is final on every live replica, by horizon. It may lie
            behind what was read already: then nothing is read.
        exposed: All exchanges of the same seconds, if the evidence is per caller and `rows` hold the first ones.

    Rows that cannot have happened, or of a generation nobody made, are not added; they leave a flaw behind.
    """
    both = [row for row in rows if row.key.version in {evidence.stable, evidence.canary}]
    both, evidence = _sound(both, evidence, canary_weight_bp, mature)
    if evidence.per_caller:
        evidence = _with_exposed(evidence, exposed, mature.status)
    evidence = _read_outcomes(evidence, both, canary_weight_bp, mature.status)
    return _read_latencies(evidence, both, canary_weight_bp, mature.latency)


def _sound(
    rows: Sequence[TallyRow], evidence: Evidence, canary_weight_bp: Mapping[int, int], mature: Watermark
) -> tuple[list[TallyRow], Evidence]:
    """The rows that can be counted, second by second, and the evidence with the first flaw of those that cannot."""
    sound, flaw = [], evidence.flaw
    for row in sorted(rows, key=_second):
        wrong = flaw_of(row.tally)
        if row.key.generation not in canary_weight_bp:
            wrong = "an exchange was drawn with weights that nobody set"
        if wrong is None:
            sound.append(row)
        elif _is_read_now(row, evidence, mature):
            flaw = flaw or wrong
    return sound, replace(evidence, flaw=flaw)


def _is_read_now(row: TallyRow, evidence: Evidence, mature: Watermark) -> bool:
    newest = {Horizon.STATUS: mature.status, Horizon.LATENCY: mature.latency}
    return any(through < row.key.second <= newest[horizon] for horizon, through in evidence.read_through.items())


def _read_outcomes(
    evidence: Evidence, rows: Iterable[TallyRow], canary_weight_bp: Mapping[int, int], mature_s: int
) -> Evidence:
    through = evidence.read_through[Horizon.STATUS]
    if mature_s <= through:
        return evidence
    by_weight = dict(evidence.by_weight)
    span = [row for row in rows if through < row.key.second <= mature_s]
    for row in span:
        _add(
            by_weight,
            canary_weight_bp[row.key.generation],
            row,
            evidence,
            ArmCounts(row.tally.exchanges, row.tally.outcomes),
        )
    return replace(
        evidence,
        by_weight=by_weight,
        recent=_newest(evidence.recent, span, through, mature_s),
        lately=evidence.lately.after(span, evidence.canary),
        read_through={**evidence.read_through, Horizon.STATUS: mature_s},
    )


def _with_exposed(evidence: Evidence, exposed: Iterable[TallyRow], mature_s: int) -> Evidence:
    through = evidence.read_through[Horizon.STATUS]
    if mature_s <= through:
        return evidence
    return replace(evidence, recent_exchanges=_newest(evidence.recent_exchanges, exposed, through, mature_s))


def _newest(before: Sequence[int], rows: Iterable[TallyRow], through: int, mature_s: int) -> tuple[int, ...]:
    """Exchanges by second, the newest RECENT_S of them, after reading (through, mature_s]."""
    recent = dict.fromkeys(range(max(through, mature_s - RECENT_S) + 1, mature_s + 1), 0)
    for row in rows:
        if row.key.second in recent and flaw_of(row.tally) is None:
            recent[row.key.second] += row.tally.exchanges
    return (*before, *recent.values())[-RECENT_S:]


def _read_latencies(
    evidence: Evidence, rows: Iterable[TallyRow], canary_weight_bp: Mapping[int, int], mature_s: int
) -> Evidence:
    through = evidence.read_through[Horizon.LATENCY]
    if mature_s <= through:
        return evidence
    span = [row for row in rows if through < row.key.second <= mature_s]
    by_weight = dict(evidence.by_weight)
    # Second by second, so that the thresholds freeze at the same one however the reading is cut.
    for _, of_second in groupby(span, key=_second):
        if not evidence.thresholds:
            evidence = _learnt(evidence, of_second)
            continue
        for row in of_second:
            is_canary = row.key.version == evidence.canary
            counts = _latencies_of(row.tally, evidence, canary=is_canary)
            _add(by_weight, canary_weight_bp[row.key.generation], row, evidence, counts)
    read_through = {**evidence.read_through, Horizon.LATENCY: mature_s}
    return replace(evidence, by_weight=by_weight, read_through=read_through)


def _second(row: TallyRow) -> int:
    return row.key.second


def _add(
    by_weight: dict[int, EpochCounts], weight_bp: int, row: TallyRow, evidence: Evidence, counts: ArmCounts
) -> None:
    epoch = by_weight.get(weight_bp, EpochCounts())
    if row.key.version == evidence.canary:
        by_weight[weight_bp] = EpochCounts(epoch.canary + counts, epoch.stable)
    else:
        by_weight[weight_bp] = EpochCounts(epoch.canary, epoch.stable + counts)


def _latencies_of(tally: Tally, evidence: Evidence, *, canary: bool) -> ArmCounts:
    firsts = (limit.canary_bin if canary else limit.stable_bin for limit in evidence.thresholds)
    return ArmCounts(
        timed=sum(tally.latency_bins.values()),
        slow=tuple(count_from(tally.latency_bins, first) for first in firsts),
        awaited=tally.exchanges,
    )


def _learnt(evidence: Evidence, rows: Iterable[TallyRow]) -> Evidence:
    bins = evidence.stable_bins
    for row in rows:
        if row.key.version == evidence.stable:
            bins = add_counts(bins, row.tally.latency_bins)
    return _frozen(replace(evidence, stable_bins=bins))


def _frozen(evidence: Evidence) -> Evidence:
    """With thresholds once stable's histogram is large enough; the histogram is then dropped."""
    if sum(evidence.stable_bins.values()) < MIN_REFERENCE:
        return evidence
    thresholds = tuple(_threshold(evidence, limit) for limit in evidence.limits)
    return replace(evidence, thresholds=thresholds, stable_bins={})


def _threshold(evidence: Evidence, limit: SlowLimit) -> Threshold:
    stable_bin = (quantile_bin(evidence.stable_bins, limit.level) or 0) + 1
    canary_us = edge_us(stable_bin) * (1.0 + limit.margin) + limit.floor_ms * 1_000.0
    return Threshold(limit.level, stable_bin, bin_reaching(canary_us))
