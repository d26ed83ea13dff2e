"""Flagger's documented set-up as the race it is: promote after enough good minutes, or roll back.

Source: fluxcd/flagger, docs/gitbook/usage/how-it-works.md (analysis with interval 1m, threshold
10, maxWeight 50, stepWeight 5, request-success-rate min 99) and pkg/controller/scheduler.go:
the first step of weight is taken unchecked, every later one after a good minute, a bad minute
keeps the weight and adds to the failed checks of the whole analysis, and a good minute at the
highest weight promotes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STEP, MAX_WEIGHT = 5, 50
MIN_SUCCESS = 0.99
MAX_FAILED_CHECKS = 10
GOOD_MINUTES = MAX_WEIGHT // STEP


class Race(NamedTuple):
    """How many races ended which way, and their mean bad answers beyond stable's rate."""

    promoted: int
    rolled_back: int
    extra_bad: float


def race(
    canary_rate: float, stable_rate: float, exchanges_per_minute: int, runs: int, rng: np.random.Generator
) -> Race:
    """Play independent races.

    Args:
        canary_rate, stable_rate: Shares of bad answers.
        exchanges_per_minute: Of both arms, constant.
        runs: How many.
        rng: Draws the canary's share and its bad answers.
    """
    passed = np.zeros(runs, dtype=np.int64)
    failed = np.zeros(runs, dtype=np.int64)
    answers = np.zeros(runs, dtype=np.int64)
    while (running := (passed < GOOD_MINUTES) & (failed < MAX_FAILED_CHECKS)).any():
        weight = STEP * np.minimum(GOOD_MINUTES, passed + 1) / 100.0
        canary = rng.binomial(exchanges_per_minute, weight) * running
        good = _passes(canary, rng.binomial(canary, canary_rate))
        answers += canary
        passed += running & good
        failed += running & ~good
    rolled_back = int((failed >= MAX_FAILED_CHECKS).sum())
    return Race(runs - rolled_back, rolled_back, float(answers.mean()) * (canary_rate - stable_rate))


def _passes(canary: NDArray[np.int64], bad: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a minute's success rate reaches the limit; a minute without exchanges does not."""
    good: NDArray[np.bool_] = (canary > 0) & (canary - bad >= MIN_SUCCESS * canary)
    return good
