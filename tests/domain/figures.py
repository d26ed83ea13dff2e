"""Fixed questions to the tests and the planner: edges of ranges, defaults, and what is refused in which words."""

from collections.abc import Callable, Mapping
from math import inf, log, nan
from typing import Any

import numpy as np
from domain.asking import asked

from app.domain.stats import (
    e_bh,
    e_detector,
    eprocess_batch,
    harm,
    homogeneity,
    normal_mixture,
    paired,
    planning,
    power,
    rate,
    score,
)
from app.domain.stats import eprocess as tests_of_the_coin
from app.domain.stats.eprocess import BETTER, WORSE, Outcomes

RAMP = (
    Outcomes(0.01, 3, 40, 97, 9_860),
    Outcomes(0.25, 9, 14, 491, 1_486),
    Outcomes(0.5, 40, 21, 1_960, 1_979),
)


def _planner() -> list[Any]:
    at_most = (1, 3, 100, 500, 5_000)
    return [
        *asked(planning.rungs, *((most,) for most in at_most)),
        *asked(planning.rung_above, (0, 5_000), (1, 5_000), (99, 500), (500, 500), (5_000, 500), (7, 3)),
        *asked(planning.rung_below, (0, 5_000), (1, 5_000), (2, 5_000), (500, 500), (5_000, 5_000), (7, 3)),
        *asked(planning.admissible_bp, (5.0, 100.0, 2.0, 0.01), (5.0, 0.0, 2.0, 0.01), (5.0, 1e-9, 2.0, 1.0)),
        *asked(planning.divergence, (0.0, 0.3), (1.0, 0.3), (0.2, 0.3), (0.0, 0.0), (1.0, 1.0)),
        *asked(planning.information, (0.05, 0.01, 0.5), (0.05, 0.01, 0.02), (0.01, 0.01, 0.5)),
        *asked(planning.exchanges_to_refute, (0.05, 0.01, 0.5, 4.6), (0.01, 0.01, 0.5, 4.6), (1.0, 0.0, 0.01, 4.6)),
        *asked(planning.overlap_to_prove, (0.01, 0.01, 3.0), (0.2, 0.05, 3.0), (0.0, 0.5, 1.0)),
        *asked(
            planning.smallest_effect,
            (0.01, 0.5, 1_000.0, 4.6),
            (0.01, 0.5, 1e7, 4.6),
            (0.01, 0.5, 0.0, 4.6),
            (0.01, 0.5, 1.0, 4.6),
            (0.01, 0.5, 9.0, 4.6),
            (0.3, 0.1, 500.0, 9.0),
        ),
    ]


def _power() -> list[Any]:
    conditions = (
        power.Conditions(0.5),
        power.Conditions(0.05, 0.02, 0.1, 12.5, 0.2),
        power.Conditions(0.5, exchanges_per_s=10.0),
    )
    answers: list[Any] = []
    for under in conditions:
        pairs = [
            (0.01, 0.02),
            (0.02, 0.01),
            (0.01, 0.01),
            (0.0, 1.0),
            (0.5, 0.5 + 1e-10),
            (0.5, 0.5 + 1e-9),
            (0.4, 0.9),
        ]
        answers += asked(power.rate_refuted, *((*pair, under) for pair in pairs))
        answers += asked(power.rate_better, *((*pair, under) for pair in pairs))
        proofs = [(0.01, 0.01), (0.0, 0.01), (0.1, 0.05), (1e-9, 0.02), (0.5, 0.4)]
        answers += asked(power.rate_proven, *((*pair, under) for pair in proofs))
        means = [(0.1, 0.3), (0.01, 0.1), (0.0, 0.1), (-0.1, 0.1), (1.0, 0.5), (0.9, 0.01)]
        answers += asked(power.mean_refuted, *((*pair, under) for pair in means))
        answers += asked(power.mean_proven, (0.1, 0.3, under), (0.02, 0.2, under), (0.5, 0.01, under))
        spans = (1.0, 60.0, 86_400.0)
        answers += asked(power.smallest_rate, *((0.01, under, span) for span in spans))
        answers += asked(power.smallest_difference, *((0.2, under, span) for span in spans))
    return answers


CATEGORIES = (
    homogeneity.CategoryEpoch(0.1, (30, 50, 20, 0), (250, 500, 245, 5)),
    homogeneity.CategoryEpoch(0.5, (300, 480, 210, 10), (255, 505, 235, 5)),
    homogeneity.CategoryEpoch(0.2, (0, 0, 0, 0), (9, 9, 9, 9)),
    homogeneity.CategoryEpoch(0.3, (7, 7, 7, 7), (0, 0, 0, 0)),
)


def _drift() -> list[Any]:
    uneven = (homogeneity.CategoryEpoch(0.5, (1, 2), (1, 2, 3)),)
    none = (homogeneity.CategoryEpoch(0.5, (), ()),)
    return [
        *asked(homogeneity.log_e_category, *((CATEGORIES, k) for k in range(4)), (CATEGORIES, 1, 0.25)),
        *asked(homogeneity.log_e_category, (CATEGORIES, 0, -0.1), (CATEGORIES, 0, inf), (CATEGORIES, 0, nan), ((), 0)),
        *asked(homogeneity.log_e_drift, (CATEGORIES,), (CATEGORIES, 0.25), ((),), (uneven,), (none,)),
        *asked(homogeneity.shift, (CATEGORIES,), (CATEGORIES[:1],), (CATEGORIES[2:],), ((),), (uneven,)),
        *asked(homogeneity.decile_edges, (range(100),), ([1.0, nan, 2.0, 3.0],), ([nan],), ([],), ([5.0] * 9,)),
        *asked(
            homogeneity.bin_of, (0.5, (1.0, 2.0)), (1.0, (1.0, 2.0)), (2.5, (1.0, 2.0)), (nan, (1.0, 2.0)), (nan, ())
        ),
    ]


MIXTURES = [
    (0.0, 0.0, 1.0, 1.0),
    (5.0, 10.0, 3.0, 0.5),
    (-5.0, 10.0, 3.0, 0.5),
    (300.0, 9_000.0, 40.0, 0.99),
    (-40.0, 30.0, 500.0, 0.01),
    (0.1, 1e-3, 19.9, 1.0),
    (2.0, 1.0, 19.0, 1.0),
    (1e5, 1e4, 5.0, 1.0),
]
NO_MIXTURES = [
    (nan, 1.0, 1.0, 1.0),
    (inf, 1.0, 1.0, 1.0),
    (1.0, -1.0, 1.0, 1.0),
    (1.0, 1.0, 0.0, 1.0),
    (1.0, 1.0, 1.0, 0.0),
]


def _score() -> list[Any]:
    half, few = score.binary(100, 7), score.binary(900, 20)
    epochs = (score.ScoreEpoch(0.1, half, few, 990.0), score.ScoreEpoch(0.5, few, half, 1_000.0))
    graded = (score.ScoreEpoch(0.25, score.Sums(50, 30.5, 22.25), score.Sums(150, 80.0, 50.5), 200.0),)
    bad_epochs = (
        score.ScoreEpoch(0.0, half, few, 1.0),
        score.ScoreEpoch(1.0, half, few, 1.0),
        score.ScoreEpoch(0.5, half, few, -1.0),
        score.ScoreEpoch(0.5, half, few, inf),
        score.ScoreEpoch(0.5, score.Sums(2, 3, 2), few, 1.0),
    )
    return [
        *asked(score.score, (epochs, 0.02), (epochs, 0.02, 0.6), (epochs, 0.5, 0.1), (graded, 0.4), ((), 0.1)),
        *asked(score.score, *(((epoch,), 0.1) for epoch in bad_epochs)),
        *asked(
            score.checked_sums,
            *(
                (score.Sums(*sums),)
                for sums in [(0, 0, 0), (2, 2, 2), (2, 1, 1), (2, 1, 0.5), (2, 1, 0.4), (1, -0.1, 1)]
            ),
            (score.Sums(2, -2, 2), -1.0),
            (score.Sums(2, -2.1, 2), -1.0),
            (score.Sums(nan, 0, 0),),
            (score.Sums(inf, 0, 0),),
            (score.Sums(2, 1, 3),),
        ),
        *asked(score.scale_worse, (0.1, 0.01, 0.5), (0.9, 0.2, 0.5), (0.5, 0.5, 0.5)),
        *asked(score.scale_not_worse, (0.1, 0.01, 0.5), (0.9, 0.2, 0.5), (0.5, 0.5, 0.5)),
        *asked(score.best_rho, (10.0, 0.05), (1_000.0, 0.1)),
    ]


def _mixtures() -> list[Any]:
    totals, nobody = score.Score(3.5, 12.25, 240.0), score.Score(0.0, 0.0, 0.0)
    return [
        *asked(score.gamma_exponential_log_mixture, *MIXTURES, *NO_MIXTURES),
        *asked(score.gamma_exponential_bound, (0.0, 0.05, 1.0, 1.0), (90.0, 0.01, 4.0, 0.5), (1e6, 1e-6, 1e3, 0.01)),
        *asked(score.gamma_exponential_bound, (-1.0, 0.05, 1.0, 1.0), (1.0, 0.05, inf, 1.0)),
        *asked(score._minus_log1p, (0.01,), (-0.01,), (0.0101,), (1e-8,), (0.5,)),
        *asked(score._stirling_error, (0.5,), (19.999,), (20.0,), (21.0,), (1e6,)),
        *asked(score.log_e_worse, (totals, 0.0, 5.0, 0.9), (totals, 0.01, 5.0, 0.9)),
        *asked(score.log_e_not_worse, (totals, 0.0, 5.0, 0.9), (totals, 0.05, 5.0, 0.9)),
        *asked(score.excess_bound, (totals, 0.05, 5.0, 0.9), (nobody, 0.05, 5.0, 0.9)),
        *asked(score.difference_interval, (totals, 0.05, 5.0, 0.5, 0.9), (nobody, 0.05, 5.0, 0.5, 0.9)),
        *asked(normal_mixture.normal_log_mixture, (3.0, 9.0, 2.0), (-3.0, 9.0, 2.0), (0.0, 0.0, 1.0), (9.0, -1.0, 1.0)),
        *asked(normal_mixture.normal_log_mixture, (inf, 1.0, 1.0), (0.0, 1.0, 0.0), (0.0, nan, 1.0), (0.0, 1.0, inf)),
        *asked(
            normal_mixture.normal_mixture_bound, (9.0, 0.05, 2.0), (0.0, 0.01, 1.0), (1e4, 0.3, 10.0), (-1.0, 0.1, 1.0)
        ),
        *asked(
            normal_mixture.normal_difference_interval, (totals, 0.05, 5.0), (nobody, 0.05, 5.0), (totals, 0.05, 0.0)
        ),
        *asked(paired.paired_score, (score.Sums(10, -3.0, 7.0),), (score.Sums(2, 3.0, 3.0),)),
        *asked(paired.log_e_discordant, (0, 0), (9, 2), (9, 2, 1.5), (2, 9, 1.0, BETTER), (-1, 2)),
    ]


def _coin() -> list[Any]:
    broken = [
        Outcomes(0.0, 1, 1),
        Outcomes(1.0, 1, 1),
        Outcomes(0.5, -1, 1),
        Outcomes(0.5, 1, -1),
        Outcomes(0.5, 1, 1, -1),
        Outcomes(0.5, 1, 1, 1, -1),
        Outcomes(0.5, 1, 1, 1, 10**400),
    ]
    limit = log(100.0)
    return [
        *asked(
            tests_of_the_coin.log_e_tilt, (RAMP,), (RAMP, 1.5), (RAMP, 0.5, BETTER), ((),), (RAMP, 0.0), (RAMP, inf)
        ),
        *asked(tests_of_the_coin.log_e_tilt, *(((epoch,),) for epoch in broken[:6])),
        *asked(
            tests_of_the_coin.log_e_full, (RAMP, 0.01), (RAMP, 0.3), (RAMP, 0.01, BETTER), (RAMP, 0.99), (RAMP, 0.0)
        ),
        *asked(tests_of_the_coin.log_e_full, (RAMP, 1.0), (RAMP, -0.1), (RAMP, nan), ((), 0.1)),
        *asked(tests_of_the_coin.full_logs, (RAMP[:1], 0.2, WORSE[:5])),
        *asked(tests_of_the_coin.log_e_split, (RAMP,), ((),)),
        *asked(
            tests_of_the_coin.least_ratio, (RAMP, limit), ((), limit), (RAMP[:1], 1.0), ((Outcomes(0.5, 0, 99),), limit)
        ),
        *asked(
            tests_of_the_coin.greatest_ratio,
            (RAMP, limit),
            ((), limit),
            (RAMP[:1], 1.0),
            ((Outcomes(0.5, 99, 0),), limit),
        ),
        *asked(tests_of_the_coin.ratio_interval, (RAMP, 0.05)),
        *asked(tests_of_the_coin.log_e_dirichlet, ((3, 5), (0.5, 0.5), 10.0), ((30, 5, 1), (0.5, 0.3, 0.2), 100.0)),
        *asked(tests_of_the_coin.log_weighted_mean, (((0.5, 1.0), (0.0, 900.0), (0.5, -inf)),), ((),)),
        *asked(tests_of_the_coin.tilted, (0.25, 2.0), (0.5, 1.0)),
        *asked(tests_of_the_coin.possible_ratios, (0.5, (1.5, 2.0, 2.5)), (0.0, (9.0,))),
        *asked(tests_of_the_coin.log_e_dirichlet, ((3, 5), (0.5,), 10.0)),
    ]


def _harm() -> list[Any]:
    limit = log(100.0)
    return [
        *asked(harm.log_e_harm, (RAMP, 0.01), ((), 0.01)),
        *asked(
            harm.least_harm_ratio, (RAMP, 4.7, limit), (RAMP, 4.5, limit), (RAMP[:1], 0.0, 701.0), (RAMP, 701.0, 700.0)
        ),
        *asked(harm.least_harm_ratio, (RAMP, 0.5, 1.0), (RAMP, 1.0, 1.0)),
        *asked(harm._limit_of_half, (1.0,), (699.9,), (700.0,), (701.0,), (800.0,)),
        *asked(
            harm.bad_until,
            (RAMP, 0.01, 0.5, 9.0, 100),
            ((), 0.01, 0.5, limit, 100),
            ((), 0.01, 0.0001, limit, 1_000),
            ((), 0.5, 0.5, limit, 100),
            ((), 0.01, 0.5, limit, 6),
            ((), 0.01, 0.5, limit, 7),
            ((), 0.01, 0.5, limit, 5),
            ((), 0.99, 0.5, limit, 100),
            ((), 0.01, 0.5, -1.0, 100),
            ((Outcomes(0.5, 0, 900, 9_000, 9_000),), 0.05, 0.1, limit, 10_000),
            ((), 0.01, 1.0, limit, 7),
        ),
    ]


def _many() -> list[Any]:
    # What an earlier test has asked would be answered from the tables, not by what fills them.
    for table in (eprocess_batch._logs, eprocess_batch._of_bad, eprocess_batch._mirror):
        table.cache_clear()
    many = eprocess_batch.ManyOutcomes(
        tuple(epoch.weight for epoch in RAMP),
        np.array([[[epoch[place], epoch[place] // 2] for epoch in RAMP] for place in (1, 2, 3, 4)], dtype=np.float64),
    )
    nothing = eprocess_batch.ManyOutcomes((), np.zeros((4, 0, 3)))
    return [
        *asked(eprocess_batch.log_e_tilt_of_many, (many._replace(weights=(0.5, 0.9, 1.0)),)),
        *asked(eprocess_batch.log_e_tilt_of_many, (many,), (many, BETTER), (nothing,)),
        *asked(
            eprocess_batch.log_e_full_of_many,
            (many, (0.01, 0.3)),
            (many, (0.0, 0.95), BETTER),
            (nothing, (0.1, 0.1, 0.1)),
        ),
        *asked(
            eprocess_batch.log_e_full_of_many, (many, (0.01, 1.0)), (many._replace(counts=-many.counts), (0.1, 0.1))
        ),
        *asked(
            eprocess_batch.log_e_tilt_of_many,
            (many._replace(weights=(0.0, 0.5, 0.9)),),
            (many._replace(counts=many.counts * inf),),
        ),
        *asked(
            e_bh.discoveries,
            ([3.0, 9.0, -inf, 4.0], 0.1),
            ([log(40.0), log(20.0), log(39.9), 0.0], 0.1),
            ([], 0.5),
        ),
        *asked(e_bh.discoveries, ([log(10.0)], 0.1), ([1.0], 0.0), ([1.0], 1.0), ([nan], 0.5), ([log(9.99)], 0.1)),
    ]


def _decay() -> list[Any]:
    start = e_detector.unalarmed(WORSE[:3])
    factors = e_detector.against_rate(9, 100, 0.05, WORSE[:3])
    once = e_detector.after_bucket(start, factors)
    return [
        start,
        factors,
        once,
        *asked(e_detector.after_bucket, (once, factors[:2]), (once[:2], factors)),
        e_detector.log_alarm(e_detector.after_bucket(once, factors)),
        *asked(e_detector.detectable, (0.05,), (0.25, (1.5, 2.0, 2.1)), (0.0,), (1.0,), (nan,)),
        *asked(
            e_detector.against_rate,
            (0, 0, 0.1, WORSE[:2]),
            (5, 4, 0.1, WORSE[:2]),
            (-1, 4, 0.1, WORSE[:2]),
            (1, 2, 1.0, WORSE),
        ),
        *asked(e_detector.beside_standby, (Outcomes(0.98, 30, 1), WORSE[:3]), (Outcomes(0.98, 30, 1), WORSE[:3], 1.5)),
        *asked(e_detector.beside_standby, (Outcomes(1.0, 1, 1), WORSE[:1])),
        *asked(rate.log_e_above, (5, 100, 0.01), (0, 100, 0.5), (50, 100, 0.5, 3.0), (0, 10_000, 0.9)),
        *asked(rate.log_e_above, (0, 10**7, 0.9), (0, 0, 0.5)),
        *asked(rate.log_e_above, (-1, 5, 0.5), (6, 5, 0.5), (1, inf, 0.5), (1, 2, 0.0), (1, 2, 1.0), (1, 2, nan)),
        *asked(
            rate.rate_bounds, (5, 100, 0.05), (0, 10, 0.05), (10, 10, 0.05), (0, 0, 0.05), (3, 9, 0.2, 2.0), (1, 2, 1.0)
        ),
        *asked(rate.concentration_for, (1_000.0, 0.05), (2.0, 0.05), (200.0, 0.01)),
    ]


QUESTIONS: Mapping[str, Callable[[], list[Any]]] = {
    "planner": _planner,
    "power": _power,
    "drift": _drift,
    "score": _score,
    "mixtures": _mixtures,
    "coin": _coin,
    "harm": _harm,
    "many": _many,
    "decay": _decay,
}
