"""E-processes that test the coin: given this outcome, which arm had it?

Rule: every function here is pure in totals per weight epoch, so replicas merge in any order,
and each stays below 1/alpha for ever with probability 1 - alpha when its hypothesis holds
(Ville 1939), however often it is read. All logs are natural.

Source: Lindon & Malek 2022 (arXiv:2011.03567); Lindon, Sanden & Shirikian 2022
(arXiv:2205.14762); Turner, Ly & Grünwald 2024. The grid of tilts with a known weight per
epoch is derived in docs/statistics.md.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import exp, inf, lgamma, log, log1p, sqrt
from typing import NamedTuple

# Alternatives: the canary's rate is 1 + x times stable's; four per decade, equal weight.
EXCESSES = tuple(0.1 * 10.0 ** (k / 4.0) for k in range(13))
WORSE = tuple(1.0 + x for x in EXCESSES)
BETTER = tuple(1.0 / (1.0 + x) for x in EXCESSES)

# Ratios beyond these are shown as the limit itself.
_LEAST_RATIO, _GREATEST_RATIO = 1e-3, 1e3


class Outcomes(NamedTuple):
    """Both arms' answers in one weight epoch, split into bad and good.

    Attributes:
        weight: Chance that the coin chose the canary, in (0, 1).
    """

    weight: float
    canary_bad: int
    stable_bad: int
    canary_good: int = 0
    stable_good: int = 0


def log_sum_exp(logs: Sequence[float]) -> float:
    """log(sum(exp(logs))) without overflow; -inf for nothing."""
    greatest = max(logs, default=-inf)
    if greatest == -inf:
        return -inf
    return greatest + log(sum([exp(value - greatest) for value in logs]))


@lru_cache(maxsize=4096)
def _log_mean_tilts(weight: float, tilts: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(log1p(weight * (tilt - 1.0)) for tilt in tilts)


def log_e_tilt(epochs: Iterable[Outcomes], r0: float = 1.0, excesses: Sequence[float] = WORSE) -> float:
    """Evidence against "a bad answer is at most r0 times as likely from the canary".

    log E = logsumexp_j[ log pi_j + A log(r_j/r0) - sum_e N_e (log(1+w_e(r_j-1)) - log(1+w_e(r0-1))) ]
    with A the canary's bad answers, N_e all bad answers of an epoch, r_j = r0 * excesses_j and
    pi uniform. Good answers are not used, so the rates may drift, cycle or burst.

    Args:
        epochs: One entry per weight, each weight in (0, 1).
        r0: Largest harmless ratio of the canary's bad rate to stable's, > 0.
        excesses: `WORSE` tests against r0 from above; `BETTER` tests "at least r0 times as
            likely", which is the direction that promotes.

    Returns:
        log E; 0.0 before any bad answer.

    Source:
        Lindon, Sanden & Shirikian 2022, with a grid prior and known weights.
    """
    ratios = excesses if r0 == 1.0 and isinstance(excesses, tuple) else tuple(r0 * excess for excess in excesses)
    canary_bad = 0
    spent = [0.0] * len(ratios)
    for epoch in epochs:
        canary_bad += epoch.canary_bad
        bad = epoch.canary_bad + epoch.stable_bad
        if bad:
            null = log1p(epoch.weight * (r0 - 1.0))
            spent = [s + bad * (m - null) for s, m in zip(spent, _log_mean_tilts(epoch.weight, ratios), strict=True)]
    logs = [canary_bad * log(r / r0) - s for r, s in zip(ratios, spent, strict=True)]
    return log_sum_exp(logs) - log(len(logs))


def log_e_full(epochs: Iterable[Outcomes], reference: float, ratios: Sequence[float] = WORSE) -> float:
    """Like `log_e_tilt` at r0 = 1, but good answers speak too: quicker where bad ones are common.

    log E = logsumexp_j[ log pi_j + A log r_j - sum N_e log(1+w_e(r_j-1))
                                  + C log s_j - sum M_e log(1+w_e(s_j-1)) ],
    s_j = (1 - r_j p) / (1 - p), with C and M_e the good answers. Ratios with r_j p >= 1 are
    impossible and left out.

    Args:
        epochs: One entry per weight, each weight in (0, 1).
        reference: Stable's bad rate p, fixed before the first exchange, in (0, 1); a wrong one
            costs power, never validity.
        ratios: `WORSE`, or `BETTER` for the direction that promotes.

    Source:
        Turner, Ly & Grünwald 2024, with blocks of n_a : n_b = w : 1 - w.
    """
    possible = tuple(r for r in ratios if r * reference < 1.0)
    if not possible:
        return 0.0
    mirrored = tuple((1.0 - r * reference) / (1.0 - reference) for r in possible)
    logs = [0.0] * len(possible)
    for epoch in epochs:
        bad = epoch.canary_bad + epoch.stable_bad
        good = epoch.canary_good + epoch.stable_good
        for j, (mean_r, mean_s) in enumerate(
            zip(_log_mean_tilts(epoch.weight, possible), _log_mean_tilts(epoch.weight, mirrored), strict=True)
        ):
            logs[j] += epoch.canary_bad * log(possible[j]) - bad * mean_r
            logs[j] += epoch.canary_good * log(mirrored[j]) - good * mean_s
    return log_sum_exp(logs) - log(len(logs))


def least_ratio(epochs: Iterable[Outcomes], log_limit: float) -> float:
    """Lower confidence bound on the canary's bad rate over stable's, at any time.

    The largest r0 that `log_e_tilt` still refutes: E(r0) >= exp(log_limit). It is the inversion
    of the very process that decides, so it lies above 1 exactly when that process turns back.

    Source:
        Howard & Ramdas 2022 (a confidence sequence is the inversion of a sequential test).
    """
    counted = tuple(epochs)
    return _boundary_ratio(counted, log_limit, WORSE)


def greatest_ratio(epochs: Iterable[Outcomes], log_limit: float) -> float:
    """Upper confidence bound on the canary's bad rate over stable's, at any time; see `least_ratio`."""
    counted = tuple(epochs)
    return _boundary_ratio(counted, log_limit, BETTER)


def _boundary_ratio(epochs: tuple[Outcomes, ...], log_limit: float, excesses: tuple[float, ...]) -> float:
    """Bisect log r0 for E(r0) = limit; E falls in r0 for WORSE and rises for BETTER."""
    falling = excesses is WORSE
    low, high = _LEAST_RATIO, _GREATEST_RATIO
    while high / low > 1.0 + 1e-9:
        middle = sqrt(low * high)
        refuted = log_e_tilt(epochs, middle, excesses) >= log_limit
        if refuted == falling:
            low = middle
        else:
            high = middle
    return sqrt(low * high)


def log_weighted_mean(parts: Iterable[tuple[float, float]]) -> float:
    """log(sum(pi_k E_k)) of pairs (pi_k, log E_k); valid for e-values that depend on each other.

    Source:
        Vovk & Wang 2021, Ann. Stat. 49(3).
    """
    return log_sum_exp([log(weight) + log_e for weight, log_e in parts if weight > 0.0])


def log_e_dirichlet(counts: Sequence[float], shares: Sequence[float], concentration: float) -> float:
    """Evidence that counts were not drawn with the given shares (sample-ratio mismatch).

    log E = log B(k*theta + n) - log B(k*theta) - sum_i n_i log theta_i, two-sided.

    Args:
        counts: Draws per arm, shape (K,), each >= 0.
        shares: What the coin promised, shape (K,), each in (0, 1), sum 1.
        concentration: Prior weight k > 0; greater finds smaller mismatches, later.

    Source:
        Lindon & Malek 2022.
    """
    total = sum(counts)
    log_e = lgamma(concentration) - lgamma(concentration + total)
    for count, share in zip(counts, shares, strict=True):
        prior = concentration * share
        log_e += lgamma(prior + count) - lgamma(prior) - count * log(share)
    return log_e
