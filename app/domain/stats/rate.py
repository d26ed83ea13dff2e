"""One arm's own rate of bad answers, at any time: against a ceiling, and as an interval.

Rule: nothing here is randomised. It holds for a rate that never crosses the tested one, so it
guards a limit that the other arm cannot excuse; it never says which version is worse.

Source: Robbins 1970, Ann. Math. Stat. 41; Howard, Ramdas, McAuliffe & Sekhon 2021,
Ann. Stat. 49(2), Propositions 7 and 8 (the beta-binomial mixtures, two- and one-sided).
"""

from collections.abc import Callable
from math import inf, log

from scipy.special import betainc

from app.domain.stats.eprocess import log_e_dirichlet
from app.domain.stats.score import best_rho

_LEAST_CONCENTRATION = 1e-3
# How near the edge of an interval is found: relative to a rate, and where a rate is as good as zero.
_CLOSE, _NOTHING = 1e-9, 1e-12


def concentration_for(n: float, alpha: float) -> float:
    """Prior weight k that makes the two-sided interval tightest near `n` answers; insensitive.

    Source:
        Howard et al. 2021, section 3.5: the normal mixture's rho per unit of variance, less one.
    """
    return max(best_rho(n, alpha) - 1.0, _LEAST_CONCENTRATION)


# Tightest near a thousand answers, when a limit of a few per cent begins to show.
CONCENTRATION = concentration_for(1_000.0, 0.05)


def log_e_above(bad: float, n: float, rate: float, concentration: float = CONCENTRATION) -> float:
    """Evidence against "an answer is bad with chance at most `rate`, whatever came before".

    log E = log B(kp + x, k(1-p) + n - x) - log B(kp, k(1-p)) - x log p - (n-x) log(1-p)
            + log P(beta(kp + x, k(1-p) + n - x) > p) - log P(beta(kp, k(1-p)) > p),
    the likelihood ratio mixed over the rates q above p, so E[factor] = 1 at p and less below.

    Args:
        bad: x, bad answers, 0 <= x <= n.
        n: All answers.
        rate: p, the ceiling, in (0, 1).
        concentration: k > 0; see `concentration_for`.

    Returns:
        log E; -inf where the counts lie so far below that the evidence is no float.

    Raises:
        ValueError: Counts that cannot be, or a rate outside (0, 1).

    Source:
        Howard et al. 2021, Proposition 8.
    """
    _check(bad, n, rate)
    a, b = concentration * rate, concentration * (1.0 - rate)
    above = float(betainc(b + n - bad, a + bad, 1.0 - rate))
    if above <= 0.0:
        return -inf
    both_sides = log_e_dirichlet((bad, n - bad), (rate, 1.0 - rate), concentration)
    return both_sides + log(above) - log(float(betainc(b, a, 1.0 - rate)))


def rate_bounds(bad: float, n: float, alpha: float, concentration: float = CONCENTRATION) -> tuple[float, float]:
    """Interval that holds a constant rate of bad answers at all times with chance 1 - alpha.

    The rates that the two-sided beta-binomial mixture does not refute; (0.0, 1.0) before any answer.

    Args:
        bad: Bad answers, 0 <= bad <= n.
        n: All answers.
        alpha: In (0, 1), both sides together.
        concentration: See `concentration_for`.

    Raises:
        ValueError: Counts that cannot be, or alpha outside (0, 1).

    Source:
        Howard et al. 2021, Proposition 7, inverted; equals confseq's bernoulli_confidence_interval.
    """
    _check(bad, n, alpha)
    if not n:
        return 0.0, 1.0
    log_limit, seen = log(1.0 / alpha), bad / n

    def refuted(rate: float) -> bool:
        return log_e_dirichlet((bad, n - bad), (rate, 1.0 - rate), concentration) >= log_limit

    return _last_refuted(refuted, 0.0, seen), _last_refuted(refuted, 1.0, seen)


def _last_refuted(refuted: Callable[[float], bool], outside: float, inside: float) -> float:
    """Bisect for the edge between a refuted rate and the observed one, which never is."""
    while abs(inside - outside) > _CLOSE * max(inside, outside) + _NOTHING:
        middle = (outside + inside) / 2.0
        if refuted(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _check(bad: float, n: float, share: float) -> None:
    # Written this way round so that NaN is refused too.
    if not 0.0 <= bad <= n < inf:
        raise ValueError(f"{bad} bad answers of {n}")
    if not 0.0 < share < 1.0:
        raise ValueError(f"{share} is no share in (0, 1)")
