"""Kayenta's judge: Mann-Whitney on one value a minute of each arm, with a tolerance.

Source: spinnaker/kayenta at a69573b: NetflixACAJudge.scala (tolerance 0.25, confidence level
0.98), MannWhitneyClassifier.scala (High where the interval lies above a quarter of the absolute
Hodges-Lehmann estimate) and MannWhitney.scala (the interval of R's wilcox.test, asymptotic, with
continuity correction, as the root of a step function).

Choices: the root is taken as the order statistic of the pairwise differences at which the step
function crosses, without its correction for ties; with heavy ties the original's own answer
depends on its root finder. The metric is the share of bad answers, only an increase counts,
outliers are kept, the whole time so far is compared, and it is judged after every ten minutes.
A minute without answers in an arm is no value of that arm. It never promotes.
"""

from math import ceil, floor, sqrt

import numpy as np
from scipy.special import ndtri

from bench.judging.timings import Timings
from bench.judging.traffic import Counts, Ends, Figures, Flags, Traffic, race

TOLERANCE = 0.25
CONFIDENCE = 0.98
JUDGED_EVERY = 10


def interval(experiment: Figures, control: Figures, confidence: float) -> tuple[Figures, Figures, Figures]:
    """Lower and upper end of the interval for experiment minus control, and the estimate.

    Args:
        experiment: Shape (runs, m); control: shape (runs, n).
        confidence: Of the two-sided interval, in (0, 1).

    Returns:
        Three arrays of shape (runs,).
    """
    runs, m = experiment.shape
    n = control.shape[1]
    pairs = m * n
    reach = pairs / 2.0 + 0.5 - float(ndtri((1.0 - confidence) / 2.0)) * sqrt(pairs * (m + n + 1) / 12.0)
    lowest = max(0, ceil(pairs - reach) - 1)
    highest = min(pairs - 1, floor(reach))
    middle = ((pairs - 1) // 2, pairs // 2)
    differences = (experiment[:, :, None] - control[:, None, :]).reshape(runs, pairs)
    differences.partition(sorted({lowest, highest, *middle}), axis=1)
    estimate = (differences[:, middle[0]] + differences[:, middle[1]]) / 2.0
    return differences[:, lowest], differences[:, highest], estimate


def is_high(experiment: Figures, control: Figures) -> Flags:
    """Whether each run's metric is classified High; shapes as in `interval`, NaN where there is no value."""
    complete = ~(np.isnan(experiment).any(axis=1) | np.isnan(control).any(axis=1))
    high = np.zeros(len(experiment), dtype=bool)
    if complete.any():
        high[complete] = _above(experiment[complete], control[complete])
    for run in np.flatnonzero(~complete):
        ours, theirs = experiment[run], control[run]
        ours, theirs = ours[~np.isnan(ours)], theirs[~np.isnan(theirs)]
        if len(ours) and len(theirs):
            high[run] = _above(ours[None], theirs[None])[0]
    return high


def _above(experiment: Figures, control: Figures) -> Flags:
    lower, _, estimate = interval(experiment, control, CONFIDENCE)
    above: Flags = lower > TOLERANCE * np.abs(estimate)
    return above


def judge(traffic: Traffic) -> Ends:
    """Roll back at the first High; one interval is a minute."""
    minutes = traffic.by(traffic.interval)
    return _judge(
        _rate(minutes.canary_bad, minutes.canary), _rate(minutes.stable_bad, minutes.stable), traffic.interval
    )


def judge_latency(timings: Timings) -> Ends:
    """The same on each minute's p99."""
    return _judge(*timings.quantiles_ms(0.99, timings.interval), timings.interval)


def _judge(experiment: Figures, control: Figures, looks: int) -> Ends:
    ends = range(JUDGED_EVERY, experiment.shape[1] + 1, JUDGED_EVERY)
    high = np.zeros((len(experiment), len(ends)), dtype=bool)
    for judged, end in enumerate(ends):
        high[:, judged] = is_high(experiment[:, :end], control[:, :end])
    return race(high, np.zeros_like(high), JUDGED_EVERY * looks)


def _rate(bad: Counts, answers: Counts) -> Figures:
    with np.errstate(invalid="ignore"):
        return np.where(answers > 0, bad / answers, np.nan)
