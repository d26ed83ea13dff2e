"""GrowthBook's sequential test: an asymptotic confidence sequence for the difference of two rates.

Source: growthbook/growthbook, packages/stats/gbstats/frequentist/tests.py at 8f1db44 (its
sequential tests, tuning parameter 5,000 by default); equations 9 and 161 of Waudby-Smith,
Arbour, Sinha, Kennedy & Ramdas, arXiv:2103.06476v7.

Choices: the absolute difference; two-sided at 2 alpha, so that harm alone is refuted at alpha;
both arms' rates are pooled over whatever weights they had, as an experiment's totals are.
"""

import numpy as np

from bench.judging.timings import Moments, Timings
from bench.judging.traffic import Counts, Ends, Figures, Traffic, rollback_only

TUNING = 5_000.0


def mixing(alpha: float, tuning: float = TUNING) -> float:
    """Compute rho, equation 161: the sequence is tightest near `tuning` units."""
    twice = -2.0 * np.log(alpha)
    return float(np.sqrt((twice + np.log1p(twice)) / tuning))


def half_width(variance: Figures, n: Counts, alpha: float, tuning: float = TUNING) -> Figures:
    """Half of the two-sided interval, equation 9.

    Args:
        variance: Per unit: the squared standard error times n.
        n: Units of both arms.
        alpha: Two-sided level.
        tuning: See `mixing`.
    """
    rho = mixing(alpha, tuning)
    grown = n * rho * rho + 1.0
    width: Figures = np.sqrt(variance * 2.0 * grown * np.log(np.sqrt(grown) / alpha)) / (n * rho)
    return width


def interval(
    canary: Counts, canary_bad: Counts, stable: Counts, stable_bad: Counts, alpha: float
) -> tuple[Figures, Figures]:
    """Both ends of the sequence for canary minus stable; NaN without answers in an arm."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ours, theirs = canary_bad / canary, stable_bad / stable
        squared_error = ours * (1.0 - ours) / canary + theirs * (1.0 - theirs) / stable
    return _around(ours - theirs, squared_error, canary + stable, alpha)


def interval_of_means(canary: Moments, stable: Moments, alpha: float) -> tuple[Figures, Figures]:
    """The same for a difference of means; NaN where an arm has fewer than two answers."""
    with np.errstate(divide="ignore", invalid="ignore"):
        squared_error = sum((arm.squares - arm.total**2 / arm.n) / (arm.n - 1) / arm.n for arm in (canary, stable))
        difference = canary.total / canary.n - stable.total / stable.n
    return _around(difference, np.asarray(squared_error), canary.n + stable.n, alpha)


def _around(difference: Figures, squared_error: Figures, n: Counts, alpha: float) -> tuple[Figures, Figures]:
    with np.errstate(divide="ignore", invalid="ignore"):
        width = half_width(squared_error * n, n, alpha)
    # Without variance the library gives no result.
    width = np.where(squared_error > 0.0, width, np.nan)
    return difference - width, difference + width


def judge(traffic: Traffic, alpha: float = 0.01) -> Ends:
    """Roll back where the whole interval lies above 0; it never promotes."""
    totals = traffic.totals()
    lower, _ = interval(totals.canary, totals.canary_bad, totals.stable, totals.stable_bad, 2.0 * alpha)
    return rollback_only(np.nan_to_num(lower, nan=-1.0) > 0.0)


def judge_latency(timings: Timings, alpha: float = 0.01) -> Ends:
    """The same with the mean latency."""
    lower, _ = interval_of_means(*timings.moments(), 2.0 * alpha)
    return rollback_only(np.nan_to_num(lower, nan=-1.0) > 0.0)
