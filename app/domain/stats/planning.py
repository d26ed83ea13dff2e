"""How much to expose next, and how long it will take: ladder, exposure budget, ETA, smallest effect."""

from math import inf, log, log1p, sqrt

LADDER_BP = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
# A mixture needs about this many times the exchanges of the best test for one known rate.
OVERHEAD = 1.3


def rungs(max_weight_bp: int) -> tuple[int, ...]:
    """The weights a rollout may have, ascending, ending with its maximum."""
    return (*(rung for rung in LADDER_BP if rung < max_weight_bp), max_weight_bp)


def rung_above(weight_bp: int, max_weight_bp: int) -> int:
    """The next weight up; the maximum stays."""
    return next((rung for rung in rungs(max_weight_bp) if rung > weight_bp), max_weight_bp)


def rung_below(weight_bp: int, max_weight_bp: int) -> int:
    """The next weight down; the lowest stays."""
    return max((rung for rung in rungs(max_weight_bp) if rung < weight_bp), default=rungs(max_weight_bp)[0])


def admissible_bp(budget: float, exchanges_per_s: float, unseen_s: float, excess_bound: float) -> float:
    """The weight at which the expected extra bad answers until they are judged stay in the budget.

    weight <= B / (rate * unseen * U), in basis points; may exceed 10,000.

    Args:
        budget: B, extra bad answers one step may cost.
        exchanges_per_s: Rate of both arms, >= 0.
        unseen_s: Seconds from a draw until its outcome is judged: a tick and the maturity.
        excess_bound: U, upper bound on the canary's excess rate of bad answers, in [0, 1].
    """
    exposed = exchanges_per_s * unseen_s * excess_bound
    return 10_000.0 * budget / exposed if exposed > 0.0 else inf


def information(canary_rate: float, stable_rate: float, weight: float) -> float:
    """Nats one exchange tells about the arms: I(arm; outcome) = w KL(p_c||p) + (1-w) KL(p_s||p).

    log(1/alpha) / information is the fewest exchanges that any test with false-alarm chance
    alpha needs on average.

    Source:
        Wald 1945; Garivier & Kaufmann 2021, Sequential Analysis 40.
    """
    mixed = weight * canary_rate + (1.0 - weight) * stable_rate
    return weight * divergence(canary_rate, mixed) + (1.0 - weight) * divergence(stable_rate, mixed)


def divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of two coins, in nats; q in (0, 1) unless p equals it."""
    first = p * log(p / q) if p > 0.0 else 0.0
    return first + ((1.0 - p) * (log1p(-p) - log1p(-q)) if p < 1.0 else 0.0)


def exchanges_to_refute(canary_rate: float, stable_rate: float, weight: float, log_missing: float) -> float:
    """About how many exchanges until the missing evidence of harm is there; inf if the rates are equal."""
    gain = information(canary_rate, stable_rate, weight)
    return OVERHEAD * log_missing / gain if gain > 0.0 else inf


def overlap_to_prove(reference: float, margin: float, log_limit: float) -> float:
    """About which overlap W = sum n w (1-w) proves a canary as good as stable not worse.

    Solves margin * W = sqrt(2 p W L) + L with L = log_limit + 1, the bound of P2 in rough.
    """
    reach = log_limit + 1.0
    half = sqrt(2.0 * reference * reach)
    return ((half + sqrt(half * half + 4.0 * margin * reach)) / (2.0 * margin)) ** 2


def smallest_effect(stable_rate: float, weight: float, exchanges: float, log_limit: float) -> float | None:
    """The smallest excess rate that so many exchanges are expected to reveal; None if none is."""
    most = 1.0 - stable_rate
    if exchanges <= 0.0 or exchanges_to_refute(1.0, stable_rate, weight, log_limit) > exchanges:
        return None
    low, high = 0.0, most
    for _ in range(25):
        middle = (low + high) / 2.0
        if exchanges_to_refute(stable_rate + middle, stable_rate, weight, log_limit) > exchanges:
            low = middle
        else:
            high = middle
    return high
