"""Fixed questions to values that people write: routes, names, policies, counts that cannot be, accounts."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import nan
from typing import Any

from domain import counted
from domain.asking import asked
from domain.counts import HISTORY, arm, evidence
from domain.walking import NOON, Walk, look, pending, saw

from app.domain.catalog import json_pointer, models, routing
from app.domain.catalog.models import ModelName, Protocol, Version, VersionName
from app.domain.catalog.policy import OnDeadline, OnRegression, Policy
from app.domain.evidence import estimates, impossible_counts, tally
from app.domain.evidence.tally import Horizon, Outcome, Tally
from app.domain.guardrails import latency as slowness
from app.domain.guardrails import policy, registry
from app.domain.guardrails.errors import exposure_guardrail
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL
from app.domain.rollout import replay, rollout, simulation, wording
from app.domain.rollout.transitions import advance
from app.domain.stats import histogram, latency_histogram

V0, V1, V2 = VersionName("v0"), VersionName("v1"), VersionName("v2")
FRAUD = ModelName("fraud")


def _routes() -> list[Any]:
    two = routing.Route(FRAUD, 3, V1, {V2: 100, V1: 9_900})
    three = replace(two, weights_bp={V2: 100, V1: 9_000, V0: 900})
    nobody = replace(two, weights_bp={V2: 5_000})
    points = (0.0, 0.8999, 0.9, 0.9899, 0.99, 0.9999)
    mirrored = replace(two, mirror=routing.Mirror(V1, 50))
    model = models.Model(FRAUD)
    versions = [Version(FRAUD, V1, ("http://a:1",), health_path=path) for path in (None, "/up")]
    return [
        *asked(routing.draw, *((route, point) for route in (two, three, nobody) for point in points)),
        *asked(routing.check_weights, ({V1: 10_000},), ({V1: 10_000, V2: 0},), ({V1: 9_999},), ({V1: 10_001, V2: -1},)),
        *asked(
            routing.check_weights, ({V1: 1}, "/here"), ({V1: 10_001}, "/there"), ({},), ({V1: 20_000, V2: -10_000},)
        ),
        *asked(routing.without_own_mirror, (two,), (mirrored,), (replace(mirrored, mirror=routing.Mirror(V2, 50)),)),
        *asked(routing.sticky_place, (b"ann", b"0123456789abcdef"), (b"", b"0123456789abcdef"), (b"ann", b"f" * 64)),
        routing.EMPTY_TABLE,
        *asked(models.probe_path, *((protocol, version) for protocol in Protocol for version in versions)),
        *asked(models.model_name, ("a",), ("-",), ("x" * 63,), ("x" * 64,), ("a b", "/model")),
        *asked(models.version_name, ("1",), ("",), ("a/b", "/version")),
        [each.is_sticky for each in (model, replace(model, sticky_header="a"), replace(model, sticky_cookie="b"))],
        *asked(
            json_pointer.json_pointer, ("",), ("/a/0/~1~0",), ("a",), ("/~2",), ("/" * 512,), ("/" * 513,), ("x", "/at")
        ),
        *asked(
            lambda text: str(json_pointer.json_pointer(text).value_in({"a": [1, {"b": None}], "": 2, "~1": 3})),
            *((text,) for text in ("/a/0", "/a/1/b", "/", "/~01", "/a/1")),
        ),
        [
            json_pointer.json_pointer(text).value_in({"a": [1, {"b": None}], "c": "d"}) is json_pointer.MISSING
            for text in ("/a/2", "/a/-", "/a/01", "/x", "/c/0", "/a/1/b/c", "/a/0", "/a/1/b")
        ],
    ]


def _counts() -> list[Any]:
    one = Tally(1, counters={tally.Counter.NONFINITE: 2})
    return [
        *asked(latency_histogram.latency_bin, (0.0,), (1.0,), (1.02,), (1_000.0,), (1e9,)),
        *asked(
            latency_histogram.bin_reaching,
            (0.5,),
            (1.0,),
            (1.0001,),
            (1.02,),
            (1_000.0,),
            *((1.02**k,) for k in (3, 97, 551)),
        ),
        *asked(latency_histogram.quantile_bin, ({3: 5, 9: 5}, 0.5), ({3: 5, 9: 5}, 0.51), ({}, 0.5), ({1: 1}, 1.0)),
        *asked(latency_histogram.count_from, ({3: 5, 9: 5}, 3), ({3: 5, 9: 5}, 4), ({}, 0)),
        one + Tally(2, {tally.Outcome.OK: 1}, 3, {4: 5}, {tally.Counter.NONFINITE: 6}),
        *asked(histogram.add_counts, ({1: 2}, {1: 3, 2: 4}), ({1: 2}, {}), ({}, {1: 1})),
        *asked(
            tally.are_counts,
            ((0, 1),),
            ((-1,),),
            ((),),
            ((tally.MOST_COUNTED,),),
            ((tally.MOST_COUNTED + 1,),),
            ((nan, 1),),
        ),
    ]


def _at_their_edges() -> list[Policy]:
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
            edges.append(replace(DEFAULT_POLICY, **given))
    return edges


def _mixed() -> list[Policy]:
    errors, timeouts, latency = EVERY_MODEL
    return [
        replace(DEFAULT_POLICY, freeze_at=3.0, thaw_below=3.0),
        replace(DEFAULT_POLICY, freeze_at=3.0, thaw_below=3.1),
        replace(DEFAULT_POLICY, deadline_margin=0.1),
        replace(DEFAULT_POLICY, on_deadline=OnDeadline.PROMOTE_IF_BELOW),
        replace(DEFAULT_POLICY, on_deadline=OnDeadline.ROLLBACK),
        replace(DEFAULT_POLICY, guardrails=(errors, errors)),
        replace(DEFAULT_POLICY, guardrails=(errors, replace(errors, dry_run=True), replace(errors, dry_run=True))),
        replace(DEFAULT_POLICY, guardrails=(latency,)),
        replace(DEFAULT_POLICY, guardrails=(replace(errors, required=False),)),
        replace(DEFAULT_POLICY, guardrails=(replace(errors, on_regression=OnRegression.WARN),)),
        replace(DEFAULT_POLICY, guardrails=(replace(errors, on_regression=OnRegression.HOLD),)),
        replace(DEFAULT_POLICY, guardrails=(errors, replace(timeouts, margin=0.1))),
        replace(DEFAULT_POLICY, guardrails=(replace(errors, quantile=0.9),)),
        *(
            replace(DEFAULT_POLICY, guardrails=(errors, replace(latency, margin=value)))
            for value in (0.0, 100.0, -0.1, 100.1)
        ),
        *(
            replace(DEFAULT_POLICY, guardrails=(errors, replace(latency, floor=value)))
            for value in (600_000.0, 600_001.0, -1.0)
        ),
        *(
            replace(DEFAULT_POLICY, guardrails=(errors, replace(latency, quantile=value)))
            for value in (0.5, 0.49, 0.9999, 0.99991)
        ),
        *(replace(DEFAULT_POLICY, guardrails=(replace(errors, floor=value),)) for value in (1e-5, 0.9e-5, 0.5, 0.51)),
    ]


def _policies() -> list[Any]:
    errors, timeouts, latency = EVERY_MODEL
    edges = [*_at_their_edges(), *_mixed()]
    legal: list[Any] = [
        "legal" if isinstance(answer, Policy) else answer
        for answer in asked(policy.check_policy, *((each,) for each in edges))
    ]
    hold = replace(DEFAULT_POLICY, guardrails=(replace(errors, on_regression=OnRegression.HOLD), timeouts, latency))
    return [
        DEFAULT_POLICY,
        *legal,
        *asked(policy.check_policy, (replace(DEFAULT_POLICY, alpha_rollback=nan), "/mine")),
        [each.turns_back for each in (errors, replace(errors, dry_run=True), hold.guardrails[0])],
        [(each.is_waited_for, each.margins) for rules in counted.POLICIES.values() for each in rules.guardrails],
        [
            exposure_guardrail(rules)
            for rules in (*counted.POLICIES.values(), replace(DEFAULT_POLICY, guardrails=(latency,)))
        ],
        [dict(registry.shares(rules)) for rules in (*counted.POLICIES.values(), hold)],
        [registry.log_limit(hold, each) for each in hold.guardrails],
        [
            slowness.slow_limits(rules)
            for rules in (replace(DEFAULT_POLICY, guardrails=(errors,)), *list(counted.POLICIES.values())[2:])
        ],
    ]


def _flaws() -> list[Any]:
    arms = {
        "fine": arm(10, 1, 1, 2),
        "untimed": arm(10),
        "negative": replace(arm(10), outcomes={Outcome.UPSTREAM_ERROR: -1, Outcome.OK: 10}),
        "bad": replace(arm(10), outcomes={Outcome.UPSTREAM_ERROR: 6, Outcome.TIMEOUT: 5}),
        "judged": replace(arm(10), outcomes={Outcome.OK: 10, Outcome.CANCELLED: 1}),
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
            impossible_counts.flaw_of(evidence({100: (each, arm(10))})),
            impossible_counts.flaw_of(evidence({100: (arm(10), each)})),
        ]
    sound = evidence({100: (arm(10), arm(10))})
    answers += [impossible_counts.flaw_of(replace(sound, error_reference=share)) for share in (0.0, 1.0, nan, 0.5)]
    answers += [impossible_counts.flaw_of(evidence({weight: (arm(1), arm(1))})) for weight in (-1, 0, 10_000, 10_001)]
    answers.append(impossible_counts.flaw_of(replace(sound, flaw="it is so")))
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
    return [
        wording.account(led),
        wording.account(led, seen),
        [(ending.fate, simulation.compared("v2", ending, endings[0])) for ending in endings],
        simulation.Ending.of(rollout.Phase.BAKING, NOON, replace(seen, extra_bad=7.0)),
        *asked(
            estimates.rates,
            *(
                (estimates.drawn_by_coin(counted.counted(name, rules)), estimates.BAD, estimates.JUDGED)
                for name in counted.BY_WEIGHT
            ),
        ),
        [dict(given.read_through), [str(horizon) for horizon in Horizon]],
    ]


def _replays() -> list[Any]:
    led = replace(pending(counted.POLICIES["held and warned"]), weight_bp=200)
    weights = {V1: 9_900, V2: 100}
    return [
        *asked(
            lambda effects: replay.weights_after(led, effects, weights),
            ((),),
            ((rollout.ShiftWeight(200),),),
            ((rollout.ShiftWeight(0),),),
            ((rollout.ShiftWeight(10_000),),),
            ((rollout.MakeStable(V2), rollout.ShiftWeight(1)),),
            ((rollout.MakeStable(V2),),),
        ),
        *asked(
            replay.differences,
            ({"a": [1, 2]}, {"a": [1, 3]}),
            (1, 1.0),
            (1.0, 1),
            (True, 1),
            ({"x~/y": 1}, {}),
            ({}, {"x~/y": 1}),
            ({"a": None}, {}),
            ([1], (1,)),
            ({"a": 1}, [1]),
            (1, {}),
            (1, True),
            (True, 1.0),
        ),
    ]


def _beginnings() -> list[Any]:
    paused = Walk().to_ramp().take(rollout.Paused()).rollout
    return [
        [
            Walk(replace(DEFAULT_POLICY, warmup_s=0.0)).take(rollout.Started()).rollout.phase_deadline,
            rollout.later(NOON, 1e30),
            rollout.later(NOON, 1.5),
            advance(paused, rollout.Resumed(), paused.decide_by).rollout.decide_by,
        ],
        *asked(
            rollout.begin,
            (rollout.RolloutId("r1"), FRAUD, V1, V1, DEFAULT_POLICY, Tally(), NOON),
            (rollout.RolloutId("r1"), FRAUD, V1, V2, replace(DEFAULT_POLICY, alpha_rollback=0.9), Tally(), NOON),
            (rollout.RolloutId("r1"), FRAUD, V1, V2, DEFAULT_POLICY, HISTORY, NOON),
        ),
        rollout.begin(
            rollout.RolloutId("r"), FRAUD, V1, V2, DEFAULT_POLICY, HISTORY, NOON, per_caller=True, reference_s=9.0
        ),
    ]


QUESTIONS: Mapping[str, Callable[[], list[Any]]] = {
    "routes": _routes,
    "counts": _counts,
    "policies": _policies,
    "flaws": _flaws,
    "accounts": _accounts,
    "replays": _replays,
    "beginnings": _beginnings,
}
