"""Whether both versions see the same categories: labels, score deciles, feature bins, missing values.

Rule: of features the coin allows no difference, so one is a fault of routing or logging; of
predictions a new version's may differ, so they are judged with a tolerance and never turn it back.

Source: Lindon & Malek 2022 (arXiv:2011.03567) for counts by category; the tilts of `eprocess`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import inf, isnan, log
from typing import NamedTuple

from app.domain.stats.eprocess import BETTER, WORSE, Outcomes, log_e_tilt, log_weighted_mean

# Added to each category before shares are compared, so that an empty one is not infinitely far away.
_SMOOTHING = 0.5


class CategoryEpoch(NamedTuple):
    """Both arms' exchanges by category in one weight epoch.

    Attributes:
        weight: Chance that the coin chose the canary, in (0, 1).
        canary, stable: Exchanges per category, shape (K,), every exchange in exactly one.
    """

    weight: float
    canary: tuple[int, ...]
    stable: tuple[int, ...]


class Shift(NamedTuple):
    """How far the canary's categories are from stable's, for display.

    Attributes:
        population_stability: PSI = sum (p - q) log(p / q); by custom 0.1 is noticeable, 0.25 large.
        jensen_shannon: Mean divergence from the even mixture, in nats, at most log 2.
    """

    population_stability: float
    jensen_shannon: float


def log_e_category(epochs: Sequence[CategoryEpoch], category: int, tolerance: float = 0.0) -> float:
    """Evidence against "the canary has this category between 1/(1+t) and 1+t times as often as stable".

    Given an exchange's category the arm is a coin, as it is given a bad answer: half the weight
    on each side, r0 = 1 + t against WORSE and r0 = 1 / (1 + t) against BETTER.

    Args:
        epochs: One entry per weight, each weight in (0, 1).
        category: Its position.
        tolerance: t >= 0.

    Returns:
        log E; 0.0 before the category was seen.

    Raises:
        ValueError: An epoch that cannot be, or a tolerance below 0.
    """
    if not 0.0 <= tolerance < inf:
        raise ValueError(f"{tolerance} is no tolerance")
    seen = outcomes_of(epochs, category)
    more = log_e_tilt(seen, 1.0 + tolerance, WORSE)
    fewer = log_e_tilt(seen, 1.0 / (1.0 + tolerance), BETTER)
    return log_weighted_mean(((0.5, more), (0.5, fewer)))


def outcomes_of(epochs: Sequence[CategoryEpoch], category: int) -> tuple[Outcomes, ...]:
    """One category's exchanges as the outcomes of `eprocess`: `ratio_interval` says how far it is off."""
    return tuple(Outcomes(epoch.weight, epoch.canary[category], epoch.stable[category]) for epoch in epochs)


def log_e_drift(epochs: Sequence[CategoryEpoch], tolerance: float = 0.0) -> float:
    """Evidence against "no category is off by more than the tolerance".

    E = prod_k E_k / 2 + mean_k E_k / 2: many small shifts together, or one large one. An exchange
    is in one category, so it moves one factor of the product, and a fair one.

    Args:
        epochs: One entry per weight, all with the same K >= 1 categories.
        tolerance: t >= 0; 0 for features, 0.25 by default for predictions.

    Returns:
        log E; 0.0 before anything was seen.

    Raises:
        ValueError: As `log_e_category`, or categories that do not match.

    Source:
        Lindon & Malek 2022; Vovk & Wang 2021 for the mean.
    """
    if not epochs:
        return 0.0
    logs = [log_e_category(epochs, category, tolerance) for category in range(_categories(epochs))]
    mean = log_weighted_mean((1.0 / len(logs), log_e) for log_e in logs)
    return log_weighted_mean(((0.5, sum(logs)), (0.5, mean)))


def shift(epochs: Sequence[CategoryEpoch]) -> Shift | None:
    """Effect sizes, with stable's shares standardised to the canary's mix of weights.

    None until both arms were seen in some epoch. Biased upwards for few exchanges: see `stability_by_chance`.
    An effect size, not evidence.

    Raises:
        ValueError: Categories that do not match.

    Source:
        Siddiqi 2006, Credit Risk Scorecards (PSI); Lin 1991, IEEE Trans. Inf. Theory 37 (Jensen-Shannon).
    """
    both = [epoch for epoch in epochs if sum(epoch.canary) and sum(epoch.stable)]
    if not both:
        return None
    canary = [_SMOOTHING] * _categories(both)
    stable = list(canary)
    for epoch in both:
        scale = sum(epoch.canary) / sum(epoch.stable)
        canary = [total + count for total, count in zip(canary, epoch.canary, strict=True)]
        stable = [total + scale * count for total, count in zip(stable, epoch.stable, strict=True)]
    p, q = ([count / sum(counts) for count in counts] for counts in (canary, stable))
    return Shift(
        population_stability=sum((a - b) * log(a / b) for a, b in zip(p, q, strict=True)),
        jensen_shannon=0.5
        * sum(a * log(2.0 * a / (a + b)) + b * log(2.0 * b / (a + b)) for a, b in zip(p, q, strict=True)),
    )


def stability_by_chance(epochs: Sequence[CategoryEpoch]) -> float:
    """What PSI is on average where nothing differs: (K - 1) (1 / n + sum_e n_e^2 / m_e / n^2), over K seen categories.

    n_e and m_e are the canary's and stable's exchanges of the epochs in which both have some; 0.0 where none has.

    Source:
        Yurdakul & Naranjo 2020, J. Risk Model Validation 14(4): PSI over 1/n + 1/m is about chi-squared with K - 1.
    """
    both = [epoch for epoch in epochs if sum(epoch.canary) and sum(epoch.stable)]
    n = sum(sum(epoch.canary) for epoch in both)
    if not n:
        return 0.0
    seen = sum(
        1
        for counts in zip(*(arm for epoch in both for arm in (epoch.canary, epoch.stable)), strict=True)
        if any(counts)
    )
    of_stable = sum(sum(epoch.canary) ** 2 / sum(epoch.stable) for epoch in both) / n**2
    return (seen - 1) * (1.0 / n + of_stable)


def decile_edges(values: Sequence[float]) -> tuple[float, ...]:
    """Up to nine ascending edges that cut stable's values of before the start into equal parts.

    Args:
        values: At least one number; NaN is left out. Values that repeat share an edge.

    Raises:
        ValueError: No number at all.
    """
    ordered = sorted(value for value in values if not isnan(value))
    if not ordered:
        raise ValueError("no values to take deciles of")
    return tuple(sorted({ordered[len(ordered) * tenth // 10] for tenth in range(1, 10)}))


def bin_of(value: float, edges: Sequence[float]) -> int:
    """The category of a number among `edges`: 0 below the first; one more than the last for NaN."""
    return len(edges) + 1 if isnan(value) else bisect_right(edges, value)


def _categories(epochs: Sequence[CategoryEpoch]) -> int:
    widths = {len(arm) for epoch in epochs for arm in (epoch.canary, epoch.stable)}
    if len(widths) != 1 or 0 in widths:
        raise ValueError("the arms do not have the same categories")
    return widths.pop()
