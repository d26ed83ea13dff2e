"""The score process: sums of (arm - weight) * (outcome - centre), for absolute differences.

Rule: pure in totals per weight epoch, like `eprocess`; valid at every look. All logs are natural.

Source: Howard, Ramdas, McAuliffe & Sekhon 2021, Ann. Stat. 49(2) (arXiv:1810.08240), Theorem 4
(empirical Bernstein) and Proposition 9 (gamma-exponential mixture).
"""

from collections.abc import Iterable
from math import exp, inf, lgamma, log, log1p, pi, sqrt
from typing import NamedTuple

from scipy.special import gammainc

_HALF_LOG_2PI = 0.5 * log(2.0 * pi)
# Below this many standard deviations the continued fraction is short and gammainc loses digits.
_FAR_BELOW = -2.0
# Relative to the root; the last Newton step is far more exact than this.
_CONVERGED = 1e-9
# Of a continued fraction that is short where it is used.
_MOST_TERMS = 10_000
_ROUNDED_UP = 1.0 + 1e-9


class Sums(NamedTuple):
    """One arm's outcomes: how many, their sum and their sum of squares."""

    n: float
    total: float
    squares: float


class ScoreEpoch(NamedTuple):
    """Both arms in one weight epoch.

    Attributes:
        weight: Chance that the coin chose the canary, in (0, 1).
        units: Exchanges that count for the overlap; at most the number drawn, so that answers
            that never came do not speak for the canary.
    """

    weight: float
    canary: Sums
    stable: Sums
    units: float


class Score(NamedTuple):
    """What the score process knows.

    Attributes:
        score: S = sum_e (1-w)(sum_c y - n_c m) - w (sum_s y - n_s m); mean w(1-w) * difference.
        variance: V = sum_e (1-w)^2 Q_c + w^2 Q_s with Q = sum y^2 - 2m sum y + n m^2.
        overlap: W = sum_e n w(1-w), so that S / W estimates canary minus stable.
    """

    score: float
    variance: float
    overlap: float


def binary(n: float, bad: float) -> Sums:
    """Sums of `n` outcomes of which `bad` are 1 and the rest 0."""
    return Sums(n, bad, bad)


def checked_sums(arm: Sums, least: float = 0.0) -> Sums:
    """The sums, if some number of outcomes in [least, 1] has them. Raises: ValueError."""
    n, total, squares = arm
    # Written this way round so that NaN is refused too.
    possible = 0.0 <= n < inf and least * n <= total <= n and squares <= n
    # By Cauchy and Schwarz, but for rounding: too few squares would make evidence of nothing.
    if not (possible and total * total <= n * squares * _ROUNDED_UP):
        raise ValueError(f"no outcomes in [{least:g}, 1] have {arm}")
    return arm


class Increment(NamedTuple):
    """What one epoch adds to the score process, before it is scaled.

    Attributes:
        step: The greatest upward step of S in this epoch.
        score, variance, overlap: As in `Score`.
    """

    step: float
    score: float
    variance: float
    overlap: float


def score(epochs: Iterable[ScoreEpoch], centre: float, greatest_step: float = inf) -> Score:
    """Add the epochs up.

    Args:
        epochs: One entry per weight, each weight in (0, 1).
        centre: m, a guess of the mean outcome fixed before the first exchange; a wrong one
            costs power, never validity.
        greatest_step: See `scaled`.

    Raises:
        ValueError: A weight outside (0, 1), or sums that no outcomes in [0, 1] have.
    """
    return scaled(increments(epochs, centre), greatest_step)


def increments(epochs: Iterable[ScoreEpoch], centre: float) -> tuple[Increment, ...]:
    """Each epoch's share of the score process; arguments and errors as of `score`."""
    return tuple(_increment(epoch, centre) for epoch in epochs)


def _increment(epoch: ScoreEpoch, centre: float) -> Increment:
    w, canary, stable, units = epoch
    if not (0.0 < w < 1.0 and 0.0 <= units < inf):
        raise ValueError(f"no coin made {epoch}")
    v = 1.0 - w
    canary_sum, canary_squares = _about(checked_sums(canary), centre)
    stable_sum, stable_squares = _about(checked_sums(stable), centre)
    return Increment(
        scale_not_worse(centre, w, w),
        v * canary_sum - w * stable_sum,
        v * v * canary_squares + w * w * stable_squares,
        units * w * v,
    )


def scaled(epochs: Iterable[Increment], greatest_step: float) -> Score:
    """Add the epochs up so that none steps further upwards than `greatest_step`.

    Epochs whose steps may be greater (small weights) are scaled down to it, so that they do not
    dictate c to the rest. The factor is known before the draw, so S, V and W stay what they are
    in the sources.
    """
    score_sum = variance = overlap = 0.0
    for step, of_score, of_variance, of_overlap in epochs:
        b = min(1.0, greatest_step / step)
        score_sum += b * of_score
        variance += b * b * of_variance
        overlap += b * of_overlap
    return Score(score_sum, variance, overlap)


def _about(arm: Sums, centre: float) -> tuple[float, float]:
    """Sum of y - m, and of its square, which rounding must not make negative."""
    n, total, squares = arm
    return total - n * centre, max(0.0, squares - 2.0 * centre * total + n * centre * centre)


def scale_worse(centre: float, least_weight: float, greatest_weight: float) -> float:
    """Scale c for evidence of harm: the largest step of S downwards, outcomes in [0, 1]."""
    return max((1.0 - least_weight) * centre, greatest_weight * (1.0 - centre))


def scale_not_worse(centre: float, least_weight: float, greatest_weight: float) -> float:
    """Scale c for evidence of no harm: the largest step of S upwards, outcomes in [0, 1]."""
    return max((1.0 - least_weight) * (1.0 - centre), greatest_weight * centre)


def best_rho(variance: float, alpha: float) -> float:
    """Tuning constant that makes the two-sided bound tightest at `variance`; one-sided: pass 2 * alpha.

    Source:
        Howard et al. 2021, section 3.5, in the closed form of their library confseq.
    """
    log_squared = 2.0 * log(1.0 / alpha)
    return variance / (log_squared + log1p(log_squared))


def gamma_exponential_log_mixture(s: float, v: float, rho: float, c: float) -> float:
    """Logarithm of the gamma-exponential mixture m(s, v), a supermartingale when the mean is not above 0.

    Args:
        s: Sum of the increments, each >= -c.
        v: Sum of their squares, >= 0.
        rho: Tuning constant, > 0; see `best_rho`.
        c: Scale, > 0.

    Raises:
        ValueError: An argument that is no such number.

    Source:
        Howard et al. 2021, Proposition 9: with k = rho/c^2, u = (v+rho)/c^2 and
        x = (c s + v + rho)/c^2, m = k^k e^-k / (Gamma(k) P(k,k)) * Gamma(u) P(u,x) x^-u e^x.
        Computed as g(u, s/c) - g(k, 0), see `_log_integral`, which neither over- nor underflows.
    """
    _check_mixture(s, v, rho, c)
    squared = c * c
    return _log_integral((v + rho) / squared, s / c) - _log_integral(rho / squared, 0.0)


def gamma_exponential_bound(v: float, alpha: float, rho: float, c: float) -> float:
    """The s at which the mixture reaches 1/alpha: s stays below it for ever with chance 1 - alpha.

    Raises:
        ValueError: An argument that is no such number.

    Source:
        Howard et al. 2021, Theorem 1 applied to Proposition 9.
    """
    _check_mixture(0.0, v, rho, c)
    log_limit = log(1.0 / alpha)
    target = _log_integral(rho / (c * c), 0.0) + log_limit
    u = (v + rho) / (c * c)
    d = sqrt(2.0 * u * log_limit) + log_limit
    while _log_integral(u, d) < target:
        d *= 2.0
    # g is a log moment generating function in d, so convex: Newton from above falls to the root and
    # cannot pass it. Its slope follows from the incomplete gamma's, DLMF 8.8.13.
    step = d
    while step > _CONVERGED * d:
        g = _log_integral(u, d)
        step = (g - target) * (u + d) / (exp(-g) + d)
        d -= step
    return c * d


def _check_mixture(s: float, v: float, rho: float, c: float) -> None:
    # Written this way round so that NaN is refused too.
    if not (-inf < s < inf and 0.0 <= v < inf and 0.0 < rho < inf and 0.0 < c < inf):
        raise ValueError(f"no score process has s = {s}, v = {v}, rho = {rho} and c = {c}")


def _log_integral(u: float, d: float) -> float:
    """g(u, d) = log of the integral of t^(u-1) exp((u+d)(1-t)) over t in (0, 1), for any real d.

    It equals log(Gamma(u) P(u, x) x^-u e^x) at x = u + d where x > 0.
    """
    if u + d <= 0.0 or d < _FAR_BELOW * sqrt(u):
        return -_log_fraction(u, u + d)
    return _HALF_LOG_2PI - 0.5 * log(u) + _stirling_error(u) + u * _minus_log1p(d / u) + log(float(gammainc(u, u + d)))


def _log_fraction(u: float, x: float) -> float:
    """Logarithm of the continued fraction of 1/g, by the modified Lentz method.

    Source:
        DLMF 8.9.1; Thompson & Barnett 1986.
    """
    value, numerator, denominator = u, u, 0.0
    j, change = 0, 0.0
    while abs(change - 1.0) >= 1e-15 and j < _MOST_TERMS:
        j += 1
        a = -(u + (j - 1) // 2) * x if j % 2 else (j // 2) * x
        denominator = 1.0 / (u + j + a * denominator)
        numerator = u + j + a / numerator
        change = numerator * denominator
        value *= change
    return log(value)


def _stirling_error(u: float) -> float:
    """lgamma(u) minus Stirling's formula, without cancellation for large u (DLMF 5.11.1)."""
    if u < 20.0:
        return lgamma(u) - ((u - 0.5) * log(u) - u + _HALF_LOG_2PI)
    return (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * u * u)) / (u * u)) / u


def _minus_log1p(t: float) -> float:
    """Compute t - log(1 + t) without cancellation for small t."""
    if abs(t) > 1e-2:
        return t - log1p(t)
    total, power = 0.0, t
    for n in range(2, 10):
        power *= -t
        total -= power / n
    return total


def log_e_worse(totals: Score, margin: float, rho: float, c: float) -> float:
    """Evidence against "the canary's mean outcome is at most `margin` above stable's".

    log E = log m(S - margin * W, V; rho, c), c from `scale_worse`: the harm test of graded
    outcomes, where `eprocess.log_e_tilt` has nothing to count.

    Source:
        Howard et al. 2021, Theorem 4 with predictable centre 0, and Proposition 9.
    """
    return gamma_exponential_log_mixture(totals.score - margin * totals.overlap, totals.variance, rho, c)


def log_e_not_worse(totals: Score, margin: float, rho: float, c: float) -> float:
    """Evidence against "the canary's mean outcome is at least `margin` above stable's".

    log E = log m(margin * W - S, V; rho, c), c from `scale_not_worse`.

    Source:
        Howard et al. 2021, Theorem 4 with predictable centre 0, and Proposition 9.
    """
    return gamma_exponential_log_mixture(margin * totals.overlap - totals.score, totals.variance, rho, c)


def excess_bound(totals: Score, alpha: float, rho: float, c: float) -> float:
    """U, anytime upper bound on the mean difference canary minus stable, at most 1.

    U = (S + bound(V, alpha)) / W: the smallest margin that `log_e_not_worse` refutes at alpha.
    1.0 before there is any overlap.
    """
    if totals.overlap <= 0.0:
        return 1.0
    reach = totals.score + gamma_exponential_bound(totals.variance, alpha, rho, c)
    return min(1.0, reach / totals.overlap)


def difference_interval(totals: Score, alpha: float, rho: float, worse: float, not_worse: float) -> tuple[float, float]:
    """Two-sided anytime interval of the mean difference canary minus stable, alpha / 2 each side.

    (-inf, inf) without overlap. `worse` and `not_worse` are the scales of the two directions.
    """
    if totals.overlap <= 0.0:
        return -inf, inf
    down = gamma_exponential_bound(totals.variance, alpha / 2.0, rho, worse)
    up = gamma_exponential_bound(totals.variance, alpha / 2.0, rho, not_worse)
    return (totals.score - down) / totals.overlap, (totals.score + up) / totals.overlap
