"""How often a hundred features that do not drift raise an alarm, how soon drift is found, and what common rules do.

Method: seventy features are normal, thirty have five labels; the reference has 10,000 values of each. They are looked
at window after window by the product's own `log_e_reference` and `effect`, with the limit of that window. Numbers are
drawn as bins four to the octave, which is finer than the product keeps of so many values; labels as counts. Rivals
read the same draws: PSI and the Jensen-Shannon distance on ten ranges at the reference's deciles, Kolmogorov-Smirnov
on the fine bins, each at its usual threshold for each feature and window. One seed repeats a run exactly but for the
cost of an update. `python3 -m bench.drift --report docs/bench` writes docs/bench/drift.md and drift.json.
"""

import argparse
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import log, sqrt
from pathlib import Path
from time import perf_counter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstwobign, norm

from app.domain.reports.drift import ALPHA, FLOOR, effect, log_e_reference
from app.domain.stats.histogram import Histogram, order_of
from app.domain.stats.homogeneity import CategoryEpoch, shift
from app.proxy.observing.histogram_row import HistogramCell
from bench import drift_page
from bench.cpu import model_name
from bench.judging.intervals import Document, share

FEATURES: Final = 100
LABELLED: Final = 30
REFERENCE: Final = 10_000
WINDOWS: Final = 24
SIZES: Final = (50, 100, 1_000, 10_000, 100_000, 1_000_000)
RULES: Final = ("psi 0.1", "js 0.1", "ks 0.05")
_SHARES: Final = (0.4, 0.25, 0.2, 0.1, 0.05)
_LABELS: Final = tuple("abcde")
# Four bins to the octave, from 2^-30 to 2^4 on both sides of zero.
_LEVEL: Final = 50
_FIRST, _LAST = (order_of(2.0**exponent) >> _LEVEL for exponent in (-30, 4))

_RUNS: Final = 20

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Feature:
    """What is drawn.

    Attributes:
        mean: Of a normal with standard deviation 1.
        labels: Shares of five labels; None is a number.
        missing: Share of values that are not there.
    """

    mean: float = 0.0
    labels: tuple[float, ...] | None = None
    missing: float = 0.0


class Drawn(NamedTuple):
    """One sample, as the product holds it and as the rivals count it."""

    histogram: Histogram
    counts: Counts


NUMBER, LABEL = Feature(), Feature(labels=_SHARES)
ALIKE: Final = (*[NUMBER] * (FEATURES - LABELLED), *[LABEL] * LABELLED)
CHANGES: Final = {
    "shift of 0.5 sd": (NUMBER, replace(NUMBER, mean=0.5)),
    "shift of 1 sd": (NUMBER, replace(NUMBER, mean=1.0)),
    "all missing": (NUMBER, replace(NUMBER, missing=1.0)),
    "two labels become one": (LABEL, replace(LABEL, labels=(0.65, 0.0, 0.2, 0.1, 0.05))),
    "shift of 0.03 sd": (NUMBER, replace(NUMBER, mean=0.03)),
}


def _edges() -> NDArray[np.float64]:
    octaves = 2.0 ** np.arange(-30, 5)
    ascending = np.concatenate([low * (1.0 + np.arange(4) / 4.0) for low in octaves])[: _LAST - _FIRST + 1]
    return np.concatenate([-ascending[::-1], ascending])


_EDGES: Final = _edges()
# The bin between the innermost edges holds what is nearly zero.
_PLACES: Final = (*range(-_LAST, -_FIRST), 0, *range(_FIRST, _LAST))


def drawn(feature: Feature, n: int, rng: np.random.Generator) -> Drawn:
    """So many values of a feature."""
    missing = int(rng.binomial(n, feature.missing))
    if feature.labels is not None:
        counts = rng.multinomial(n - missing, feature.labels)
        labels = {label: int(count) for label, count in zip(_LABELS, counts, strict=True) if count}
        return Drawn(Histogram(labels=labels, missing=missing), np.append(counts, missing))
    shares = np.diff(norm.cdf(_EDGES - feature.mean))
    counts = rng.multinomial(n - missing, shares / shares.sum())
    bins = {place: int(count) for place, count in zip(_PLACES, counts, strict=True) if count}
    # Adding nothing makes it as coarse as the product keeps it.
    return Drawn(Histogram(_LEVEL, bins, missing=missing) + Histogram(), np.append(counts, missing))


class Alarms(NamedTuple):
    """Whether anything was ever flagged in a run: by the product, by its test without the effect, by each rule."""

    flagged: bool
    proven: bool
    rules: tuple[bool, ...]


def log_limit(window: int) -> float:
    """As `drifted` has it for so many features."""
    return log(FEATURES * window * (window + 1) / ALPHA)


def alarms(n: int, rng: np.random.Generator, windows: int = WINDOWS) -> Alarms:
    """One run in which nothing drifts."""
    before = [drawn(feature, REFERENCE, rng) for feature in ALIKE]
    flagged = proven = False
    rules = np.zeros(len(RULES), dtype=bool)
    for window in range(1, windows + 1):
        for feature, then in zip(ALIKE, before, strict=True):
            now = drawn(feature, n, rng)
            is_proven = log_e_reference(then.histogram, now.histogram) >= log_limit(window)
            proven |= is_proven
            flagged |= is_proven and _is_far(then, now)
            rules |= _rules(then.counts, now.counts, is_number=feature.labels is None)
    return Alarms(flagged, proven, tuple(map(bool, rules)))


def is_found(change: str, n: int, rng: np.random.Generator) -> bool:
    """Whether one of a hundred features that has changed is flagged in the last of the windows."""
    usual, changed = CHANGES[change]
    then, now = drawn(usual, REFERENCE, rng), drawn(changed, n, rng)
    return log_e_reference(then.histogram, now.histogram) >= log_limit(WINDOWS) and _is_far(then, now)


def _is_far(then: Drawn, now: Drawn) -> bool:
    far = effect(then.histogram, now.histogram)
    return far is not None and far.stability >= FLOOR


def _rules(then: Counts, now: Counts, *, is_number: bool) -> NDArray[np.bool_]:
    ranges = _deciles(then) if is_number else np.arange(len(then))
    ten = [np.bincount(ranges, weights=counts).astype(int).tolist() for counts in (now, then)]
    far = shift([CategoryEpoch(0.5, tuple(ten[0]), tuple(ten[1]))])
    if far is None:
        return np.zeros(len(RULES), dtype=bool)
    gap = np.abs(np.cumsum(then) / then.sum() - np.cumsum(now) / now.sum()).max()
    scale = sqrt(then.sum() * now.sum() / (then.sum() + now.sum()))
    is_told_apart = is_number and kstwobign.sf(scale * gap) < 0.05
    return np.array([far.population_stability >= 0.1, sqrt(far.jensen_shannon) >= 0.1, is_told_apart])


def _deciles(then: Counts) -> NDArray[np.int64]:
    """Which of ten ranges each fine bin is in; what is missing has one of its own."""
    before = np.cumsum(then[:-1]) - then[:-1]
    return np.append(before * 10 // max(1, int(then[:-1].sum())), 10)


def update_us(values: int = 200_000) -> float:
    """What adding one value to a histogram takes, in microseconds."""
    cell = HistogramCell()
    column = np.random.default_rng(1).normal(size=values).tolist()
    began = perf_counter()
    for value in column:
        cell.add(value)
    cell.histogram()
    return (perf_counter() - began) / values * 1e6


def run(runs: int, seed: int, say: Callable[[str], None]) -> Document:
    """Play everything."""
    rng = np.random.default_rng(seed)
    calm: Document = {}
    for n in SIZES:
        ended = [alarms(n, rng) for _ in range(runs)]
        rules = {rule: share(np.array([each.rules[i] for each in ended])) for i, rule in enumerate(RULES)}
        calm[str(n)] = {
            "flagged": share(np.array([each.flagged for each in ended])),
            "proven": share(np.array([each.proven for each in ended])),
            "rules": rules,
        }
        say(f"n = {n}: {sum(each.flagged for each in ended)} of {runs} flagged")
    found = {
        change: {str(n): share(np.array([is_found(change, n, rng) for _ in range(4 * runs)])) for n in SIZES}
        for change in CHANGES
    }
    return {
        "seed": seed,
        "python": platform.python_version(),
        "processor": model_name(),
        "update_us": round(update_us(), 2),
        "alpha": ALPHA,
        "calm": calm,
        "found": found,
    }


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Run, and print the document as JSON or write it with its page into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=_RUNS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args(arguments)
    document = run(asked.runs, asked.seed, say if asked.report else lambda _: None)
    if asked.report:
        say(str(drift_page.write(document, asked.report)))
    else:
        say(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
