"""Whether the canary still predicts different things: constant output, or a class that swallowed the others.

Rule: what is common is fixed by stable's predictions of before the start. A bin too coarse to say whether a number
belongs to an output counts for the canary where it is accused, and against it where it is to be proven.

Per usual output k, given an exchange that was predicted something else, its arm is a coin. Collapsed means that the
canary does so less than a tenth as often as stable: P1 in the better direction about r0 = 0.1, averaged over k with
fixed weights; P1 in the worse direction about r0 = 0.1 proves the contrary, for every k.

Source: the tilts of `eprocess`; Vovk & Wang 2021 for the average; Berger 1982 for "every".
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.evidence import Evidence
from app.domain.evidence.memo import once_per_evidence
from app.domain.guardrails.split import Covered, coverage_of
from app.domain.stats.eprocess import BETTER, WORSE, log_weighted_mean, tilted
from app.domain.stats.eprocess_batch import ManyOutcomes, log_e_tilt_of_many
from app.domain.stats.histogram import Histogram, value_at

# The canary gives other outputs so many times as often as stable, or less: collapsed.
LEAST_RATIO: Final = 0.1
OUTPUTS_MAX: Final = 16
# Fewer values than this do not say what is usual.
USUAL_MIN: Final = 200
# Stable itself gives other outputs at least so often, or nothing can be said of them.
VARIES: Final = 0.005
_PARTS = 10
# Whose commonest value, as finely as it was kept, is rarer than this has not collapsed, whatever its bins.
_VARIED = 1.0 - LEAST_RATIO
_ELSEWHERE = "nothing usual"


class _Numbers(NamedTuple):
    """The floats from one place to another, both included; see `histogram.order_of`."""

    first: int
    last: int


_Output: TypeAlias = str | _Numbers


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What stable usually predicts, the commonest first; the last one is everything else.

    Attributes:
        names: As people read them.
        labels: Text to its position.
        numbers: Ranges that do not overlap, ascending, and the positions of each.
    """

    names: tuple[str, ...]
    labels: Mapping[str, int]
    numbers: tuple[tuple[_Numbers, int], ...]


@dataclass(frozen=True, slots=True)
class Variety:
    """What the predictions say.

    Attributes:
        log_e_collapsed: Evidence that the canary hardly ever predicts anything but one output.
        log_e_varied: Evidence that it does not.
        output: The output it is accused of, as people read it.
        canary_share, stable_share: How often each arm predicts it, stable's standardised to the canary's weights.
    """

    log_e_collapsed: float
    log_e_varied: float
    output: str
    canary_share: float
    stable_share: float


@dataclass(frozen=True, slots=True)
class _Seen:
    """How often each output was predicted: surely, and at most."""

    n: int
    surely: tuple[int, ...]
    at_most: tuple[int, ...]


class _Epoch(NamedTuple):
    """Both arms at one weight, in (0, 1)."""

    weight: float
    canary: _Seen
    stable: _Seen


@once_per_evidence
def variety(evidence: Evidence) -> Variety | None:  # ADR 0102
    """What the predictions say, nothing before the first; None where nobody knows what is usual, or it never varies."""
    outputs = _usual(evidence.of_model.usual.predictions)
    epochs = {bp: both for bp, both in sorted(evidence.of_model.spreads.items()) if 0 < bp < FULL_BP}
    if outputs is None or evidence.per_caller:
        return None
    if not epochs:
        return Variety(0.0, 0.0, outputs.names[0], 0.0, 0.0)
    seen = [
        _Epoch(bp / FULL_BP, _seen(both.canary.predictions, outputs), _seen(both.stable.predictions, outputs))
        for bp, both in epochs.items()
    ]
    every = range(len(outputs.names))
    collapsed = log_e_tilt_of_many(_otherwise(seen, every, accused=True), BETTER)
    varied = log_e_tilt_of_many(_otherwise(seen, every, accused=False), WORSE)
    predicted = coverage_of(
        Covered(bp, both.canary.predictions.n, both.stable.predictions.n) for bp, both in epochs.items()
    )
    log_e = predicted.harm(log_weighted_mean((1.0 / len(collapsed), each) for each in collapsed))
    if _is_varied([both.canary.predictions for both in epochs.values()]):
        log_e = min(log_e, 0.0)
        # Many values outside of what is usual are another scale, and not one output.
        varied.pop()
    heaviest = max(every, key=collapsed.__getitem__)
    return Variety(log_e, predicted.proof(min(varied)), outputs.names[heaviest], *_shares(seen, heaviest))


@once_per_evidence
def _usual(usual: Histogram) -> _Outputs | None:
    """The outputs that are told apart; None where too little is known, or nearly all is one output."""
    found: list[tuple[_Output, int]] = [*_numbers(usual), *usual.labels.items()]
    common = sorted(found, key=_count, reverse=True)[:OUTPUTS_MAX]
    if usual.n < USUAL_MIN or not common or common[0][1] > (1.0 - VARIES) * usual.n:
        return None
    outputs = [output for output, _ in common]
    names = (*map(_named, outputs), _ELSEWHERE)
    labels = {output: position for position, output in enumerate(outputs) if isinstance(output, str)}
    numbers = sorted((output, position) for position, output in enumerate(outputs) if isinstance(output, _Numbers))
    return _Outputs(names, labels, tuple(numbers))


def _count(output: tuple[_Output, int]) -> int:
    return output[1]


def _numbers(usual: Histogram) -> Iterator[tuple[_Numbers, int]]:
    """Each bin while they are few, or about a tenth of the numbers in each range."""
    bins = sorted(usual.bins.items())
    part = 0 if len(bins) <= OUTPUTS_MAX else sum(usual.bins.values()) / _PARTS
    first, count = None, 0
    for place, here in bins:
        first = place if first is None else first
        count += here
        if count >= part:
            yield _Numbers(first << usual.level, ((place + 1) << usual.level) - 1), count
            first, count = None, 0
    if first is not None:
        yield _Numbers(first << usual.level, ((bins[-1][0] + 1) << usual.level) - 1), count


def _named(output: _Output) -> str:
    if isinstance(output, str):
        return output
    low, high = value_at(output.first), value_at(output.last)
    return f"{low:.6g}" if output.first == output.last else f"{low:.4g} to {high:.4g}"


def _seen(predicted: Histogram, outputs: _Outputs) -> _Seen:
    """One pass over the bins: a bin that lies partly in a range is in it at most, and so is its rest elsewhere."""
    elsewhere = len(outputs.names) - 1
    surely = [0] * len(outputs.names)
    for label, count in predicted.labels.items():
        surely[outputs.labels.get(label, elsewhere)] += count
    surely[elsewhere] += predicted.missing + predicted.nonfinite
    at_most = list(surely)
    ranges = [numbers for numbers, _ in outputs.numbers]
    firsts = [numbers.first for numbers in ranges]
    for place, count in predicted.bins.items():
        first, last = place << predicted.level, ((place + 1) << predicted.level) - 1
        near = range(max(0, bisect_right(firsts, first) - 1), bisect_right(firsts, last))
        touched = [at for at in near if ranges[at].last >= first]
        for at in touched:
            at_most[outputs.numbers[at][1]] += count
        if len(touched) == 1 and ranges[touched[0]].first <= first and last <= ranges[touched[0]].last:
            surely[outputs.numbers[touched[0]][1]] += count
        else:
            at_most[elsewhere] += count
            surely[elsewhere] += 0 if touched else count
    return _Seen(predicted.n, tuple(surely), tuple(at_most))


def _otherwise(seen: Sequence[_Epoch], every: Sequence[int], *, accused: bool) -> ManyOutcomes:
    """Both arms' exchanges that were predicted anything but each output; what is not sure helps the canary, or not.

    A test about LEAST_RATIO is the test about 1 of a coin tilted by it.
    """
    canary = [[e.canary.n - (e.canary.surely if accused else e.canary.at_most)[k] for k in every] for e in seen]
    stable = [[e.stable.n - (e.stable.at_most if accused else e.stable.surely)[k] for k in every] for e in seen]
    counts = np.array((canary, stable), dtype=np.float64)
    weights = tuple(tilted(epoch.weight, LEAST_RATIO) for epoch in seen)
    return ManyOutcomes(weights, np.concatenate((counts, np.zeros_like(counts))))


def _is_varied(predicted: Sequence[Histogram]) -> bool:
    """Whether the commonest value, as finely as it was kept, is no more than nine in ten."""
    whole = sum(predicted, Histogram())
    counts = (*whole.bins.values(), *whole.labels.values(), whole.missing, whole.nonfinite)
    return max(counts) < _VARIED * whole.n


def _shares(seen: Sequence[_Epoch], output: int) -> tuple[float, float]:
    """How often each arm predicts it, over the epochs in which both have predicted anything; 0 before."""
    both = [epoch for epoch in seen if epoch.canary.n and epoch.stable.n]
    n = sum(epoch.canary.n for epoch in both)
    if not n:
        return 0.0, 0.0
    canary = sum(epoch.canary.surely[output] for epoch in both)
    stable = sum(epoch.canary.n * epoch.stable.surely[output] / epoch.stable.n for epoch in both)
    return canary / n, stable / n
