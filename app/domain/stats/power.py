"""How much is needed to see an effect: answers, labels, time; and the smallest effect that a time can show.

Rule: averages, not promises. The limit is what no test of the same strictness can beat; beside it stands about what
ours takes, on its way at one weight throughout.
"""

from dataclasses import dataclass
from math import log

from app.domain.stats.planning import OVERHEAD, divergence, information, smallest_effect
from app.domain.stats.score import best_rho, gamma_exponential_bound, scale_not_worse, scale_worse

# A mean within [0, 1] whose centre nobody named.
_MIDDLE = 0.5
# Beyond so many exchanges nobody waits, and rates so near to each other are the same to a float's arithmetic.
_MOST_EXCHANGES = 1e15
_LEAST_DIFFERENCE = 1e-9


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which an effect is looked for.

    Attributes:
        weight: The canary's share of the traffic, in (0, 1).
        alpha_rollback: Chance of ever turning a healthy canary back that this guardrail may spend.
        alpha_promotion: Chance of promoting a canary that is on the margin.
        exchanges_per_s: Traffic of both arms, > 0; None when it is not known.
        judged_share: Share of the answers that are judged, such as those with a label, in (0, 1].
    """

    weight: float
    alpha_rollback: float = 0.01
    alpha_promotion: float = 0.05
    exchanges_per_s: float | None = None
    judged_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Need:
    """What one answer to a question costs, on average.

    Attributes:
        limit: Fewest exchanges of both arms that any test needs.
        exchanges: About how many ours needs.
        canary_answers: How many of those the canary answers.
        judged: How many of the answers must be judged (labelled), of both arms.
        extra_bad: Bad answers of the canary that stable would not have given; None where nothing is bad or good.
        seconds: How long that takes; None when the traffic is not known.
    """

    limit: float
    exchanges: float
    canary_answers: float
    judged: float
    extra_bad: float | None
    seconds: float | None


def rate_refuted(stable: float, canary: float, under: Conditions) -> Need | None:
    """To turn back a canary whose rate of bad answers is `canary`; None if it is not, or not visibly, worse.

    Args:
        stable, canary: Shares in [0, 1]: of errors, or of answers slow beyond each arm's own threshold.

    Source:
        log(1/alpha) / I, see `planning.information`.
    """
    if canary <= stable:
        return None
    return _told_apart(stable, canary, under, under.alpha_rollback, canary - stable)


def rate_better(stable: float, canary: float, under: Conditions) -> Need | None:
    """To prove a canary not worse whose rate lies below stable's, as beyond shifted latency thresholds; else None."""
    if canary >= stable:
        return None
    return _told_apart(stable, canary, under, under.alpha_promotion, 0.0)


def rate_proven(stable: float, margin: float, under: Conditions) -> Need:
    """To prove that a canary as good as stable has not `margin` more bad answers.

    Args:
        stable: Both arms' rate, in [0, 1).
        margin: Absolute, in (0, 1 - stable).

    Source:
        The limit: log(1/alpha) over the divergence from the nearest pair of rates on the margin (Garivier & Kaufmann
        2021). Ours: where the bound of P2 meets the margin.
    """
    limit = log(1.0 / under.alpha_promotion) / _divergence_from_margin(stable, margin, under.weight)
    scale = scale_not_worse(stable, under.weight, under.weight)
    exchanges = _until_bound(stable * (1.0 - stable), margin, under.weight, under.alpha_promotion, scale)
    return _need(limit, max(limit, exchanges), under, extra=0.0)


def mean_refuted(difference: float, deviation: float, under: Conditions) -> Need | None:
    """To turn back a canary whose mean score lies `difference` below stable's; None if it does not.

    Args:
        difference: Stable's mean minus the canary's, of scores in [0, 1].
        deviation: Standard deviation of one score, > 0.

    Source:
        The limit is that of two normal means; ours, where the bound of P2 meets the difference.
    """
    if difference <= 0.0:
        return None
    scale = scale_worse(_MIDDLE, under.weight, under.weight)
    return _mean_need(difference, deviation, under, under.alpha_rollback, scale)


def mean_proven(margin: float, deviation: float, under: Conditions) -> Need:
    """To prove that a canary as good as stable is not `margin` below it; see `mean_refuted`."""
    scale = scale_not_worse(_MIDDLE, under.weight, under.weight)
    return _mean_need(margin, deviation, under, under.alpha_promotion, scale)


def smallest_rate(stable: float, under: Conditions, within_s: float) -> float | None:
    """The smallest excess rate that shows within the time; None if none does, or the traffic is not known."""
    if under.exchanges_per_s is None:
        return None
    judged = within_s * under.exchanges_per_s * under.judged_share
    return smallest_effect(stable, under.weight, judged, log(1.0 / under.alpha_rollback))


def smallest_difference(deviation: float, under: Conditions, within_s: float) -> float | None:
    """The smallest difference of means that shows within the time; None as in `smallest_rate`."""
    if under.exchanges_per_s is None:
        return None
    judged = within_s * under.exchanges_per_s * under.judged_share
    low, high = 0.0, 1.0
    whole = mean_refuted(high, deviation, under)
    if whole is None or whole.judged > judged:
        return None
    for _ in range(30):
        middle = (low + high) / 2.0
        need = mean_refuted(middle, deviation, under)
        if need is None or need.judged > judged:
            low = middle
        else:
            high = middle
    return high


def _told_apart(stable: float, canary: float, under: Conditions, alpha: float, extra: float) -> Need | None:
    if abs(canary - stable) < _LEAST_DIFFERENCE:
        return None
    gain, log_limit = information(canary, stable, under.weight), log(1.0 / alpha)
    if gain * _MOST_EXCHANGES < log_limit:
        return None
    return _need(log_limit / gain, OVERHEAD * log_limit / gain, under, extra)


def _need(limit: float, judged: float, under: Conditions, extra: float | None) -> Need:
    exchanges = judged / under.judged_share
    canary_answers = exchanges * under.weight
    return Need(
        limit=limit / under.judged_share,
        exchanges=exchanges,
        canary_answers=canary_answers,
        judged=judged,
        extra_bad=None if extra is None else canary_answers * extra,
        seconds=None if under.exchanges_per_s is None else exchanges / under.exchanges_per_s,
    )


def _mean_need(effect: float, deviation: float, under: Conditions, alpha: float, scale: float) -> Need:
    overlap = under.weight * (1.0 - under.weight)
    limit = 2.0 * deviation * deviation * log(1.0 / alpha) / (overlap * effect * effect)
    judged = _until_bound(deviation * deviation, effect, under.weight, alpha, scale)
    return _need(limit, max(limit, judged), under, extra=None)


def _until_bound(variance: float, effect: float, weight: float, alpha: float, scale: float) -> float:
    """Exchanges until the bound of P2 falls to the effect: bound(variance W, alpha) = effect W, W = n w (1 - w)."""
    overlap = weight * (1.0 - weight)
    expected = 2.0 * variance * log(1.0 / alpha) / (effect * effect)
    rho = best_rho(max(1.0, variance * expected), 2.0 * alpha)
    low, high = 1.0, _MOST_EXCHANGES
    while high > low * 1.001:
        middle = (low * high) ** 0.5
        bound = gamma_exponential_bound(variance * middle * overlap, alpha, rho, scale)
        if bound > effect * middle * overlap:
            low = middle
        else:
            high = middle
    return high


def _divergence_from_margin(rate: float, margin: float, weight: float) -> float:
    """Least w KL(rate || p + margin) + (1 - w) KL(rate || p) over all p: convex, so thirds close in on it."""
    rate = rate if rate >= _LEAST_DIFFERENCE else 0.0
    low, high = 0.0, min(rate, 1.0 - margin)
    for _ in range(100):
        left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
        if _apart(rate, left, margin, weight) < _apart(rate, right, margin, weight):
            high = right
        else:
            low = left
    return _apart(rate, (low + high) / 2.0, margin, weight)


def _apart(rate: float, p: float, margin: float, weight: float) -> float:
    """Nats one exchange tells between both arms at `rate` and stable at p, the canary at p + margin."""
    return weight * divergence(rate, p + margin) + (1.0 - weight) * divergence(rate, p)
