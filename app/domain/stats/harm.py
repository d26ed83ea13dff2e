"""Evidence that the canary gives more bad answers: what turns it back.

Rule: half of the weight is on bad answers alone, which is quickest while they are rare, and half on bad
and good ones together, which is quickest where they are not. An average of e-values is one; whatever
is printed beside a verdict is turned out of this average, not out of a half of it.

Source: the two halves as in `eprocess`; Vovk & Wang 2021, Ann. Stat. 49(3), for their average.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import ceil, exp, floor, inf, log

from app.domain.stats.eprocess import (
    WORSE,
    Outcomes,
    check_outcomes,
    full_logs,
    least_ratio,
    log_e_full,
    log_e_tilt,
    log_mean_tilts,
    log_sum_exp,
    log_weighted_mean,
    possible_ratios,
    tilt_logs,
)

_HALF = 0.5
# Beyond this an exponential is no float.
_MOST_LOG = 700.0


def of_halves(bad_alone: float, with_good: float) -> float:
    """Log E of the average, from log E of its halves."""
    return log_weighted_mean(((_HALF, bad_alone), (_HALF, with_good)))


def log_e_harm(epochs: Sequence[Outcomes], reference: float) -> float:  # ADR 0075
    """Evidence against "a bad answer is at most as likely from the canary as from stable".

    log E = log(E_tilt / 2 + E_full / 2).

    Args:
        epochs: One entry per weight, each weight in (0, 1).
        reference: Stable's bad rate, fixed before the first exchange, in [0, 1); see `eprocess.log_e_full`.

    Raises:
        ValueError: As `eprocess.log_e_full`.
    """
    return of_halves(log_e_tilt(epochs), log_e_full(epochs, reference))


def least_harm_ratio(epochs: Sequence[Outcomes], log_e: float, log_limit: float) -> float:
    """Lower confidence bound on the canary's bad rate over stable's, at any time.

    The largest r0 that this process refutes. Against a ratio above 1 the half with good answers says nothing,
    its E is 1; so E_tilt(r0) must reach 2 exp(log_limit) - 1. Where the average refutes 1 by its other half
    alone, the bound is 1. It is never above 1 unless the process turns back, and never below if it does.

    Args:
        epochs: One entry per weight, each weight in (0, 1).
        log_e: Of the process itself, against r0 = 1.
        log_limit: What refutes.
    """
    bad_alone = least_ratio(epochs, _limit_of_half(log_limit))
    return max(bad_alone, 1.0) if log_e >= log_limit else min(bad_alone, 1.0)


def _limit_of_half(log_limit: float) -> float:
    return log(2.0 * exp(log_limit) - 1.0) if log_limit < _MOST_LOG else log_limit + log(2.0)


def bad_until(epochs: Sequence[Outcomes], reference: float, weight: float, log_limit: float, most: int) -> int | None:
    """How many more bad answers of the canary bring `log_e_harm` to a limit.

    Args:
        epochs: What was seen.
        reference: As `log_e_harm`.
        weight: The coin's chance of the canary for those to come, in (0, 1).
        log_limit: The limit, as a logarithm.
        most: More than this are not counted.

    Returns:
        The fewest, stable giving none meanwhile; 0 if the limit is reached; None if `most` are too few.

    Raises:
        ValueError: As `log_e_harm`.
    """
    check_outcomes(Outcomes(weight, 0, 0))
    possible = possible_ratios(reference, WORSE)
    logs = [term + log(_HALF / len(WORSE)) for term in tilt_logs(epochs, 1.0, WORSE)]
    logs += [term + log(_HALF / len(possible)) for term in full_logs(epochs, reference, WORSE)]
    # One more bad answer adds the same to the terms of either half.
    gains = [log(ratio) - mean for ratio, mean in zip(WORSE, log_mean_tilts(weight, WORSE), strict=True)]
    gains += gains[: len(possible)]
    idle = -inf if possible else log(_HALF)

    def reached(more: int) -> bool:
        after = [term + more * gain for term, gain in zip(logs, gains, strict=True)]
        return log_sum_exp([*after, idle]) >= log_limit

    # The sum lies between its greatest term and so many times that, and each term grows steadily.
    terms = list(zip(logs, gains, strict=True))
    least = min((log_limit - log(len(terms) + 1.0) - term) / gain for term, gain in terms)
    enough = min((log_limit - term) / gain for term, gain in terms)
    if least > most:
        return None
    # One to spare at either end, against rounding.
    start, stop = max(0, floor(least) - 1), min(most, max(0, ceil(enough)) + 1)
    fewest = bisect_left(range(stop + 1), x=True, lo=start, key=reached)
    return fewest if fewest <= most and reached(fewest) else None
