"""Adds what was read of answers to the evidence: flaws, measures, slices and distributions, by canary weight.

Rule: as in `evidence`, a second is read once and for both arms at once, whatever the order of its rows and
however the reading is cut. Where callers keep their arm nothing is read: an exchange is no draw there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from math import isfinite

from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.memo import once_per_evidence
from app.domain.evidence.model_evidence import ModelEvidence, ObservedEpoch, SpreadEpoch
from app.domain.evidence.observed import COST, SPREAD_S, Measure, Observed, ObservedRow, SliceCounts, SpreadRow
from app.domain.evidence.tally import are_counts
from app.domain.stats.histogram import OTHER

# Sums of prices are rounded in the data plane and here.
_ROUNDED_UP = 1.0 + 1e-9


@once_per_evidence
def read_by_coin(evidence: Evidence) -> Mapping[int, ObservedEpoch]:
    """The epochs in which both arms could be drawn, by ascending weight; only they are evidence."""
    return {weight: epoch for weight, epoch in sorted(evidence.of_model.observed.items()) if 0 < weight < FULL_BP}


def observed_after(evidence: Evidence) -> int:
    """The last second whose read answers were absorbed, or that before the start."""
    return max(evidence.of_model.observed_through, evidence.started_s - 1)


def absorb_observed(
    evidence: Evidence, rows: Iterable[ObservedRow], canary_weight_bp: Mapping[int, int], through: int
) -> Evidence:
    """Add the rows of seconds in (`observed_after(evidence)`, through].

    Args:
        evidence: What was read so far.
        rows: All rows of both arms in that span; others are ignored.
        canary_weight_bp: Generation to the canary's weight in it.
        through: The newest second whose exchanges have all ended on every live replica. It may lie behind
            what was read already: then nothing is read.

    Rows that cannot have happened, or of a generation nobody made, are not added; they leave a flaw behind.
    """
    after = observed_after(evidence)
    if through <= after:
        return evidence
    if evidence.per_caller:
        return _with(evidence, observed_through=through)
    span = [row for row in rows if _is_of(evidence, row) and after < row.key.second <= through]
    sound, evidence = _sound(sorted(span, key=_second), evidence, canary_weight_bp)
    by_weight = dict(evidence.of_model.observed)
    told_apart: Mapping[str, frozenset[str]] = {
        key.name: _values_of(by_weight.values(), key.name) for key in evidence.of_model.slice_keys
    }
    # Second by second, so that the same values are told apart however the reading is cut.
    for _, of_second in groupby(sound, key=_second):
        together = list(of_second)
        told_apart = _after(evidence.of_model, told_apart, together)
        for row in together:
            weight_bp = canary_weight_bp[row.key.generation]
            by_weight[weight_bp] = _added(evidence, by_weight.get(weight_bp, ObservedEpoch()), row, told_apart)
    return _with(evidence, observed=by_weight, observed_through=through)


def _with(evidence: Evidence, **changes: object) -> Evidence:
    return replace(evidence, of_model=replace(evidence.of_model, **changes))  # type: ignore[arg-type]


def _is_of(evidence: Evidence, row: ObservedRow) -> bool:
    return row.key.version in {evidence.stable, evidence.canary}


def _second(row: ObservedRow) -> int:
    return row.key.second


def _sound(
    rows: Sequence[ObservedRow], evidence: Evidence, canary_weight_bp: Mapping[int, int]
) -> tuple[list[ObservedRow], Evidence]:
    """The rows that can be added, and the evidence with the first flaw of those that cannot."""
    sound, flaw = [], evidence.flaw
    for row in rows:
        wrong = flaw_of(row.observed, evidence.of_model.cost_cap)
        if row.key.generation not in canary_weight_bp:
            wrong = "an answer was read of an exchange drawn with weights that nobody set"
        if wrong is None:
            sound.append(row)
        flaw = flaw or wrong
    return sound, replace(evidence, flaw=flaw)


def flaw_of(observed: Observed, cost_cap: float | None = None) -> str | None:
    """Why this cannot have been read; None when it can.

    Args:
        observed: Of one row.
        cost_cap: No answer counts as dearer; None where nobody said.
    """
    slices = [counts for values in observed.slices.values() for counts in values.values()]
    whole = SliceCounts(observed.judged, observed.bad, observed.read, observed.flawed)
    if not are_counts((*(count for counts in (whole, *slices) for count in counts), *observed.flaws.values())):
        return "a count of answers that were read is negative, or no number at all"
    if any(counts.bad > counts.judged or counts.flawed > counts.read for counts in (whole, *slices)):
        return "more answers were flawed than were read, or bad than were judged"
    if not all(_is_possible(measure) for measure in observed.measures.values()):
        return "a measure of answers is less than nothing, or no number at all"
    cost = observed.measures.get(COST, Measure())
    if cost_cap is not None and cost.total > cost.n * cost_cap * _ROUNDED_UP:
        return "answers cost more than any answer can"
    return None


def _is_possible(measure: Measure) -> bool:
    n, total, squares = measure
    if not (are_counts((n,)) and isfinite(total) and isfinite(squares)):
        return False
    # By Cauchy and Schwarz, but for rounding.
    return total >= 0.0 and squares >= 0.0 and total * total <= n * squares * _ROUNDED_UP


def _values_of(epochs: Iterable[ObservedEpoch], key: str) -> frozenset[str]:
    """The values of a slice key that are told apart so far."""
    arms = (arm for epoch in epochs for arm in (epoch.canary, epoch.stable))
    return frozenset(value for arm in arms for value in arm.slices.get(key, {}))


def _after(
    declared: ModelEvidence, told_apart: Mapping[str, frozenset[str]], rows: Sequence[ObservedRow]
) -> Mapping[str, frozenset[str]]:
    """With the values of one second, while there is room: by name, so that no outcome decides which."""
    room = {key.name: key.values_max for key in declared.slice_keys}
    now: dict[str, frozenset[str]] = {}
    for name, known in told_apart.items():
        seen = {value for row in rows for value in row.observed.slices.get(name, {})}
        free = room[name] - len(known - {OTHER})
        now[name] = known | set(sorted(seen - known - {OTHER})[: max(0, free)])
    return now


def _added(
    evidence: Evidence, epoch: ObservedEpoch, row: ObservedRow, told_apart: Mapping[str, frozenset[str]]
) -> ObservedEpoch:
    observed = replace(row.observed, slices=dict(_told_apart(row.observed, told_apart)))
    if row.key.version == evidence.canary:
        return ObservedEpoch(epoch.canary + observed, epoch.stable)
    return ObservedEpoch(epoch.canary, epoch.stable + observed)


def _told_apart(
    observed: Observed, told_apart: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, Mapping[str, SliceCounts]]]:
    """The declared keys' slices, values beyond those told apart together as one."""
    for name, known in told_apart.items():
        total: dict[str, SliceCounts] = {}
        for value, counts in observed.slices.get(name, {}).items():
            kept = value if value in known else OTHER
            total[kept] = SliceCounts(*map(sum, zip(total.get(kept, SliceCounts()), counts, strict=True)))
        if total:
            yield name, total


def spreads_after(evidence: Evidence) -> int:
    """The last second whose distributions were absorbed, or that before the start.

    Rows begin at multiples of SPREAD_S; one that began before the start also holds draws of the start's
    first seconds, and its generation says to which weights they belong.
    """
    return max(evidence.of_model.spreads_through, evidence.started_s - SPREAD_S)


def absorb_spreads(
    evidence: Evidence, rows: Iterable[SpreadRow], canary_weight_bp: Mapping[int, int], through: int
) -> Evidence:
    """Add the rows that begin after `spreads_after(evidence)` and are over at `through`.

    Args:
        evidence: What was read so far.
        rows: Of both arms; others, and rows outside that span, are ignored.
        canary_weight_bp: Generation to the canary's weight in it; rows of other generations are ignored.
        through: The newest second whose exchanges have all ended on every live replica.
    """
    after = spreads_after(evidence)
    last = (through + 1) // SPREAD_S * SPREAD_S - SPREAD_S
    if last <= after:
        return evidence
    by_weight = dict(evidence.of_model.spreads)
    for row in rows if not evidence.per_caller else ():
        key = row.key
        is_new = after < key.second <= last and key.generation in canary_weight_bp
        if is_new and key.version in {evidence.stable, evidence.canary}:
            weight_bp = canary_weight_bp[key.generation]
            epoch = by_weight.get(weight_bp, SpreadEpoch())
            if key.version == evidence.canary:
                by_weight[weight_bp] = SpreadEpoch(epoch.canary + row.spread, epoch.stable)
            else:
                by_weight[weight_bp] = SpreadEpoch(epoch.canary, epoch.stable + row.spread)
    return _with(evidence, spreads=by_weight, spreads_through=last)
