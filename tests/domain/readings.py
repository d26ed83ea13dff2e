"""Fixed questions about what is read and how it is told: rows, late stretches, forecasts, sentences."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log
from typing import Any

from domain import counted
from domain.asking import asked
from domain.counts import HISTORY, START
from domain.walking import saw

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence import evidence, impossible_counts, recent, tally
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, Watermark
from app.domain.guardrails import common_cause, errors, phrases
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.reports import explanation, outlook
from app.domain.rollout import wording

V0, V1, V2 = VersionName("v0"), VersionName("v1"), VersionName("v2")
FRAUD = ModelName("fraud")


def _words() -> list[Any]:
    return [
        *asked(phrases.percent, *((share,) for share in (0.0, 0.00042, 0.00099, 0.001, 0.0999, 0.1, 0.5, 1.0))),
        *asked(phrases.points, *((share,) for share in (0.01, 0.024, 0.0004, 0.5, 0.0104, 0.0196))),
        *asked(phrases.about, *((count,) for count in (4_237.0, 0.4, 99.5, 1_234_567.0))),
        *asked(phrases.frequency, *((per_s,) for per_s in (0.0028, 1 / 60, 0.5, 0.999, 1.0, 12_345.0, 0.0001))),
        phrases.frequency(9.949 / 3_600.0),
        *asked(phrases.milliseconds, (1.0,), (61_234.0,), (2e9,)),
        *asked(wording.span_text, *((s,) for s in (0.25, 59.9, 60.0, 61.0, 3_599.0, 3_600.0, 7_200.0, 86_400.0, 1e6))),
        *asked(wording.rate_text, *((per_s,) for per_s in (0.0, 0.0123, 9.4, 9.5, 10.0, 12_345.6))),
        *asked(wording.weight_text, (1,), (50,), (5_000,), (10_000,)),
        *asked(
            lambda log_e: wording.evidence_text(saw(log_e)),
            *((log_e,) for log_e in (0.0, log(99.95), log(100.0), log(9.9e8), log(1e9), 49.0, 900.0)),
        ),
    ]


def _explained_pairs() -> list[Any]:
    # The last two have their lines exactly where no pair at all stands.
    lines = (
        DEFAULT_POLICY,
        replace(DEFAULT_POLICY, alpha_rollback=0.001, freeze_at=50.0),
        replace(DEFAULT_POLICY, freeze_at=1.0),
        replace(DEFAULT_POLICY, alpha_rollback=1.0, freeze_at=1.0),
    )
    pairs = [(0, 0), (12, 3), (14, 3), (18, 3), (19, 3), (20, 3), (40, 2), (3, 1_234)]
    return asked(
        explanation.explain_pairs,
        *(("v3", "v1", 9_999, *pair, rules) for pair in pairs for rules in lines),
    )


def _advised() -> list[Any]:
    policies = {
        "errors": counted.POLICIES["errors alone"],
        "default": DEFAULT_POLICY,
        "hasty": replace(DEFAULT_POLICY, deadline_s=60.0, max_weight_bp=500),
        "nearly even": replace(DEFAULT_POLICY, deadline_s=60.0, max_weight_bp=4_999),
        "a third": replace(DEFAULT_POLICY, deadline_s=60.0, max_weight_bp=3_333),
        "bold": replace(DEFAULT_POLICY, deadline_s=3_600.0, alpha_rollback=0.2, alpha_promotion=0.4),
    }
    answers: list[Any] = []
    for rules in policies.values():
        for exchanges, seconds in ((0, 3_600.0), (10, 3_600.0), (7_200, 3_600.0), (360_000, 360.0), (100, None)):
            reference = Tally(exchanges, {Outcome.OK: exchanges})
            begun = evidence.Evidence.begin(V1, V2, slow_limits(rules), reference, START, reference_s=seconds)
            answers += [outlook.advice(replace(begun, error_reference=share), rules) for share in (0.001, 0.01, 0.2)]
    return answers


def _forecast() -> list[Any]:
    answers: list[Any] = []
    for name in counted.BY_WEIGHT:
        for rules in (DEFAULT_POLICY, replace(DEFAULT_POLICY, deadline_s=200.0, max_weight_bp=100)):
            given = counted.counted(name, rules)
            answers += [
                outlook.eta_s(given, rules, 1.0),
                outlook.smallest_visible_effect(given, rules),
                errors.highest_weight(given),
                errors.exchanges_to_proof(given, rules, 0.1),
                errors.error_excess_bound(given, rules),
                errors.error_margin(given, rules),
                impossible_counts.flaw_of(given),
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
        _row(second, generation, version, _ok(40 + 5 * place + second, second % 3, second % 2 + place, 1, 2, bins))
        for second in range(14)
        for generation in (1, 2)
        for place, version in enumerate((V0, V1, V2))
        for bins in [{480 + 7 * second + place: 30, 600: 5}]
    ]
    weights = {1: 100, 2: 5_000}
    wrong = [
        _row(3, 9, V2, _ok(5)),
        _row(4, 1, V1, Tally(1, {Outcome.OK: 2})),
        _row(5, 1, V1, Tally(-1)),
        _row(6, 1, V1, Tally(1, latency_bins={10**6: 1})),
        _row(-1, 1, V1, Tally(-1)),
        _row(0, 1, V1, Tally(-1)),
    ]
    answers: list[Any] = []
    for history in (HISTORY, Tally()):
        for per_caller in (False, True):
            begun = evidence.Evidence.begin(
                V1, V2, slow_limits(DEFAULT_POLICY), history, START, per_caller=per_caller, reference_s=50.0
            )
            for through in ((0, -1), (4, 2), (13, 13), (12, 20), (30, 30)):
                mature = Watermark(START + through[0], START + through[1])
                read = evidence.absorb(begun, rows, weights, mature, rows[::2])
                answers += [read, read.draws_per_s, read.exchanges_per_s, read.latency_horizon_ms]
                begun = read if through[0] < 13 else begun
    begun = evidence.Evidence.begin(V1, V2, slow_limits(DEFAULT_POLICY), HISTORY, START)
    answers += [evidence.absorb(begun, [bad, rows[0]], weights, Watermark(START + 5, START + 4)).flaw for bad in wrong]
    answers += asked(
        tally.flaw_of, *((bad.tally,) for bad in wrong), (Tally(2, {Outcome.OK: 2}),), (Tally(1, {Outcome.OK: -1}),)
    )
    answers += asked(
        tally.flaw_of, *((Tally(1, latency_bins={place: 1}),) for place in (-1, 0, tally.MOST_BIN, tally.MOST_BIN + 1))
    )
    return answers


def _late() -> list[Any]:
    runs = {
        "calm": [(100, 1, 100, 1)] * 3,
        "bad": [(100, 30, 100, 30)],
        "worse of late": [(100, 1, 100, 1)] * 5 + [(10, 9, 10, 9)],
        "a little": [(100, 6, 100, 6)] * 12,
        **{
            f"{bad} bad answers of the canary, {good} good": [(bad + good, bad, 300, 150)]
            for good in (1, 4, 9)
            for bad in range(7)
        },
    }
    answers: list[Any] = []
    for arms in runs.values():
        for usual in (None, 0.001, 0.01, 0.4):
            given = replace(
                counted.counted("as good", DEFAULT_POLICY),
                lately=recent.Lately(counted.stretches(*arms), usual_rate=usual),
            )
            for ceiling in (None, 0.02, 0.2):
                rules = replace(DEFAULT_POLICY, error_ceiling=ceiling)
                answers.append(common_cause.reason_to_hold(given, rules, ()))
            answers.append(common_cause.troubled_stable(given.lately))
        for limit in (0.01, 0.05, 0.999, 1.0):
            late = counted.stretches(*arms)
            answers += [recent.log_e_far_above(late, side, limit) for side in (recent.of_canary, recent.of_stable)]
    answers += asked(recent.far_above, (0.001,), (0.01,), (0.0101,), (0.4,))
    over = recent.Stretch(START, 1, 0, 100, 0)
    answers += [over.is_over(START + 9), over.is_over(START + 10), replace(over, stable=99).is_over(START + 99)]
    answers += asked(recent.usual_rate, (999, 0), (1_000, 0), (1_000, 1), (1_000, 1_000), (2_000, 20))
    return answers


QUESTIONS: Mapping[str, Callable[[], list[Any]]] = {
    "words": _words,
    "pairs": _explained_pairs,
    "advice": _advised,
    "forecast": _forecast,
    "ledger": _read,
    "recent": _late,
}
