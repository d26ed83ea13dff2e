"""How soon lost answers are found: one tilt for all epochs beside a Dirichlet mixture per epoch.

Method: the canary loses a share of its answers, the weights are one or a ramp; medians over
seeded runs of the exchanges until the evidence is 1,000. `python3 -m bench.split` prints the table
of ADR 0081.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, log

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from app.domain.stats.eprocess import SPLIT_RATIOS
from app.domain.stats.eprocess_batch import ManyOutcomes, log_e_tilt_of_many

Counts = NDArray[np.float64]

_LADDER = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_LIMIT = log(1_000.0)
_CONCENTRATIONS = (100.0, 1_000.0)


@dataclass(frozen=True, slots=True)
class Loss:
    """A share of the canary's answers is lost.

    Attributes:
        step: Exchanges at each weight but the last.
        look: Exchanges between two looks.
    """

    share: float
    weights: tuple[float, ...]
    step: int
    look: int
    most: int = 400_000


LOSSES = (
    Loss(0.05, (0.1,), 0, 1_000),
    Loss(0.05, (0.5,), 0, 500),
    Loss(0.05, _LADDER, 2_000, 500),
    Loss(0.05, _LADDER[:10], 10_000, 1_000),
    Loss(0.2, (0.1,), 0, 250),
    Loss(0.2, _LADDER, 2_000, 250),
    Loss(1.0, (0.1,), 0, 10),
)


def by_dirichlet(weights: tuple[float, ...], canary: Counts, stable: Counts) -> Counts:
    """Log evidence per run of the mixture per epoch, averaged over two concentrations; counts of shape (E, runs)."""
    each = []
    for k in _CONCENTRATIONS:
        total = np.zeros(canary.shape[1])
        for w, c, s in zip(weights, canary, stable, strict=True):
            total += gammaln(k) - gammaln(k + c + s) - c * log(w) - s * log(1.0 - w)
            total += gammaln(k * w + c) - gammaln(k * w) + gammaln(k * (1.0 - w) + s) - gammaln(k * (1.0 - w))
        each.append(total - log(len(_CONCENTRATIONS)))
    return np.logaddexp(*each)


def by_tilt(weights: tuple[float, ...], canary: Counts, stable: Counts) -> Counts:
    """Log evidence per run of the product's test."""
    nothing = np.zeros_like(canary)
    outcomes = ManyOutcomes(weights, np.array([canary, stable, nothing, nothing]))
    return np.array(log_e_tilt_of_many(outcomes, SPLIT_RATIOS))


METHODS: Mapping[str, Callable[[tuple[float, ...], Counts, Counts], Counts]] = {
    "Dirichlet": by_dirichlet,
    "one tilt": by_tilt,
}


def median_delays(loss: Loss, runs: int, seed: int) -> dict[str, float]:
    """Median exchanges until each method has found the loss; inf if it had not."""
    rng = np.random.default_rng(seed)
    canary, stable = np.zeros((2, len(loss.weights), runs))
    found = {name: np.full(runs, inf) for name in METHODS}
    for seen in range(loss.look, loss.most + 1, loss.look):
        epoch = min((seen - 1) // loss.step, len(loss.weights) - 1) if loss.step else 0
        drawn = rng.binomial(loss.look, loss.weights[epoch], runs)
        canary[epoch] += rng.binomial(drawn, 1.0 - loss.share)
        stable[epoch] += loss.look - drawn
        for name, method in METHODS.items():
            evidence = method(loss.weights[: epoch + 1], canary[: epoch + 1], stable[: epoch + 1])
            found[name] = np.where((evidence >= _LIMIT) & np.isinf(found[name]), seen, found[name])
        if all(np.isfinite(delays).all() for delays in found.values()):
            break
    return {name: float(np.median(delays)) for name, delays in found.items()}


def main(runs: int = 1_000, say: Callable[[str], None] = print) -> None:
    """Print the table as Markdown."""
    say(f"| lost | weights | {' | '.join(METHODS)} |")
    say("|---|---|---|---|")
    for loss in LOSSES:
        weights = f"{loss.weights[0]:.0%}"
        if loss.step:
            weights = f"ramp from 1 bp to {loss.weights[-1]:.0%}, {loss.step:,} each"
        delays = median_delays(loss, runs, seed=1)
        say(f"| {loss.share:.0%} | {weights} | {' | '.join(f'{delays[name]:,.0f}' for name in METHODS)} |")


if __name__ == "__main__":
    main()
