"""E-processes that test the coin: given this outcome, which arm had it?

Rule: every function here is pure in totals per weight epoch, so replicas merge in any order,
and each stays below 1/alpha for ever with probability 1 - alpha when its hypothesis holds
(Ville 1939), however often it is read. All logs are natural.

Source: Lindon & Malek 2022 (arXiv:2011.03567); Lindon, Sanden & Shirikian 2022
(arXiv:2205.14762); Turner, Ly & Grünwald 2024. The grid of tilts with a known weight per
epoch is derived in docs/statistics.md.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import exp, fsum, inf, lgamma, log, log1p
from typing import NamedTuple

# Alternatives: the canary's rate is 1 + x times stable's; four per decade, equal weight.
EXCESSES = tuple(0.1 * 10.0 ** (k / 4.0) for k in range(13))
WORSE = tuple(1.0 + x for x in EXCESSES)
BETTER = tuple(1.0 / (1.0 + x) for x in EXCESSES)

# An arm that has too many answers or too few: from 1 % to a hundredfold, four per decade, both ways.
_SHIFTS = tuple(1.0 + 0.01 * 10.0 ** (k / 4.0) for k in range(17))
SPLIT_RATIOS = (*_SHIFTS, *(1.0 / shift for shift in _SHIFTS))

# Ratios beyond this, or below its reciprocal, are shown as the limit itself.
_LOG_GREATEST_RATIO = log(1e3)
# How near a bound is found, relative to it.
_CLOSE = 1e-9


class Outcomes(NamedTuple):
    """Both arms' answers in one weight epoch, split into bad and good.

    Attributes:
        weight: Chance that the coin chose the canary, in (0, 1).
        canary_bad, stable_bad: Of labelled answers, which may be bad in part, the sum of their losses.
    """

    weight: float
    canary_bad: float
    stable_bad: float
    canary_good: int = 0
    stable_good: int = 0


def check_outcomes(epoch: Outcomes) -> None:
    """Raise ValueError for an epoch that cannot be: a weight without a coin, a count below zero or NaN."""
    weight, canary_bad, stable_bad, canary_good, stable_good = epoch
    # Written this way round so that NaN is refused too.
    if not (
        0.0 < weight < 1.0
        and 0 <= canary_bad < inf
        and 0 <= stable_bad < inf
        and 0 <= canary_good < inf
        and 0 <= stable_good < inf
    ):
        raise ValueError(f"no coin made {epoch}")


def check_reference(reference: float) -> None:
    """Raise ValueError for a bad rate outside [0, 1), or NaN."""
    if not 0.0 <= reference < 1.0:
        raise ValueError(f"{reference} is no reference in [0, 1)")


def log_sum_exp(logs: Sequence[float]) -> float:  # ADR 0080
    """log(sum(exp(logs))) without overflow; -inf for nothing."""
    greatest = max(logs, default=-inf)
    if greatest == -inf:
        return -inf
    # Rounded once, so that neither the order nor the interpreter's way of adding shows in the bits.
    return greatest + log(fsum([exp(value - greatest) for value in logs]))


def tilted(weight: float, ratio: float) -> float:
    """The chance that a bad answer is the canary's, when its rate is `ratio` times stable's."""
    return weight * ratio / (1.0 + weight * (ratio - 1.0))


@lru_cache(maxsize=4096)
def log_mean_tilts(weight: float, tilts: tuple[float, ...]) -> tuple[float, ...]:
    """Log E[tilt^arm] per tilt under the coin: log(1 + weight (tilt - 1))."""
    return tuple(log1p(weight * (tilt - 1.0)) for tilt in tilts)


def log_e_tilt(epochs: Iterable[Outcomes], r0: float = 1.0, excesses: Sequence[float] = WORSE) -> float:  # ADR 0006
    """Evidence against "a bad answer is at most r0 times as likely from the canary".

    log E = logsumexp_j[ log pi_j + A log x_j - sum_e N_e log(1 + t_e (x_j - 1)) ],
    t_e = w_e r0 / (1 + w_e (r0 - 1)), with A the canary's bad answers, N_e all bad answers of an
    epoch, x_j = `excesses` and pi uniform: t_e is the chance that a bad answer is the canary's
    where its rate is r0 times stable's. Good answers are not used, so the rates may drift, cycle
    or burst.

    Args:
        epochs: One entry per weight, each weight in (0, 1).
        r0: Largest harmless ratio of the canary's bad rate to stable's, > 0.
        excesses: `WORSE` tests against r0 from above; `BETTER` tests "at least r0 times as
            likely", which is the direction that promotes: the reversed test.

    Returns:
        log E; 0.0 before any bad answer.

    Raises:
        ValueError: An epoch that cannot be, or r0 not above 0.

    Source:
        Lindon, Sanden & Shirikian 2022, with a grid prior and known weights.
    """
    logs = tilt_logs(epochs, r0, tuple(excesses))
    return log_sum_exp(logs) - log(len(logs))


def tilt_logs(epochs: Iterable[Outcomes], r0: float, tilts: tuple[float, ...]) -> list[float]:
    """The terms of `log_e_tilt` before they are averaged, one per tilt."""
    if not 0.0 < r0 < inf:
        raise ValueError(f"{r0} is no ratio")
    canary_bad, bad = _bad_answers(epochs)
    spent = _spent(bad, tilts) if r0 == 1.0 else _spent_off_one([(tilted(w, r0), n) for w, n in bad], tilts)
    return [canary_bad * log(tilt) - s for tilt, s in zip(tilts, spent, strict=True)]


def _bad_answers(epochs: Iterable[Outcomes]) -> tuple[float, list[tuple[float, float]]]:
    """The canary's in all, and both arms' by weight where there are any."""
    canary_bad, by_weight = 0.0, []
    for epoch in epochs:
        check_outcomes(epoch)
        canary_bad += epoch.canary_bad
        bad = epoch.canary_bad + epoch.stable_bad
        if bad:
            by_weight.append((epoch.weight, bad))
    return canary_bad, by_weight


def _spent(bad: list[tuple[float, float]], tilts: tuple[float, ...]) -> list[float]:
    """What the bad answers cost each tilt, from the table."""
    spent = [0.0] * len(tilts)
    for weight, n in bad:
        spent = [s + n * m for s, m in zip(spent, log_mean_tilts(weight, tilts), strict=True)]
    return spent


def _spent_off_one(bad: list[tuple[float, float]], tilts: tuple[float, ...]) -> list[float]:
    """The same for weights tilted by a ratio, which is rarely asked twice: it would only crowd the table."""
    costs = []
    for tilt in tilts:
        spent = 0.0
        for weight, n in bad:
            spent += n * log1p(weight * (tilt - 1.0))
        costs.append(spent)
    return costs


def log_e_full(epochs: Iterable[Outcomes], reference: float, ratios: Sequence[float] = WORSE) -> float:
    """Like `log_e_tilt` at r0 = 1, but good answers speak too: quicker where bad ones are common.

    log E = logsumexp_j[ log pi_j + A log r_j - sum N_e log(1+w_e(r_j-1))
                                  + C log s_j - sum M_e log(1+w_e(s_j-1)) ],
    s_j = (1 - r_j p) / (1 - p), with C and M_e the good answers. Ratios with r_j p >= 1 are
    impossible and left out.

    Args:
        epochs: One entry per weight, each weight in (0, 1).
        reference: Stable's bad rate p, fixed before the first exchange, in [0, 1); a wrong one
            costs power, never validity. At 0 good answers say nothing.
        ratios: `WORSE`, or `BETTER` for the direction that promotes.

    Returns:
        log E; 0.0 before any answer, or when every ratio is impossible.

    Raises:
        ValueError: An epoch that cannot be, or a reference outside [0, 1).

    Source:
        Turner, Ly & Grünwald 2024, with blocks of n_a : n_b = w : 1 - w.
    """
    logs = full_logs(epochs, reference, ratios)
    return log_sum_exp(logs) - log(len(logs)) if logs else 0.0


def full_logs(epochs: Iterable[Outcomes], reference: float, ratios: Sequence[float]) -> list[float]:
    """The terms of `log_e_full` before they are averaged, one per possible ratio in the order given."""
    check_reference(reference)
    possible = possible_ratios(reference, ratios)
    mirrored = tuple((1.0 - r * reference) / (1.0 - reference) for r in possible)
    canary_bad, canary_good = 0.0, 0
    spent_bad = spent_good = [0.0] * len(possible)
    for epoch in epochs:
        check_outcomes(epoch)
        canary_bad += epoch.canary_bad
        canary_good += epoch.canary_good
        bad = epoch.canary_bad + epoch.stable_bad
        good = epoch.canary_good + epoch.stable_good
        spent_bad = [s + bad * m for s, m in zip(spent_bad, log_mean_tilts(epoch.weight, possible), strict=True)]
        spent_good = [s + good * m for s, m in zip(spent_good, log_mean_tilts(epoch.weight, mirrored), strict=True)]
    return [
        canary_bad * log(r) - of_bad + canary_good * log(s) - of_good
        for r, s, of_bad, of_good in zip(possible, mirrored, spent_bad, spent_good, strict=True)
    ]


def possible_ratios(reference: float, ratios: Sequence[float]) -> tuple[float, ...]:
    """The ratios that a rate of `reference` can be multiplied with."""
    return tuple(ratio for ratio in ratios if ratio * reference < 1.0)


def log_e_split(epochs: Iterable[Outcomes]) -> float:  # ADR 0081
    """Evidence that answers did not fall on the arms as the coin says (sample-ratio mismatch).

    `log_e_tilt` at r0 = 1, two-sided: over `SPLIT_RATIOS`, from 1 % too few or too many. One
    ratio holds in all epochs: over a ramp a loss of 5 % is found up to a quarter sooner than by
    a Dirichlet mixture per epoch, at a single weight up to a fifth later.

    Args:
        epochs: The counts of both arms, whatever they are of, as the bad ones; see `Outcomes`.

    Raises:
        ValueError: An epoch that cannot be.

    Source:
        Lindon & Malek 2022 for sequential mismatch tests; Fabijan et al. 2019.
    """
    return log_e_tilt(epochs, 1.0, SPLIT_RATIOS)


def least_ratio(epochs: Iterable[Outcomes], log_limit: float) -> float:
    """Lower confidence bound on the canary's bad rate over stable's, at any time.

    The largest r0 that `log_e_tilt` still refutes: E(r0) >= exp(log_limit). It is the inversion
    of the very process that decides, so it lies above 1 exactly when that process turns back.

    Source:
        Howard & Ramdas 2022 (a confidence sequence is the inversion of a sequential test).
    """
    return _boundary_ratio(tuple(epochs), log_limit, WORSE)


def greatest_ratio(epochs: Iterable[Outcomes], log_limit: float) -> float:
    """Upper confidence bound on the canary's bad rate over stable's, at any time; see `least_ratio`."""
    return _boundary_ratio(tuple(epochs), log_limit, BETTER)


def ratio_interval(epochs: Iterable[Outcomes], alpha: float) -> tuple[float, float]:
    """Two-sided anytime interval of the canary's bad rate over stable's, alpha / 2 each side.

    Args:
        epochs: One entry per weight, each weight in (0, 1).
        alpha: In (0, 1), both sides together.
    """
    counted = tuple(epochs)
    return least_ratio(counted, log(2.0 / alpha)), greatest_ratio(counted, log(2.0 / alpha))


def _boundary_ratio(epochs: tuple[Outcomes, ...], log_limit: float, excesses: tuple[float, ...]) -> float:
    """Find r0 with E(r0) = limit; E falls in r0 for WORSE and rises for BETTER."""
    sign = -1.0 if excesses is WORSE else 1.0

    def beyond(log_r0: float) -> float:
        return sign * (log_e_tilt(epochs, exp(log_r0), excesses) - log_limit)

    return exp(_root(beyond, -_LOG_GREATEST_RATIO, _LOG_GREATEST_RATIO))


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses zero between two ends, or the end beyond which it does.

    Source:
        Dowell & Jarratt 1971, BIT 11 (the Illinois form of regula falsi): a secant that halves the
        value of an end it keeps twice, a quarter of bisection's evaluations.
    """
    at_low, at_high = rising(low), rising(high)
    if at_low >= 0.0 or at_high < 0.0:
        return low if at_low >= 0.0 else high
    kept = 0
    while high - low > _CLOSE:
        middle = min(max(high - at_high * (high - low) / (at_high - at_low), low + _CLOSE / 2.0), high - _CLOSE / 2.0)
        at_middle = rising(middle)
        if at_middle < 0.0:
            low, at_low = middle, at_middle
            at_high, kept = (at_high / 2.0 if kept < 0 else at_high), -1
        else:
            high, at_high = middle, at_middle
            at_low, kept = (at_low / 2.0 if kept > 0 else at_low), 1
    return (low + high) / 2.0


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
