"""The product's tests of the coin, for many runs at once.

Rule: nothing is derived here. Every log factor of the product's mixtures is linear in the four
counts of a weight epoch, so its terms are asked of `app.domain.stats.eprocess`, one count at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import TypeAlias

import numpy as np

from app.domain.catalog.routing import FULL_BP
from app.domain.stats.eprocess import WORSE, Outcomes, log_e_full, log_e_tilt
from bench.judging.traffic import Ends, Figures, Traffic, rollback_only

ALPHA = 0.01
# Stable's bad rate as it is known before the start; in some situations it is another one by then.
REFERENCE = 0.01

_Factor: TypeAlias = Callable[[Outcomes, float], float]
# The order of the counts in `Outcomes`.
_UNITS = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))


@dataclass(frozen=True, slots=True)
class Mixture:
    """A mixture over ratios whose log factors are linear in an epoch's counts.

    Attributes:
        factor: log of one ratio's factor, by the product.
        ratios: The ratios it is a uniform mixture of.
    """

    factor: _Factor
    ratios: tuple[float, ...]

    def log_e(self, traffic: Traffic) -> Figures:
        """Compute log E at every look, shape (runs, looks)."""
        logs = np.full(traffic.canary.shape, -np.inf)
        for ratio in self.ratios:
            logs = np.logaddexp(logs, self._log_factor(traffic, ratio))
        return logs - log(len(self.ratios))

    def _log_factor(self, traffic: Traffic, ratio: float) -> Figures:
        terms = self._terms(traffic, ratio)
        canary_good = traffic.canary - traffic.canary_bad
        stable_good = traffic.stable - traffic.stable_bad
        counts = (traffic.canary_bad, traffic.stable_bad, canary_good, stable_good)
        grown: Figures = np.zeros(traffic.canary.shape)
        for term, count in zip(terms, counts, strict=True):
            if term.any():
                grown += term * count
        grown.cumsum(axis=1, out=grown)
        return grown

    def _terms(self, traffic: Traffic, ratio: float) -> list[Figures]:
        """What one more of each count adds, each with the shape of the weights."""
        weights, at = np.unique(traffic.weight_bp, return_inverse=True)
        shape = traffic.weight_bp.shape
        table = np.array(
            [[self.factor(Outcomes(weight / FULL_BP, *unit), ratio) for unit in _UNITS] for weight in weights]
        )
        return [table[at, place].reshape(shape) for place in range(len(_UNITS))]

    def step_terms(self, weight_bp: int) -> Figures:
        """What one more of each count adds to each ratio's log factor, shape (ratios, 4)."""
        weight = weight_bp / FULL_BP
        return np.array([[self.factor(Outcomes(weight, *unit), ratio) for unit in _UNITS] for ratio in self.ratios])


ERRORS_ONLY = Mixture(lambda epoch, ratio: log_e_tilt([epoch], 1.0, (ratio,)), WORSE)


def full(reference: float) -> Mixture:
    """`log_e_full` for one reference rate of bad answers, in (0, 1)."""
    possible = tuple(ratio for ratio in WORSE if ratio * reference < 1.0)
    return Mixture(lambda epoch, ratio: log_e_full([epoch], reference, (ratio,)), possible)


def log_e_errors(traffic: Traffic) -> Figures:
    """The evidence of harm as `guardrails.judge_errors` takes it, shape (runs, looks)."""
    bad_alone, with_good = ERRORS_ONLY.log_e(traffic), full(REFERENCE).log_e(traffic)
    log_e: Figures = np.logaddexp(bad_alone, with_good) - log(2.0)
    return log_e


def turnback(traffic: Traffic, alpha: float = ALPHA) -> Ends:
    """Turned back by errors alone, R1 of the policy; what it promotes is measured with the whole policy."""
    return rollback_only(log_e_errors(traffic) >= log(1.0 / alpha))
