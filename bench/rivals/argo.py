"""Argo Rollouts' background analysis as its documentation shows it, racing against its steps.

Source: argoproj/argo-rollouts, docs/features/analysis.md (interval 5m, successCondition
result >= 0.95, failureLimit 3; steps of 20, 40, 60, 80 % with pauses of ten minutes) and
analysis/analysis.go at 9f8d111: a metric fails when its failed measurements, counted over the
whole run and not in a row, exceed failureLimit; the run ends with the rollout's last step.

Choices: the analysis starts with the first step, not at 40 %; an interval without answers of the
canary, for which the documented query has no number, is neither success nor failure.
"""

import numpy as np

from bench.judging.timings import Timings
from bench.judging.traffic import Ends, Flags, Traffic, race

MIN_SUCCESS = 0.95
FAILURE_LIMIT = 3
# Its documents show no limit of latency; this is the one of Flagger's.
MAX_LATENCY_MS = 500.0
MINUTES = 5
STEPS, PAUSE_MINUTES = 4, 10
MEASUREMENTS = STEPS * PAUSE_MINUTES // MINUTES


def judge(traffic: Traffic) -> Ends:
    """Abort at the fourth failed measurement, finish when all steps are done; one interval is a minute."""
    looks = MINUTES * traffic.interval
    measured = traffic.by(looks)
    return _ends((measured.canary > 0) & (measured.canary - measured.canary_bad < MIN_SUCCESS * measured.canary), looks)


def judge_latency(timings: Timings) -> Ends:
    """The same with a successCondition on the p99 of five minutes."""
    looks = MINUTES * timings.interval
    canary_ms, _ = timings.quantiles_ms(0.99, looks)
    return _ends(canary_ms > MAX_LATENCY_MS, looks)


def _ends(failed: Flags, looks: int) -> Ends:
    finished = np.zeros_like(failed)
    finished[:, MEASUREMENTS - 1 :] = True
    return race(failed.cumsum(axis=1) > FAILURE_LIMIT, finished, looks)
