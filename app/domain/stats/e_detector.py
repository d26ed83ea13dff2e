"""Silent decay of a promoted version: a mixture Shiryaev-Roberts e-detector over equal buckets.

Rule: M is an e-detector: before any change its mean grows by at most 1 a bucket, so the alarm
"mean of M over the tilts >= A" is false at most once in A buckets on average, for ever. A
detector is the tuple of its log M, one per tilt; a bucket is one hour, say.

Source: Shin, Ramdas & Rinaldo 2024, New England J. Stat. Data Sci. (arXiv:2203.03532);
Roberts 1966, Technometrics 8.
"""

from collections.abc import Sequence
from math import inf, log, log1p
from typing import TypeAlias

from app.domain.stats.eprocess import WORSE, Outcomes, check_outcomes, log_sum_exp, tilted

Detector: TypeAlias = tuple[float, ...]

# Tilts whose rate would exceed this are left out: they see nothing that smaller ones do not.
_GREATEST_RATE = 0.5


def detectable(most: float, ratios: Sequence[float] = WORSE) -> tuple[float, ...]:
    """The ratios worth watching for above a rate that is at most `most`. Raises: ValueError."""
    _check_rate(most)
    return tuple(ratio for ratio in ratios if ratio * most <= _GREATEST_RATE)


def unalarmed(ratios: Sequence[float]) -> Detector:
    """A detector that has seen nothing: M = 0 for each ratio."""
    return (-inf,) * len(ratios)


def against_rate(bad: int, n: int, most: float, ratios: Sequence[float]) -> tuple[float, ...]:
    """One bucket's factors against "each answer is bad with chance at most `most`", as logarithms.

    log L_j = x log r_j + (n - x) log((1 - r_j m) / (1 - m)).

    Args:
        bad: x, bad answers of the bucket, 0 <= x <= n.
        n: All answers of the bucket.
        most: m, an upper bound of the rate before the change, in (0, 1): of the peak hour, or
            an upper confidence bound from before the promotion plus a tolerance.
        ratios: r_j > 1 with r_j m < 1; `detectable`.

    Raises:
        ValueError: Counts or rates that cannot be.

    Source:
        Shin, Ramdas & Rinaldo 2024, section 4 (Bernoulli, simple alternatives).
    """
    _check_rate(most)
    if not 0 <= bad <= n < inf:
        raise ValueError(f"{bad} bad answers of {n}")
    return tuple(bad * log(r) + (n - bad) * (log1p(-r * most) - log1p(-most)) for r in ratios)


def beside_standby(bucket: Outcomes, ratios: Sequence[float], r0: float = 1.0) -> tuple[float, ...]:
    """One bucket's factors against "at most r0 times as bad as the standby beside it", as logarithms.

    log L_j = a log x_j - N log(1 + t (x_j - 1)), t = `eprocess.tilted`(w, r0): the factors of
    `eprocess.log_e_tilt`. Both versions serve the same hour, so traffic may change as it likes.

    Args:
        bucket: The promoted version as the canary, with its weight w; the standby, which keeps
            1 or 2 % of the traffic, as stable.
        ratios: x_j > 1, on top of r0.
        r0: Largest harmless ratio, > 0.

    Raises:
        ValueError: Counts or weights that cannot be.

    Source:
        Shin, Ramdas & Rinaldo 2024, with the factors of Lindon, Sanden & Shirikian 2022.
    """
    check_outcomes(bucket)
    bad = bucket.canary_bad + bucket.stable_bad
    weight = tilted(bucket.weight, r0)
    return tuple(bucket.canary_bad * log(x) - bad * log1p(weight * (x - 1.0)) for x in ratios)


def after_bucket(detector: Detector, log_factors: Sequence[float]) -> Detector:
    """The detector one bucket later: M_j becomes (1 + M_j) L_j.

    Args:
        detector: Of before the bucket, one log M per ratio.
        log_factors: Of `against_rate` or `beside_standby`, in the same order.
    """
    return tuple(
        log_sum_exp((0.0, log_m)) + log_factor for log_m, log_factor in zip(detector, log_factors, strict=True)
    )


def log_alarm(detector: Detector) -> float:
    """Log of the mean of M over the ratios: an alarm at log A is false at most once in A buckets."""
    return log_sum_exp(detector) - log(len(detector))


def _check_rate(most: float) -> None:
    # Written this way round so that NaN is refused too.
    if not 0.0 < most < 1.0:
        raise ValueError(f"{most} is no rate in (0, 1)")
