"""Flagger's documented set-up as the race it is: promote after enough good minutes, or roll back.

Source: fluxcd/flagger, docs/gitbook/usage/how-it-works.md at 15bd6ad (analysis with interval 1m,
threshold 10, maxWeight 50, stepWeight 5, request-success-rate min 99, request-duration max 500) and
pkg/controller/scheduler.go: the first step of weight is taken unchecked, every later one after a
good minute, a bad minute keeps the weight and adds to the failed checks of the whole analysis,
and a good minute at the highest weight promotes. A minute without values is a failed check
(pkg/controller/scheduler_metrics.go, "no values found").

Choices: it rolls back with the last failed check, not an interval later.
"""

import numpy as np

from bench.judging.timings import Timings
from bench.judging.traffic import Counts, Ends, Flags, Traffic
from bench.judging.traffic import race as first_of

STEP, MAX_WEIGHT = 5, 50
MIN_SUCCESS = 0.99
MAX_DURATION_MS = 500.0
MAX_FAILED_CHECKS = 10
GOOD_MINUTES = MAX_WEIGHT // STEP


def judge(traffic: Traffic) -> Ends:
    """The same race on weights that are not its own; one interval is a minute."""
    minutes = traffic.by(traffic.interval)
    return _ends(_passes(minutes.canary, minutes.canary_bad), traffic.interval)


def judge_latency(timings: Timings) -> Ends:
    """The same with the other metric of the documented set-up, request-duration: the minute's p99."""
    canary_ms, _ = timings.quantiles_ms(0.99, timings.interval)
    return _ends(canary_ms <= MAX_DURATION_MS, timings.interval)


def _ends(good: Flags, interval: int) -> Ends:
    failed, passed = (~good).cumsum(axis=1), good.cumsum(axis=1)
    return first_of(failed >= MAX_FAILED_CHECKS, passed >= GOOD_MINUTES, interval)


def race(canary_rate: float, per_minute: int, runs: int, rng: np.random.Generator) -> tuple[Flags, Counts]:
    """Play independent races at the weights it sets itself.

    Args:
        canary_rate: Share of bad answers.
        per_minute: Exchanges of both arms, constant.
        runs: How many.
        rng: Draws the canary's share and its bad answers.

    Returns:
        Whether each was rolled back, otherwise it was promoted; and the canary's answers until then.
    """
    passed, failed, answers = np.zeros((3, runs), dtype=np.int64)
    while (running := (passed < GOOD_MINUTES) & (failed < MAX_FAILED_CHECKS)).any():
        weight = STEP * np.minimum(GOOD_MINUTES, passed + 1) / 100.0
        canary = rng.binomial(per_minute, weight) * running
        good = _passes(canary, rng.binomial(canary, canary_rate))
        answers += canary
        passed += running & good
        failed += running & ~good
    return failed >= MAX_FAILED_CHECKS, answers


def _passes(canary: Counts, bad: Counts) -> Flags:
    """Whether a minute's success rate reaches the limit; a minute without exchanges does not."""
    good: Flags = (canary > 0) & (canary - bad >= MIN_SUCCESS * canary)
    return good
