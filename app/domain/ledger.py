"""The evidence ledger: both arms' counts by canary weight, and up to where they were read.

Rule: a second is read once per horizon and for both arms at once, so rows may come in any
order and reading them again changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import ceil
from operator import add

from app.domain.catalog import VersionName
from app.domain.histogram import bin_reaching, count_from, edge_us, quantile_bin
from app.domain.policy import Guardrail, Metric, Policy
from app.domain.tally import Horizon, Tally, TallyRow, Watermark, add_counts

# A rate or a quantile read from fewer stable answers is no reference.
MIN_REFERENCE = 1_000
# A reference below this is not believed: nothing is that reliable for long.
LEAST_REFERENCE = 0.001
LEVELS = (0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999)
RECENT_S = 10


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """What one arm did at one weight.

    Attributes:
        drawn, ended, judged, errors, timeouts: Of seconds mature for outcomes; see `Tally`.
        timed: Answers with a latency, of seconds after the thresholds were frozen.
        slow: Of those, how many were slow, one count per threshold.
    """

    drawn: int = 0
    ended: int = 0
    judged: int = 0
    errors: int = 0
    timeouts: int = 0
    timed: int = 0
    slow: tuple[int, ...] = ()

    def __add__(self, other: "ArmCounts") -> "ArmCounts":
        return ArmCounts(
            self.drawn + other.drawn,
            self.ended + other.ended,
            self.judged + other.judged,
            self.errors + other.errors,
            self.timeouts + other.timeouts,
            self.timed + other.timed,
            tuple(map(add, self.slow, other.slow)) if self.slow and other.slow else self.slow or other.slow,
        )

    @property
    def bad(self) -> int:
        """Answers that were wrong, missing or late."""
        return self.errors + self.timeouts


@dataclass(frozen=True, slots=True)
class EpochCounts:
    """Both arms at one canary weight."""

    canary: ArmCounts = ArmCounts()
    stable: ArmCounts = ArmCounts()


@dataclass(frozen=True, slots=True)
class SlowLimit:
    """Which latency is to be called slow, before stable's own latency is known well enough to say it in numbers.

    Attributes:
        level: A quantile of stable's latency, in (0, 1).
        margin, floor_ms: The canary is slow above quantile * (1 + margin) + floor_ms.
    """

    level: float
    margin: float
    floor_ms: float


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
class Evidence:
    """Both arms' counts by weight, and up to which second they were read.

    Attributes:
        read_through: Horizon to the last second (inclusive) already absorbed.
        error_reference: Stable's rate of bad answers before the start, fixed for ever.
        limits: What is slow, fixed by the policy; the first ones are the live guardrail's.
        by_weight: Canary weight in basis points to counts; epochs of equal weight are summed.
        thresholds: One for each limit. Empty until enough stable answers were seen; never changed afterwards.
        stable_bins: Stable's latency histogram, kept only until the thresholds exist.
        recent: Draws of the last few mature seconds, the newest last.
        recent_exchanges: All exchanges of those seconds, when only each caller's first one is evidence;
            None when every exchange is.
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
    recent_exchanges: tuple[int, ...] | None = None

    @classmethod
    def begin(
        cls,
        stable: VersionName,
        canary: VersionName,
        policy: Policy,
        reference: Tally,
        now_s: int,
        *,
        per_caller: bool = False,
    ) -> "Evidence":
        """Empty evidence that reads from the second `now_s` on.

        Args:
            stable, canary: The arms.
            policy: Fixes what is slow for this rollout.
            reference: Stable's tally of the time before `now_s` (the store decides how far
                back); may be empty.
            now_s: Unix second of the start, database time.
            per_caller: Whether only each caller's first exchange is evidence: callers keep their arm, and
                what one of them meets again and again says no more than once.
        """
        evidence = cls(
            stable=stable,
            canary=canary,
            started_s=now_s,
            read_through=dict.fromkeys(Horizon, now_s - 1),
            error_reference=_error_reference(reference),
            limits=slow_limits(policy),
            stable_bins=dict(reference.latency_bins),
            recent_exchanges=() if per_caller else None,
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
    def per_caller(self) -> bool:
        """Whether only each caller's first exchange is evidence."""
        return self.recent_exchanges is not None

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
        if self.recent_exchanges is None:
            return self.draws_per_s
        return max(self.draws_per_s, _mean(self.recent_exchanges))


def slow_limits(policy: Policy) -> tuple[SlowLimit, ...]:
    """What the policy's latency guardrails call slow, the live one's first; the default's if it has none."""
    guardrails = sorted((each for each in policy.guardrails if each.metric is Metric.LATENCY), key=_dry)
    each_once = dict.fromkeys(
        limit for guardrail in guardrails or [Guardrail(Metric.LATENCY)] for limit in limits_of(guardrail)
    )
    return tuple(each_once)


def limits_of(guardrail: Guardrail) -> tuple[SlowLimit, ...]:
    """What one latency guardrail calls slow, by ascending level."""
    proven = [guardrail.quantile] if guardrail.quantile else []
    return tuple(SlowLimit(level, *guardrail.margins) for level in sorted({*LEVELS, *proven}))


def _dry(guardrail: Guardrail) -> bool:
    return guardrail.dry_run


def _mean(counts: Sequence[int]) -> float:
    return sum(counts) / len(counts) if counts else 0.0


def _error_reference(reference: Tally) -> float:
    """Stable's share of bad answers; the least one believed when there are too few to tell."""
    if reference.judged < MIN_REFERENCE:
        return LEAST_REFERENCE
    return max(LEAST_REFERENCE, (reference.errors + reference.timeouts) / reference.judged)


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
    """
    both = [row for row in rows if row.key.version in {evidence.stable, evidence.canary}]
    if evidence.per_caller:
        evidence = _with_exposed(evidence, exposed, mature.status)
    evidence = _read_outcomes(evidence, both, canary_weight_bp, mature.status)
    return _read_latencies(evidence, both, canary_weight_bp, mature.latency)


def _read_outcomes(
    evidence: Evidence, rows: Iterable[TallyRow], canary_weight_bp: Mapping[int, int], mature_s: int
) -> Evidence:
    through = evidence.read_through[Horizon.STATUS]
    if mature_s <= through:
        return evidence
    by_weight = dict(evidence.by_weight)
    span = [row for row in rows if through < row.key.second <= mature_s]
    for row in span:
        _add(by_weight, canary_weight_bp[row.key.generation], row, evidence, _outcomes_of(row.tally))
    return replace(
        evidence,
        by_weight=by_weight,
        recent=_newest(evidence.recent, span, through, mature_s),
        read_through={**evidence.read_through, Horizon.STATUS: mature_s},
    )


def _with_exposed(evidence: Evidence, exposed: Iterable[TallyRow], mature_s: int) -> Evidence:
    through = evidence.read_through[Horizon.STATUS]
    if mature_s <= through:
        return evidence
    before = evidence.recent_exchanges or ()
    return replace(evidence, recent_exchanges=_newest(before, exposed, through, mature_s))


def _newest(before: Sequence[int], rows: Iterable[TallyRow], through: int, mature_s: int) -> tuple[int, ...]:
    """Exchanges by second, the newest RECENT_S of them, after reading (through, mature_s]."""
    recent = dict.fromkeys(range(max(through, mature_s - RECENT_S) + 1, mature_s + 1), 0)
    for row in rows:
        if row.key.second in recent:
            recent[row.key.second] += row.tally.exchanges
    return (*before, *recent.values())[-RECENT_S:]


def _read_latencies(
    evidence: Evidence, rows: Iterable[TallyRow], canary_weight_bp: Mapping[int, int], mature_s: int
) -> Evidence:
    through = evidence.read_through[Horizon.LATENCY]
    if mature_s <= through:
        return evidence
    span = sorted((row for row in rows if through < row.key.second <= mature_s), key=_second)
    by_weight = dict(evidence.by_weight)
    # Second by second, so that the thresholds freeze at the same one however the reading is cut.
    for _, of_second in groupby(span, key=_second):
        if not evidence.thresholds:
            evidence = _learnt(evidence, of_second)
            continue
        for row in of_second:
            counts = _latencies_of(row.tally, evidence, canary=row.key.version == evidence.canary)
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


def _outcomes_of(tally: Tally) -> ArmCounts:
    return ArmCounts(
        drawn=tally.exchanges,
        ended=sum(tally.outcomes.values()),
        judged=tally.judged,
        errors=tally.errors,
        timeouts=tally.timeouts,
    )


def _latencies_of(tally: Tally, evidence: Evidence, *, canary: bool) -> ArmCounts:
    firsts = (limit.canary_bin if canary else limit.stable_bin for limit in evidence.thresholds)
    return ArmCounts(
        timed=sum(tally.latency_bins.values()),
        slow=tuple(count_from(tally.latency_bins, first) for first in firsts),
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
