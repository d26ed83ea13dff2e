"""What the decision engine is to reach: false alarms, delays, latency, promotion, whole rollouts."""

from bench.goals import Goal
from bench.judging.delays import DELAYS
from bench.judging.latencies import SLOWER
from bench.judging.rollouts import PLANS
from bench.judging.situations import SITUATIONS, TURNBACK

ALPHA = 0.01
_ENOUGH = 4_000
_BACK = ("rolled_back", "share")


def _false_alarms() -> tuple[Goal, ...]:
    healthy = [each.name for each in SITUATIONS if each.healthy]
    # Of a few runs no share of 1 % can be said.
    rollouts = [each.name for each in PLANS if each.healthy and each.full_runs >= _ENOUGH]
    return (
        *(
            _false_alarm(f"situation_{name}", name, ("situations", name, "judges", TURNBACK, *_BACK))
            for name in healthy
        ),
        *(_false_alarm(f"policy_{name}", f"whole rollouts: {name}", ("policy", name, *_BACK)) for name in rollouts),
        *(
            _false_alarm(f"latency_{name}", f"latency: {name}", ("latency", name, "judges", TURNBACK, *_BACK))
            for name in ("same, no margin", "same, default margin", "all x1.1, default margin")
        ),
    )


def _false_alarm(name: str, what: str, figure: tuple[str, ...]) -> Goal:
    return Goal(name, f"turned back falsely, {what}: at most 1 %", ALPHA, figure)


def _delays() -> tuple[Goal, ...]:
    return tuple(
        Goal(
            f"delay_{each.name}",
            f"mean delay at {each.name}: at most 1.4 × the limit",
            1.4,
            ("delays", each.name, "mean_over_limit", "value"),
        )
        for each in DELAYS
    )


def _latencies() -> tuple[Goal, ...]:
    return tuple(
        Goal(
            f"latency_{each.name}",
            f"median delay, latency {each.name}: at most 1.1 × {each.expected:,}",
            1.1,
            ("latency", each.name, "over_expected"),
        )
        for each in SLOWER
        if each.expected is not None
    )


_POLICY = (
    Goal(
        "promoted_on_margin",
        "promoted exactly on the margin, half of the traffic: at most 5 %",
        0.05,
        ("proofs", "on the margin", "promoted", "share"),
    ),
    Goal(
        "policy_promoted_on_margin",
        "whole rollouts promoted on the margin (2 %): at most 5 %",
        0.05,
        ("policy", "2%, 100/s", "promoted", "share"),
    ),
    Goal(
        "policy_seconds",
        "a healthy version decided at 100/s: median at most 60 s",
        60.0,
        ("policy", "same, 100/s", "median_seconds", "value"),
    ),
    Goal(
        "policy_fails_median",
        "answers of a canary that always fails: median at most 2",
        2.0,
        ("policy", "always fails, 100/s", "median_canary_answers", "value"),
    ),
    Goal(
        "policy_fails_p95",
        "answers of a canary that always fails: p95 at most 5",
        5.0,
        ("policy", "always fails, 100/s", "p95_canary_answers", "value"),
    ),
    Goal(
        "policy_extra_5%",
        "extra bad answers at 5 % errors: p95 at most 20",
        20.0,
        ("policy", "5%, 100/s", "p95_extra_bad", "value"),
    ),
)

GOALS = (*_false_alarms(), *_delays(), *_latencies(), *_POLICY)
