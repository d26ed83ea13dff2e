"""Whether what a version sees and predicts now is still what it was, against a reference: an alert, never a verdict.

Rule: nothing is randomised here, so a change of traffic and a change of the model look alike. What is tested
is whether the two samples could be shuffled, exactly for any sizes; what matters is decided by the effect.

Source: Siddiqi 2006 (PSI); Vovk & Wang 2021 for the means of e-values. The e-value is derived in docs/statistics.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import lgamma, log
from typing import Final, NamedTuple

from app.domain.catalog.declarations import PREDICTIONS
from app.domain.stats.categories import Categories, categories_of, counted, shared_level
from app.domain.stats.eprocess import log_weighted_mean
from app.domain.stats.histogram import Histogram, Spread
from app.domain.stats.homogeneity import CategoryEpoch, shift, stability_by_chance

# All windows of a reference together, and all that is looked at in each.
ALPHA: Final = 0.01
# From here on a PSI is called noticeable, by custom.
FLOOR: Final = 0.1
# Prior weights of the alternatives, from large differences to small ones.
_CONCENTRATIONS: Final = (10.0, 100.0, 1_000.0)


class Effect(NamedTuple):
    """How far a window is from its reference, in the reference's own categories.

    Attributes:
        stability: PSI in nats, less what chance alone makes of it, (K - 1)(1/n + 1/m); may be below 0.
        divergence: Jensen-Shannon in nats.
        distance: Wasserstein between the ranges of numbers, those apart by all ranges counting 1.
        worst_ratio: Share now over share then of the category whose share moved most.
    """

    stability: float
    divergence: float
    distance: float
    worst_ratio: float


@dataclass(frozen=True, slots=True)
class Drifted:
    """One distribution against its reference.

    Attributes:
        name: A feature's, or `PREDICTIONS`.
        n, reference_n: Values of the window and of the reference, missing ones included.
        effect: None while one of the two has too few values.
        log_e: Evidence against "both are samples of the same".
        log_limit: From where on that counts, with all that is looked at and all windows so far.
        flagged: Far and proven.
    """

    name: str
    n: int
    reference_n: int
    effect: Effect | None
    log_e: float
    log_limit: float
    flagged: bool


def drifted(reference: Spread, window: Spread, windows: int, floor: float = FLOOR) -> tuple[Drifted, ...]:  # ADR 0105
    """Every distribution of the reference, predictions first; together false at most with chance ALPHA, for ever.

    Args:
        reference: What a version was trained on, or saw first.
        window: What it saw in one window that has no exchange in common with the reference.
        windows: How many windows of this width there are by now, this one included, from 1; the b-th may spend
            ALPHA / (b (b + 1)).
        floor: Least PSI that matters.

    Raises:
        ValueError: windows below 1.
    """
    if windows < 1:
        raise ValueError(f"{windows} windows have been looked at by nobody")
    features = [(name, reference.features[name], window.features.get(name)) for name in sorted(reference.features)]
    pairs = [(PREDICTIONS, reference.predictions, window.predictions), *features]
    looked_at = [(name, then, now or Histogram()) for name, then, now in pairs if then.n]
    log_limit = log(max(1, len(looked_at)) * windows * (windows + 1) / ALPHA)
    return tuple(_drifted(name, then, now, log_limit, floor) for name, then, now in looked_at)


def _drifted(name: str, then: Histogram, now: Histogram, log_limit: float, floor: float) -> Drifted:
    far = effect(then, now)
    log_e = log_e_reference(then, now)
    flagged = far is not None and far.stability >= floor and log_e >= log_limit
    return Drifted(name, now.n, then.n, far, log_e, log_limit, flagged)


def effect(reference: Histogram, window: Histogram) -> Effect | None:
    """How far a window is from its reference; None where one of them is too small to say."""
    categories = categories_of(reference)
    if categories is None or not window.n:
        return None
    then, now = _both(categories, reference, window)
    both = [CategoryEpoch(0.5, now, then)]
    far = shift(both)
    if far is None:
        return None
    ranges = len(categories.edges) + 1
    return Effect(
        far.population_stability - stability_by_chance(both),
        far.jensen_shannon,
        _distance(then[:ranges], now[:ranges]),
        _worst_ratio(then, now),
    )


def _both(categories: Categories, reference: Histogram, window: Histogram) -> tuple[tuple[int, ...], tuple[int, ...]]:
    level = shared_level(categories, (reference, window))
    return counted(categories, reference, level), counted(categories, window, level)


def _distance(then: Sequence[int], now: Sequence[int]) -> float:
    """Mean distance of the two cumulative shares over the edges; 0 where either has no numbers."""
    if len(then) < 2 or not sum(then) or not sum(now):
        return 0.0
    pairs = zip(accumulate(then), accumulate(now), strict=True)
    return sum(abs(a / sum(then) - b / sum(now)) for a, b in pairs) / (len(then) - 1)


def _worst_ratio(then: Sequence[int], now: Sequence[int]) -> float:
    # Half a value for each, so that an empty category is not infinitely far away.
    ratios = [
        (b + 0.5) / (a + 0.5) * (sum(then) + 1.0) / (sum(now) + 1.0) for a, b in zip(then, now, strict=True) if a or b
    ]
    return max(ratios, key=lambda ratio: abs(log(ratio)))


def log_e_reference(reference: Histogram, window: Histogram) -> float:
    """Evidence against "the values of both are samples of the same", exact for any two sizes.

    Categories are cut from both together: they do not depend on which value is in which sample, so that under the
    hypothesis each split of the values is as likely as any other, whatever the distribution is.

    Returns:
        log E; 0.0 while both together have too few values, or one of them none.
    """
    categories = categories_of(reference + window)
    if categories is None:
        return 0.0
    return log_e_shuffled(*_both(categories, reference, window))


def log_e_shuffled(one: Sequence[int], two: Sequence[int]) -> float:
    """Evidence against "which value is in which sample is a matter of chance", given the totals by category.

    Under it the smaller sample `c` of `n` values is drawn from the totals `t` of `N` without replacement. E is
    Dirichlet-multinomial(c; k t / N) over that, a mean over k; half of it by all categories together,
    half of it the mean over each one beside the rest.

    Args:
        one, two: Values per category, shape (K,); which is which does not matter.

    Returns:
        log E; 0.0 where one of them is empty.

    Raises:
        ValueError: The shapes differ.
    """
    totals = [a + b for a, b in zip(one, two, strict=True)]
    smaller = min(sum(one), sum(two))
    if not smaller:
        return 0.0
    # Of equal sizes either is the smaller one: the mean of both.
    drawn = [each for each in (one, two) if sum(each) == smaller]
    return log_weighted_mean((1.0 / len(drawn), _log_e_drawn(each, totals)) for each in drawn)


def _log_e_drawn(drawn: Sequence[int], totals: Sequence[int]) -> float:
    seen = [(count, total) for count, total in zip(drawn, totals, strict=True) if total]
    n, both = sum(drawn), sum(totals)
    together = _log_e_mixed(seen)
    singly = [_log_e_mixed([(c, t), (n - c, both - t)]) for c, t in seen if t < both]
    if not singly:
        return 0.0
    mean = log_weighted_mean((1.0 / len(singly), each) for each in singly)
    return log_weighted_mean(((0.5, together), (0.5, mean)))


def _log_e_mixed(seen: Sequence[tuple[int, int]]) -> float:
    n, both = sum(count for count, _ in seen), sum(total for _, total in seen)
    by_chance = lgamma(both - n + 1.0) - lgamma(both + 1.0)
    by_chance += sum(lgamma(total + 1.0) - lgamma(total - count + 1.0) for count, total in seen)
    share = 1.0 / len(_CONCENTRATIONS)
    return log_weighted_mean((share, _log_dirichlet(seen, n, k / both, k) - by_chance) for k in _CONCENTRATIONS)


def _log_dirichlet(seen: Sequence[tuple[int, int]], n: int, scale: float, concentration: float) -> float:
    """Log chance of one order of the values under a Dirichlet prior about the totals' shares."""
    log_p = lgamma(concentration) - lgamma(concentration + n)
    return log_p + sum(lgamma(scale * total + count) - lgamma(scale * total) for count, total in seen)
