"""Fixed questions to single functions: edges of ranges, defaults, and what is refused in which words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf, log, nan
from typing import Any

import counted
import numpy as np
from counts import HISTORY, START, arm, evidence
from pydantic import TypeAdapter
from walking import NOON, Walk, look, pending, saw

from app.domain import (
    catalog,
    circumstances,
    decay,
    decisions,
    discovery,
    drift,
    estimates,
    explanation,
    forecast,
    guardrails,
    harm,
    histogram,
    json_pointer,
    ledger,
    normal_mixture,
    outlook,
    paired,
    planner,
    policy,
    power,
    rate,
    recent,
    replay,
    rollout,
    routing,
    score,
    sentences,
    simulation,
    slowness,
    soundness,
    tally,
    tilts,
)
from app.domain import evidence as tests_of_the_coin
from app.domain.catalog import ModelName, Protocol, Version, VersionName
from app.domain.evidence import BETTER, WORSE, Outcomes
from app.domain.policy import Guardrail, Metric, OnDeadline, OnRegression, Policy
from app.domain.tally import Horizon, Outcome, Tally, TallyKey, TallyRow, Watermark
from app.errors import InvalidInput

V0, V1, V2 = VersionName("v0"), VersionName("v1"), VersionName("v2")
FRAUD = ModelName("fraud")
RAMP = (
    Outcomes(0.01, 3, 40, 97, 9_860),
    Outcomes(0.25, 9, 14, 491, 1_486),
    Outcomes(0.5, 40, 21, 1_960, 1_979),
)


def _asked(function: Callable[..., Any], *questions: Sequence[Any]) -> list[Any]:
    """The answer to each list of arguments; a refusal by its words."""
    answers = []
    for arguments in questions:
        try:
            answer = function(*arguments)
            answers.append(list(answer) if isinstance(answer, Iterator) else answer)
        except (ValueError, InvalidInput) as refused:
            answers.append(f"{type(refused).__name__}: {refused} {getattr(refused, 'field', '')}".strip())
    return answers


def _planner() -> list[Any]:
    at_most = (1, 3, 100, 500, 5_000)
    return [
        *_asked(planner.rungs, *((most,) for most in at_most)),
        *_asked(planner.rung_above, (0, 5_000), (1, 5_000), (99, 500), (500, 500), (5_000, 500), (7, 3)),
        *_asked(planner.rung_below, (0, 5_000), (1, 5_000), (2, 5_000), (500, 500), (5_000, 5_000), (7, 3)),
        *_asked(planner.admissible_bp, (5.0, 100.0, 2.0, 0.01), (5.0, 0.0, 2.0, 0.01), (5.0, 1e-9, 2.0, 1.0)),
        *_asked(planner.divergence, (0.0, 0.3), (1.0, 0.3), (0.2, 0.3), (0.0, 0.0), (1.0, 1.0)),
        *_asked(planner.information, (0.05, 0.01, 0.5), (0.05, 0.01, 0.02), (0.01, 0.01, 0.5)),
        *_asked(planner.exchanges_to_refute, (0.05, 0.01, 0.5, 4.6), (0.01, 0.01, 0.5, 4.6), (1.0, 0.0, 0.01, 4.6)),
        *_asked(planner.overlap_to_prove, (0.01, 0.01, 3.0), (0.2, 0.05, 3.0), (0.0, 0.5, 1.0)),
        *_asked(
            planner.smallest_effect,
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
        answers += _asked(power.rate_refuted, *((*pair, under) for pair in pairs))
        answers += _asked(power.rate_better, *((*pair, under) for pair in pairs))
        proofs = [(0.01, 0.01), (0.0, 0.01), (0.1, 0.05), (1e-9, 0.02), (0.5, 0.4)]
        answers += _asked(power.rate_proven, *((*pair, under) for pair in proofs))
        means = [(0.1, 0.3), (0.01, 0.1), (0.0, 0.1), (-0.1, 0.1), (1.0, 0.5), (0.9, 0.01)]
        answers += _asked(power.mean_refuted, *((*pair, under) for pair in means))
        answers += _asked(power.mean_proven, (0.1, 0.3, under), (0.02, 0.2, under), (0.5, 0.01, under))
        spans = (1.0, 60.0, 86_400.0)
        answers += _asked(power.smallest_rate, *((0.01, under, span) for span in spans))
        answers += _asked(power.smallest_difference, *((0.2, under, span) for span in spans))
    return answers


CATEGORIES = (
    drift.CategoryEpoch(0.1, (30, 50, 20, 0), (250, 500, 245, 5)),
    drift.CategoryEpoch(0.5, (300, 480, 210, 10), (255, 505, 235, 5)),
    drift.CategoryEpoch(0.2, (0, 0, 0, 0), (9, 9, 9, 9)),
    drift.CategoryEpoch(0.3, (7, 7, 7, 7), (0, 0, 0, 0)),
)


def _drift() -> list[Any]:
    uneven = (drift.CategoryEpoch(0.5, (1, 2), (1, 2, 3)),)
    none = (drift.CategoryEpoch(0.5, (), ()),)
    return [
        *_asked(drift.log_e_category, *((CATEGORIES, k) for k in range(4)), (CATEGORIES, 1, 0.25)),
        *_asked(drift.log_e_category, (CATEGORIES, 0, -0.1), (CATEGORIES, 0, inf), (CATEGORIES, 0, nan), ((), 0)),
        *_asked(drift.log_e_drift, (CATEGORIES,), (CATEGORIES, 0.25), ((),), (uneven,), (none,)),
        *_asked(drift.shift, (CATEGORIES,), (CATEGORIES[:1],), (CATEGORIES[2:],), ((),), (uneven,)),
        *_asked(drift.decile_edges, (range(100),), ([1.0, nan, 2.0, 3.0],), ([nan],), ([],), ([5.0] * 9,)),
        *_asked(drift.bin_of, (0.5, (1.0, 2.0)), (1.0, (1.0, 2.0)), (2.5, (1.0, 2.0)), (nan, (1.0, 2.0)), (nan, ())),
    ]


def _score() -> list[Any]:
    half, few = score.binary(100, 7), score.binary(900, 20)
    epochs = (score.ScoreEpoch(0.1, half, few, 990.0), score.ScoreEpoch(0.5, few, half, 1_000.0))
    graded = (score.ScoreEpoch(0.25, score.Sums(50, 30.5, 22.25), score.Sums(150, 80.0, 50.5), 200.0),)
    totals = score.score(epochs, 0.02)
    nobody = score.Score(0.0, 0.0, 0.0)
    bad_epochs = (
        score.ScoreEpoch(0.0, half, few, 1.0),
        score.ScoreEpoch(1.0, half, few, 1.0),
        score.ScoreEpoch(0.5, half, few, -1.0),
        score.ScoreEpoch(0.5, half, few, inf),
        score.ScoreEpoch(0.5, score.Sums(2, 3, 2), few, 1.0),
    )
    mixtures = [
        (0.0, 0.0, 1.0, 1.0),
        (5.0, 10.0, 3.0, 0.5),
        (-5.0, 10.0, 3.0, 0.5),
        (300.0, 9_000.0, 40.0, 0.99),
        (-40.0, 30.0, 500.0, 0.01),
        (0.1, 1e-3, 19.9, 1.0),
        (2.0, 1.0, 19.0, 1.0),
        (1e5, 1e4, 5.0, 1.0),
    ]
    broken = [
        (nan, 1.0, 1.0, 1.0),
        (inf, 1.0, 1.0, 1.0),
        (1.0, -1.0, 1.0, 1.0),
        (1.0, 1.0, 0.0, 1.0),
        (1.0, 1.0, 1.0, 0.0),
    ]
    return [
        *_asked(score.score, (epochs, 0.02), (epochs, 0.02, 0.6), (epochs, 0.5, 0.1), (graded, 0.4), ((), 0.1)),
        *_asked(score.score, *(((epoch,), 0.1) for epoch in bad_epochs)),
        *_asked(
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
        *_asked(score.scale_worse, (0.1, 0.01, 0.5), (0.9, 0.2, 0.5), (0.5, 0.5, 0.5)),
        *_asked(score.scale_not_worse, (0.1, 0.01, 0.5), (0.9, 0.2, 0.5), (0.5, 0.5, 0.5)),
        *_asked(score.best_rho, (10.0, 0.05), (1_000.0, 0.1)),
        *_asked(score.gamma_exponential_log_mixture, *mixtures, *broken),
        *_asked(score.gamma_exponential_bound, (0.0, 0.05, 1.0, 1.0), (90.0, 0.01, 4.0, 0.5), (1e6, 1e-6, 1e3, 0.01)),
        *_asked(score.gamma_exponential_bound, (-1.0, 0.05, 1.0, 1.0), (1.0, 0.05, inf, 1.0)),
        *_asked(score._minus_log1p, (0.01,), (-0.01,), (0.0101,), (1e-8,), (0.5,)),
        *_asked(score._stirling_error, (0.5,), (19.999,), (20.0,), (21.0,), (1e6,)),
        *_asked(score.log_e_worse, (totals, 0.0, 5.0, 0.9), (totals, 0.01, 5.0, 0.9)),
        *_asked(score.log_e_not_worse, (totals, 0.0, 5.0, 0.9), (totals, 0.05, 5.0, 0.9)),
        *_asked(score.excess_bound, (totals, 0.05, 5.0, 0.9), (nobody, 0.05, 5.0, 0.9)),
        *_asked(score.difference_interval, (totals, 0.05, 5.0, 0.5, 0.9), (nobody, 0.05, 5.0, 0.5, 0.9)),
        *_asked(
            normal_mixture.normal_log_mixture, (3.0, 9.0, 2.0), (-3.0, 9.0, 2.0), (0.0, 0.0, 1.0), (9.0, -1.0, 1.0)
        ),
        *_asked(normal_mixture.normal_log_mixture, (inf, 1.0, 1.0), (0.0, 1.0, 0.0), (0.0, nan, 1.0), (0.0, 1.0, inf)),
        *_asked(
            normal_mixture.normal_mixture_bound, (9.0, 0.05, 2.0), (0.0, 0.01, 1.0), (1e4, 0.3, 10.0), (-1.0, 0.1, 1.0)
        ),
        *_asked(
            normal_mixture.normal_difference_interval, (totals, 0.05, 5.0), (nobody, 0.05, 5.0), (totals, 0.05, 0.0)
        ),
        *_asked(paired.paired_score, (score.Sums(10, -3.0, 7.0),), (score.Sums(2, 3.0, 3.0),)),
        *_asked(paired.log_e_discordant, (0, 0), (9, 2), (9, 2, 1.5), (2, 9, 1.0, BETTER), (-1, 2)),
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
    many = tilts.ManyOutcomes(
        tuple(epoch.weight for epoch in RAMP),
        np.array([[[epoch[place], epoch[place] // 2] for epoch in RAMP] for place in (1, 2, 3, 4)], dtype=np.float64),
    )
    nothing = tilts.ManyOutcomes((), np.zeros((4, 0, 3)))
    return [
        *_asked(
            tests_of_the_coin.log_e_tilt, (RAMP,), (RAMP, 1.5), (RAMP, 0.5, BETTER), ((),), (RAMP, 0.0), (RAMP, inf)
        ),
        *_asked(tests_of_the_coin.log_e_tilt, *(((epoch,),) for epoch in broken[:6])),
        *_asked(
            tests_of_the_coin.log_e_full, (RAMP, 0.01), (RAMP, 0.3), (RAMP, 0.01, BETTER), (RAMP, 0.99), (RAMP, 0.0)
        ),
        *_asked(tests_of_the_coin.log_e_full, (RAMP, 1.0), (RAMP, -0.1), (RAMP, nan), ((), 0.1)),
        *_asked(tests_of_the_coin.full_logs, (RAMP[:1], 0.2, WORSE[:5])),
        *_asked(tests_of_the_coin.log_e_split, (RAMP,), ((),)),
        *_asked(
            tests_of_the_coin.least_ratio, (RAMP, limit), ((), limit), (RAMP[:1], 1.0), ((Outcomes(0.5, 0, 99),), limit)
        ),
        *_asked(
            tests_of_the_coin.greatest_ratio,
            (RAMP, limit),
            ((), limit),
            (RAMP[:1], 1.0),
            ((Outcomes(0.5, 99, 0),), limit),
        ),
        *_asked(tests_of_the_coin.ratio_interval, (RAMP, 0.05)),
        *_asked(tests_of_the_coin.log_e_dirichlet, ((3, 5), (0.5, 0.5), 10.0), ((30, 5, 1), (0.5, 0.3, 0.2), 100.0)),
        *_asked(tests_of_the_coin.log_weighted_mean, (((0.5, 1.0), (0.0, 900.0), (0.5, -inf)),), ((),)),
        *_asked(tests_of_the_coin.tilted, (0.25, 2.0), (0.5, 1.0)),
        *_asked(tests_of_the_coin.possible_ratios, (0.5, (1.5, 2.0, 2.5)), (0.0, (9.0,))),
        *_asked(harm.log_e_harm, (RAMP, 0.01), ((), 0.01)),
        *_asked(
            harm.least_harm_ratio, (RAMP, 4.7, limit), (RAMP, 4.5, limit), (RAMP[:1], 0.0, 701.0), (RAMP, 701.0, 700.0)
        ),
        *_asked(
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
        *_asked(tilts.log_e_tilt_of_many, (many,), (many, BETTER), (nothing,)),
        *_asked(tilts.log_e_full_of_many, (many, (0.01, 0.3)), (many, (0.0, 0.95), BETTER), (nothing, (0.1, 0.1, 0.1))),
        *_asked(tilts.log_e_full_of_many, (many, (0.01, 1.0)), (many._replace(counts=-many.counts), (0.1, 0.1))),
        *_asked(
            tilts.log_e_tilt_of_many,
            (many._replace(weights=(0.0, 0.5, 0.9)),),
            (many._replace(counts=many.counts * inf),),
        ),
        *_asked(
            discovery.discoveries,
            ([3.0, 9.0, -inf, 4.0], 0.1),
            ([log(40.0), log(20.0), log(39.9), 0.0], 0.1),
            ([], 0.5),
        ),
        *_asked(
            discovery.discoveries, ([log(10.0)], 0.1), ([1.0], 0.0), ([1.0], 1.0), ([nan], 0.5), ([log(9.99)], 0.1)
        ),
    ]


def _decay() -> list[Any]:
    start = decay.unalarmed(WORSE[:3])
    factors = decay.against_rate(9, 100, 0.05, WORSE[:3])
    once = decay.after_bucket(start, factors)
    return [
        start,
        factors,
        once,
        decay.log_alarm(decay.after_bucket(once, factors)),
        *_asked(decay.detectable, (0.05,), (0.25, (1.5, 2.0, 2.1)), (0.0,), (1.0,), (nan,)),
        *_asked(
            decay.against_rate,
            (0, 0, 0.1, WORSE[:2]),
            (5, 4, 0.1, WORSE[:2]),
            (-1, 4, 0.1, WORSE[:2]),
            (1, 2, 1.0, WORSE),
        ),
        *_asked(decay.beside_standby, (Outcomes(0.98, 30, 1), WORSE[:3]), (Outcomes(0.98, 30, 1), WORSE[:3], 1.5)),
        *_asked(decay.beside_standby, (Outcomes(1.0, 1, 1), WORSE[:1])),
        *_asked(rate.log_e_above, (5, 100, 0.01), (0, 100, 0.5), (50, 100, 0.5, 3.0), (0, 10_000, 0.9), (0, 0, 0.5)),
        *_asked(rate.log_e_above, (-1, 5, 0.5), (6, 5, 0.5), (1, inf, 0.5), (1, 2, 0.0), (1, 2, 1.0), (1, 2, nan)),
        *_asked(
            rate.rate_bounds, (5, 100, 0.05), (0, 10, 0.05), (10, 10, 0.05), (0, 0, 0.05), (3, 9, 0.2, 2.0), (1, 2, 1.0)
        ),
        *_asked(rate.concentration_for, (1_000.0, 0.05), (2.0, 0.05), (200.0, 0.01)),
    ]


def _words() -> list[Any]:
    return [
        *_asked(sentences.percent, *((share,) for share in (0.0, 0.00042, 0.00099, 0.001, 0.0999, 0.1, 0.5, 1.0))),
        *_asked(sentences.points, *((share,) for share in (0.01, 0.024, 0.0004, 0.5, 0.0104, 0.0196))),
        *_asked(sentences.about, *((count,) for count in (4_237.0, 0.4, 99.5, 1_234_567.0))),
        *_asked(sentences.frequency, *((per_s,) for per_s in (0.0028, 1 / 60, 0.5, 0.999, 1.0, 12_345.0, 0.0001))),
        *_asked(sentences.milliseconds, (1.0,), (61_234.0,), (2e9,)),
        *_asked(
            decisions.span_text, *((s,) for s in (0.25, 59.9, 60.0, 61.0, 3_599.0, 3_600.0, 7_200.0, 86_400.0, 1e6))
        ),
        *_asked(decisions.rate_text, *((per_s,) for per_s in (0.0, 0.0123, 9.4, 9.5, 10.0, 12_345.6))),
        *_asked(decisions.weight_text, (1,), (50,), (5_000,), (10_000,)),
        *_asked(
            lambda log_e: decisions.evidence_text(saw(log_e)),
            *((log_e,) for log_e in (0.0, log(99.95), log(100.0), log(9.9e8), log(1e9), 49.0, 900.0)),
        ),
    ]


def _explained_pairs() -> list[Any]:
    strict = Policy(alpha_rollback=0.001, freeze_at=50.0)
    pairs = [(0, 0), (12, 3), (14, 3), (40, 2), (3, 1_234)]
    return _asked(
        explanation.explain_pairs,
        *(("v3", "v1", 9_999, *pair, rules) for pair in pairs for rules in (Policy(), strict)),
    )


def _advised() -> list[Any]:
    policies = {
        "errors": counted.POLICIES["errors alone"],
        "default": Policy(),
        "hasty": Policy(deadline_s=60.0, max_weight_bp=500),
        "bold": Policy(deadline_s=3_600.0, alpha_rollback=0.2, alpha_promotion=0.4),
    }
    answers: list[Any] = []
    for rules in policies.values():
        for exchanges, seconds in ((0, 3_600.0), (10, 3_600.0), (7_200, 3_600.0), (360_000, 360.0), (100, None)):
            reference = Tally(exchanges, {Outcome.OK: exchanges})
            begun = ledger.Evidence.begin(V1, V2, rules, reference, START, reference_s=seconds)
            for reference_rate in (0.001, 0.01, 0.2):
                answers.append(outlook.advice(replace(begun, error_reference=reference_rate), rules))
    return answers


def _forecast() -> list[Any]:
    answers: list[Any] = []
    for name in counted.BY_WEIGHT:
        for rules in (Policy(), Policy(deadline_s=200.0, max_weight_bp=100)):
            given = counted.counted(name, rules)
            answers += [
                forecast.eta_s(given, rules, 1.0),
                forecast.smallest_visible_effect(given, rules),
                forecast.highest_weight(given),
                forecast.exchanges_to_proof(given, rules, 0.1),
                guardrails.error_excess_bound(given, rules),
                guardrails.error_margin(given, rules, rules.errors),
                soundness.flaw_of(given),
            ]
    return answers


def _row(second: int, generation: int, version: VersionName, tally_: Tally) -> TallyRow:
    return TallyRow(TallyKey(START + second, FRAUD, generation, version), tally_, 1)


def _ok(
    good: int, bad: int = 0, late: int = 0, gone: int = 0, lost: int = 0, bins: Mapping[int, int] | None = None
) -> Tally:
    outcomes = {Outcome.OK: good, Outcome.UPSTREAM_ERROR: bad, Outcome.TIMEOUT: late, Outcome.CANCELLED: gone}
    return Tally(good + bad + late + gone + lost, outcomes, 2, bins if bins is not None else {500: good})


def _read() -> list[Any]:
    rows = [
        _row(
            second, generation, version, _ok(40 + second, second % 3, second % 2, 1, 2, {480 + 7 * second: 30, 600: 5})
        )
        for second in range(14)
        for generation in (1, 2)
        for version in (V0, V1, V2)
    ]
    weights = {1: 100, 2: 5_000}
    wrong = [
        _row(3, 9, V2, _ok(5)),
        _row(4, 1, V1, Tally(1, {Outcome.OK: 2})),
        _row(5, 1, V1, Tally(-1)),
        _row(6, 1, V1, Tally(1, latency_bins={10**6: 1})),
    ]
    answers: list[Any] = []
    for history in (HISTORY, Tally()):
        for per_caller in (False, True):
            begun = ledger.Evidence.begin(V1, V2, Policy(), history, START, per_caller=per_caller, reference_s=50.0)
            for through in ((0, -1), (4, 2), (13, 13), (12, 20), (30, 30)):
                mature = Watermark(START + through[0], START + through[1])
                read = ledger.absorb(begun, rows, weights, mature, rows[::2])
                answers += [read, read.draws_per_s, read.exchanges_per_s, read.latency_horizon_ms]
                begun = read if through[0] < 13 else begun
    begun = ledger.Evidence.begin(V1, V2, Policy(), HISTORY, START)
    answers += [ledger.absorb(begun, [bad, rows[0]], weights, Watermark(START + 5, START + 4)).flaw for bad in wrong]
    answers += _asked(
        tally.flaw_of, *((bad.tally,) for bad in wrong), (Tally(2, {Outcome.OK: 2}),), (Tally(1, {Outcome.OK: -1}),)
    )
    return answers


def _late() -> list[Any]:
    runs = {
        "calm": [(100, 1, 100, 1)] * 3,
        "bad": [(100, 30, 100, 30)],
        "worse of late": [(100, 1, 100, 1)] * 5 + [(10, 9, 10, 9)],
        "a little": [(100, 6, 100, 6)] * 12,
    }
    answers: list[Any] = []
    for arms in runs.values():
        for usual in (None, 0.001, 0.01, 0.4):
            given = replace(
                counted.counted("as good", Policy()), lately=recent.Lately(counted.stretches(*arms), usual_rate=usual)
            )
            for ceiling in (None, 0.02, 0.2):
                rules = Policy(error_ceiling=ceiling)
                answers.append(circumstances.reason_to_hold(given, rules, ()))
            answers.append(circumstances.troubled_stable(given))
        for limit in (0.01, 0.05, 0.999, 1.0):
            late = counted.stretches(*arms)
            answers += [recent.log_e_far_above(late, side, limit) for side in (recent.of_canary, recent.of_stable)]
    answers += _asked(recent.far_above, (0.001,), (0.01,), (0.0101,), (0.4,))
    over = recent.Stretch(START, 1, 0, 100, 0)
    answers += [over.is_over(START + 9), over.is_over(START + 10), replace(over, stable=99).is_over(START + 99)]
    answers += _asked(recent._usual_rate, (999, 0), (1_000, 0), (1_000, 1), (1_000, 1_000), (2_000, 20))
    return answers


def _routes() -> list[Any]:
    two = routing.Route(FRAUD, 3, V1, {V2: 100, V1: 9_900})
    three = replace(two, weights_bp={V2: 100, V1: 9_000, V0: 900})
    nobody = replace(two, weights_bp={V2: 5_000})
    points = (0.0, 0.8999, 0.9, 0.9899, 0.99, 0.9999)
    mirrored = replace(two, mirror=routing.Mirror(V1, 50))
    model = catalog.Model(FRAUD)
    versions = [Version(FRAUD, V1, ("http://a:1",), health_path=path) for path in (None, "/up")]
    return [
        *_asked(routing.draw, *((route, point) for route in (two, three, nobody) for point in points)),
        *_asked(
            routing.check_weights, ({V1: 10_000},), ({V1: 10_000, V2: 0},), ({V1: 9_999},), ({V1: 10_001, V2: -1},)
        ),
        *_asked(
            routing.check_weights, ({V1: 1}, "/here"), ({V1: 10_001}, "/there"), ({},), ({V1: 20_000, V2: -10_000},)
        ),
        *_asked(routing.without_own_mirror, (two,), (mirrored,), (replace(mirrored, mirror=routing.Mirror(V2, 50)),)),
        *_asked(routing.sticky_place, (b"ann", b"0123456789abcdef"), (b"", b"0123456789abcdef"), (b"ann", b"f" * 64)),
        routing.EMPTY_TABLE,
        *_asked(catalog.probe_path, *((protocol, version) for protocol in Protocol for version in versions)),
        *_asked(catalog.model_name, ("a",), ("-",), ("x" * 63,), ("x" * 64,), ("a b", "/model")),
        *_asked(catalog.version_name, ("1",), ("",), ("a/b", "/version")),
        [replace(model, **sticky).is_sticky for sticky in ({}, {"sticky_header": "a"}, {"sticky_cookie": "b"})],
        *_asked(
            json_pointer.json_pointer, ("",), ("/a/0/~1~0",), ("a",), ("/~2",), ("/" * 512,), ("/" * 513,), ("x", "/at")
        ),
        *_asked(
            lambda text: str(json_pointer.json_pointer(text).value_in({"a": [1, {"b": None}], "": 2, "~1": 3})),
            *((text,) for text in ("/a/0", "/a/1/b", "/", "/~01", "/a/1")),
        ),
        [
            json_pointer.json_pointer(text).value_in({"a": [1, {"b": None}], "c": "d"}) is json_pointer.MISSING
            for text in ("/a/2", "/a/-", "/a/01", "/x", "/c/0", "/a/1/b/c", "/a/0", "/a/1/b")
        ],
        *_asked(histogram.latency_bin, (0.0,), (1.0,), (1.02,), (1_000.0,), (1e9,)),
        *_asked(
            histogram.bin_reaching, (0.5,), (1.0,), (1.0001,), (1.02,), (1_000.0,), *((1.02**k,) for k in (3, 97, 551))
        ),
        *_asked(histogram.quantile_bin, ({3: 5, 9: 5}, 0.5), ({3: 5, 9: 5}, 0.51), ({}, 0.5), ({1: 1}, 1.0)),
        *_asked(histogram.count_from, ({3: 5, 9: 5}, 3), ({3: 5, 9: 5}, 4), ({}, 0)),
        *_asked(tally.add_counts, ({1: 2}, {1: 3, 2: 4}), ({1: 2}, {}), ({}, {1: 1})),
        *_asked(
            tally.are_counts,
            ((0, 1),),
            ((-1,),),
            ((),),
            ((tally.MOST_COUNTED,),),
            ((tally.MOST_COUNTED + 1,),),
            ((nan, 1),),
        ),
    ]


def _policies() -> list[Any]:
    errors, timeouts, latency = map(Guardrail, Metric)
    edges: list[Policy] = []
    for name, least, greatest in policy._RANGES:
        for value in (least, greatest, least - 1e-7 * max(1.0, least), greatest + 1e-7 * greatest):
            given: dict[str, Any] = {name: value}
            if name == "deadline_margin":
                given["on_deadline"] = OnDeadline.PROMOTE_IF_BELOW
            if name == "freeze_at":
                given["thaw_below"] = 1.0
            if name == "thaw_below":
                given["freeze_at"] = 1e6
            if name == "max_weight_bp":
                given[name] = int(value) if value in {least, greatest} else int(least) - 1 if value < 2 else 5_001
            edges.append(Policy(**given))
    edges += [
        Policy(freeze_at=3.0, thaw_below=3.0),
        Policy(freeze_at=3.0, thaw_below=3.1),
        Policy(deadline_margin=0.1),
        Policy(on_deadline=OnDeadline.PROMOTE_IF_BELOW),
        Policy(on_deadline=OnDeadline.ROLLBACK),
        Policy(guardrails=(errors, errors)),
        Policy(guardrails=(errors, replace(errors, dry_run=True), replace(errors, dry_run=True))),
        Policy(guardrails=(latency,)),
        Policy(guardrails=(replace(errors, required=False),)),
        Policy(guardrails=(replace(errors, on_regression=OnRegression.WARN),)),
        Policy(guardrails=(replace(errors, on_regression=OnRegression.HOLD),)),
        Policy(guardrails=(errors, replace(timeouts, margin=0.1))),
        Policy(guardrails=(replace(errors, quantile=0.9),)),
        *(
            Policy(
                guardrails=(errors, replace(latency, **{name: value}))
                if name != "share"
                else (replace(errors, floor=value),)
            )
            for name, value in (
                ("margin", 0.0),
                ("margin", 100.0),
                ("margin", -0.1),
                ("margin", 100.1),
                ("floor", 600_000.0),
                ("floor", 600_001.0),
                ("floor", -1.0),
                ("quantile", 0.5),
                ("quantile", 0.49),
                ("quantile", 0.9999),
                ("quantile", 0.99991),
                ("share", 1e-5),
                ("share", 0.9e-5),
                ("share", 0.5),
                ("share", 0.51),
            )
        ),
    ]
    legal: list[Any] = [
        "legal" if isinstance(answer, Policy) else answer
        for answer in _asked(policy.check_policy, *((each,) for each in edges))
    ]
    hold = Policy(guardrails=(replace(errors, on_regression=OnRegression.HOLD), timeouts, latency))
    return [
        Policy(),
        *legal,
        *_asked(policy.check_policy, (Policy(alpha_rollback=nan), "/mine")),
        [each.turns_back for each in (errors, replace(errors, dry_run=True), hold.guardrails[0])],
        [(each.is_waited_for, each.margins) for rules in counted.POLICIES.values() for each in rules.guardrails],
        [rules.errors for rules in (*counted.POLICIES.values(), Policy(guardrails=(latency,)))],
        [dict(guardrails.shares(rules)) for rules in (*counted.POLICIES.values(), hold)],
        [guardrails.log_limit(hold, each) for each in hold.guardrails],
        [slowness.slow_limits(rules) for rules in (Policy(guardrails=(errors,)), *list(counted.POLICIES.values())[2:])],
    ]


def _flaws() -> list[Any]:
    arms = {
        "fine": arm(10, 1, 1, 2),
        "untimed": arm(10),
        "negative": replace(arm(10), errors=-1),
        "bad": arm(10, 6, 5),
        "judged": replace(arm(10), ended=9),
        "ended": replace(arm(10), drawn=9),
        "slow": replace(arm(10, slow=2), timed=1),
        "slow negative": replace(arm(10, slow=2), slow=(-1,) * 8),
        "few levels": replace(arm(10, slow=2), slow=(1,) * 7),
        "too many": replace(arm(10), drawn=tally.MOST_COUNTED + 1),
        "most": replace(arm(10), drawn=tally.MOST_COUNTED),
        "awaited": replace(arm(10), awaited=-1),
        "timed": replace(arm(10), timed=tally.MOST_COUNTED + 1),
    }
    answers: list[Any] = []
    for each in arms.values():
        answers += [
            soundness.flaw_of(evidence({100: (each, arm(10))})),
            soundness.flaw_of(evidence({100: (arm(10), each)})),
        ]
    sound = evidence({100: (arm(10), arm(10))})
    answers += [soundness.flaw_of(replace(sound, error_reference=share)) for share in (0.0, 1.0, nan, 0.5)]
    answers += [soundness.flaw_of(evidence({weight: (arm(1), arm(1))})) for weight in (-1, 0, 10_000, 10_001)]
    answers.append(soundness.flaw_of(replace(sound, flaw="it is so")))
    return answers


def _accounts() -> list[Any]:
    rules = counted.POLICIES["held and warned"]
    given = counted.counted("trouble outside", rules)
    led = replace(pending(rules), evidence=given, weight_bp=200)
    seen = look(saw(1.5)).assessment
    endings = [
        simulation.Ending(phase, NOON, 1_234, extra)
        for phase, extra in zip(rollout.Phase, (-3.0, 0.4, 2.6, 1e4, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0), strict=False)
    ]
    weights = {V1: 9_900, V2: 100}
    return [
        decisions.account(led),
        decisions.account(led, seen),
        [(ending.fate, simulation.compared("v2", ending, endings[0])) for ending in endings],
        simulation.Ending.of(rollout.Phase.BAKING, NOON, replace(seen, extra_bad=7.0)).extra_bad,
        *_asked(
            lambda effects: replay.weights_after(led, effects, weights),
            ((),),
            ((rollout.ShiftWeight(200),),),
            ((rollout.ShiftWeight(0),),),
            ((rollout.ShiftWeight(10_000),),),
            ((rollout.MakeStable(V2), rollout.ShiftWeight(1)),),
        ),
        *_asked(
            replay.differences,
            ({"a": [1, 2]}, {"a": [1, 3]}),
            (1, 1.0),
            (1.0, 1),
            (True, 1),
            ({"x~/y": 1}, {}),
            ([1], (1,)),
        ),
        [
            Walk(Policy(warmup_s=0.0)).take(rollout.Started()).rollout.phase_deadline,
            rollout.later(NOON, 1e30),
            rollout.later(NOON, 1.5),
        ],
        *_asked(
            rollout.begin,
            (rollout.RolloutId("r1"), FRAUD, V1, V1, Policy(), Tally(), NOON),
            (rollout.RolloutId("r1"), FRAUD, V1, V2, Policy(alpha_rollback=0.9), Tally(), NOON),
            (rollout.RolloutId("r1"), FRAUD, V1, V2, Policy(), HISTORY, NOON),
        ),
        rollout.begin(rollout.RolloutId("r"), FRAUD, V1, V2, Policy(), HISTORY, NOON, per_caller=True, reference_s=9.0),
        *_asked(
            estimates.rates,
            *(
                (estimates.drawn_by_coin(counted.counted(name, rules)), estimates.BAD, estimates.JUDGED)
                for name in counted.BY_WEIGHT
            ),
        ),
        [dict(given.read_through), [str(horizon) for horizon in Horizon]],
    ]


QUESTIONS: Mapping[str, Callable[[], list[Any]]] = {
    "planner": _planner,
    "power": _power,
    "drift": _drift,
    "score": _score,
    "coin": _coin,
    "decay": _decay,
    "words": _words,
    "pairs": _explained_pairs,
    "advice": _advised,
    "forecast": _forecast,
    "ledger": _read,
    "recent": _late,
    "routes": _routes,
    "policies": _policies,
    "flaws": _flaws,
    "accounts": _accounts,
}
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def answers(question: str) -> Any:
    """What the functions of one question answer, JSON values only."""
    return _ANYTHING.dump_python(QUESTIONS[question](), mode="json")
