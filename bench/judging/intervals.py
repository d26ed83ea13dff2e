"""Monte-Carlo intervals at 95 %: every figure of a simulation is a guess, and says how good."""

from math import isfinite, sqrt
from typing import Any

import numpy as np
from scipy.stats import beta, binom

from bench.judging.traffic import Figures, Flags

Document = dict[str, Any]

_Z95 = 1.959964


def share(happened: Flags) -> Document:
    """How often something happened in independent runs, shape (runs,).

    Returns:
        `share`; `ci95`, exact and two-sided; `at_most`, the exact one-sided upper bound; `count`; `runs`.

    Source:
        Clopper & Pearson 1934, Biometrika 26.
    """
    hits, runs = int(happened.sum()), len(happened)
    low, high = clopper_pearson(hits, runs, 0.025)
    at_most = clopper_pearson(hits, runs, 0.05)[1]
    return {
        "share": hits / runs,
        "ci95": [round(low, 5), round(high, 5)],
        "at_most": round(at_most, 5),
        "count": hits,
        "runs": runs,
    }


def clopper_pearson(hits: int, runs: int, tail: float) -> tuple[float, float]:
    """Exact bounds of a share, each missed with a chance of at most `tail`."""
    low = float(beta.ppf(tail, hits, runs - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1.0 - tail, hits + 1, runs - hits)) if hits < runs else 1.0
    return low, high


def median(values: Figures) -> Document:
    """The median and its exact interval by order statistics; values may be infinite, which JSON calls null.

    Source:
        Thompson 1936, Ann. Math. Stat. 7: the number of values below the median is binomial.
    """
    return quantile(values, 0.5)


def quantile(values: Figures, level: float) -> Document:
    """Any quantile and its exact interval; an end that the runs do not reach is the extreme value."""
    ordered, runs = np.sort(values), len(values)
    low = int(binom.ppf(0.025, runs, level)) - 1
    high = int(binom.ppf(0.975, runs, level))
    ends = [_json(ordered[max(0, low)]), _json(ordered[min(runs - 1, high)])]
    return {"value": _json(_middle(ordered, level)), "ci95": ends}


def _middle(ordered: Figures, level: float) -> float:
    place = level * (len(ordered) - 1)
    below, above = float(ordered[int(place)]), float(ordered[min(len(ordered) - 1, int(place) + 1)])
    part = place - int(place)
    # Between a finite and an infinite value lies no number.
    return below if part == 0.0 or below == above else below + part * (above - below)


def mean(values: Figures) -> Document:
    """The mean of finite values and its normal interval."""
    middle = float(values.mean())
    half = _Z95 * float(values.std(ddof=1)) / sqrt(len(values)) if len(values) > 1 else float("inf")
    ends = [_json(middle - half), _json(middle + half)]
    return {"value": _json(middle), "ci95": ends}


def _json(value: float) -> float | None:
    return round(float(value), 4) if isfinite(value) else None
