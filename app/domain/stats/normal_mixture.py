"""The normal mixture: the score process where sums are nearly normal, and the intervals it gives.

Rule: asymptotic. Narrower than the exact mixture of `score` and indifferent to the range of the
outcomes, but its level holds only in the limit: for display, and beyond some 500 units an arm.

Source: Howard, Ramdas, McAuliffe & Sekhon 2021, Ann. Stat. 49(2), Propositions 5 and 6;
Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Ann. Stat. 52(6) (time-uniform limits).
"""

from math import exp, inf, log, pi, sqrt

from scipy.special import erfcx, log_ndtr

from app.domain.stats.score import Score

_SQRT_2 = sqrt(2.0)
_HALF_LOG_2PI = 0.5 * log(2.0 * pi)
# Relative to the root; the last Newton step is far more exact than this.
_CONVERGED = 1e-12


def normal_log_mixture(s: float, v: float, rho: float) -> float:
    """Logarithm of the one-sided normal mixture: evidence against a mean of at most 0.

    log m = log(4 rho / (v + rho)) / 2 + s^2 / (2 (v + rho)) + log Phi(s / sqrt(v + rho)).

    Args:
        s: Sum of the increments; S - margin * W for a margin.
        v: Sum of their squares, >= 0.
        rho: Tuning constant, > 0; `score.best_rho(v, 2 * alpha)`.

    Raises:
        ValueError: An argument that is no such number.

    Source:
        Howard et al. 2021, Proposition 6.
    """
    _check(s, v, rho)
    return 0.5 * log(4.0 * rho / (v + rho)) + _log_half_plane(s / sqrt(v + rho))


def normal_mixture_bound(v: float, alpha: float, rho: float) -> float:
    """The s at which the one-sided mixture reaches 1/alpha.

    Args:
        v: Sum of squares, >= 0.
        alpha: In (0, 1).
        rho: See `normal_log_mixture`.

    Raises:
        ValueError: As `normal_log_mixture`.
    """
    _check(0.0, v, rho)
    target = log(1.0 / alpha) - 0.5 * log(4.0 * rho / (v + rho))
    # The logarithm of a moment generating function is convex: Newton from above falls to the root.
    z = step = sqrt(2.0 * (target + log(2.0)))
    while step > _CONVERGED * z:
        slope = z + exp(-0.5 * z * z - _HALF_LOG_2PI - float(log_ndtr(z)))
        step = (_log_half_plane(z) - target) / slope
        z -= step
    return z * sqrt(v + rho)


def normal_difference_interval(totals: Score, alpha: float, rho: float) -> tuple[float, float]:
    """Two-sided asymptotic interval of the mean difference canary minus stable.

    (S ± sqrt((V + rho) (2 log(1/alpha) + log((V + rho) / rho)))) / W; (-inf, inf) without overlap.

    Args:
        totals: Of `score.score`; or of pairs, `paired.paired_score`.
        alpha: In (0, 1), both sides together.
        rho: `score.best_rho(v, alpha)`.

    Raises:
        ValueError: As `normal_log_mixture`.

    Source:
        Howard et al. 2021, Proposition 5 in closed form; the increments of docs/statistics.md, P2.
    """
    _check(totals.score, totals.variance, rho)
    if not totals.overlap > 0.0:
        return -inf, inf
    spread = totals.variance + rho
    reach = sqrt(spread * (2.0 * log(1.0 / alpha) + log(spread / rho)))
    return (totals.score - reach) / totals.overlap, (totals.score + reach) / totals.overlap


def _log_half_plane(z: float) -> float:
    """z^2 / 2 + log Phi(z), without the cancellation that would make evidence of nothing."""
    if z < 0.0:
        return log(0.5 * float(erfcx(-z / _SQRT_2)))
    return 0.5 * z * z + float(log_ndtr(z))


def _check(s: float, v: float, rho: float) -> None:
    # Written this way round so that NaN is refused too.
    if not (-inf < s < inf and 0.0 <= v < inf and 0.0 < rho < inf):
        raise ValueError(f"no score process has s = {s}, v = {v} and rho = {rho}")
