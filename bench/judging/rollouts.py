"""Whole rollouts under the default policy, through the product's own `absorb`, `assess` and `advance`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sin
from typing import NamedTuple

import numpy as np

from app.domain.catalog.policy import Guardrail
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL
from app.domain.rollout.rollout import Phase
from bench.judging.intervals import Document, median, quantile, share
from bench.world import Arm, Setting, play, steady

_STABLE = Arm(0.01)


@dataclass(frozen=True, slots=True)
class Plan:
    """A rollout to be played again and again.

    Attributes:
        metrics: Which guardrails judge; latency is played only where it judges.
        patience_s: A rollout that is still open then is counted as open.
    """

    name: str
    canary: Arm
    exchanges_per_s: float
    quick_runs: int
    full_runs: int
    guardrails: tuple[Guardrail, ...] = EVERY_MODEL[:1]
    stable: Arm = _STABLE
    tide: Callable[[int], float] = steady
    patience_s: int = 3_600

    @property
    def healthy(self) -> bool:
        """Whether both versions are the same, so that turning back is a false alarm."""
        return self.canary == self.stable


def _swing(second: int) -> float:
    return 1.0 + 0.6 * sin(second / 20.0)


_ALL = EVERY_MODEL
_WITH_LATENCY = Arm(0.01, 0.001, 40.0)

PLANS = (
    Plan("same, 100/s", Arm(0.01), 100.0, 100, 4_000),
    Plan("same, 1000/s", Arm(0.01), 1_000.0, 60, 4_000),
    Plan("same, 100/s, base rate swings 60%", Arm(0.01), 100.0, 30, 4_000, tide=_swing),
    Plan("same, 1/s", Arm(0.01), 1.0, 0, 12, patience_s=43_200),
    Plan("1.5%, 100/s", Arm(0.015), 100.0, 0, 200),
    Plan("2%, 100/s", Arm(0.02), 100.0, 20, 600),
    Plan("5%, 100/s", Arm(0.05), 100.0, 60, 4_000),
    Plan("50%, 100/s", Arm(0.5), 100.0, 40, 1_000),
    Plan("always fails, 100/s", Arm(1.0), 100.0, 100, 1_000),
    Plan("always fails, 0.01/s", Arm(1.0), 0.01, 0, 12, patience_s=43_200),
    Plan("all guardrails: same, 100/s", _WITH_LATENCY, 100.0, 10, 4_000, _ALL, _WITH_LATENCY),
    Plan("all guardrails: 5%, 100/s", Arm(0.05, 0.001, 40.0), 100.0, 10, 200, _ALL, _WITH_LATENCY),
    Plan("all guardrails: always fails, 100/s", Arm(1.0, 0.0, 40.0), 100.0, 20, 200, _ALL, _WITH_LATENCY),
    Plan("all guardrails: twice as slow, 100/s", Arm(0.01, 0.001, 80.0), 100.0, 10, 200, _ALL, _WITH_LATENCY),
)


class Outcome(NamedTuple):
    """How one rollout went; see `world.Story`."""

    phase: Phase
    seconds: int
    canary_answers: int
    extra_bad: float


def judge(plan: Plan, runs: int, seed: int) -> list[Outcome]:
    """Play so many rollouts."""
    policy = replace(DEFAULT_POLICY, guardrails=plan.guardrails, warmup_s=0.0)
    setting = Setting(plan.stable, plan.canary, plan.exchanges_per_s, policy, plan.tide)
    seeds = np.random.default_rng(seed).integers(2**63, size=runs)
    stories = (play(setting, int(each), plan.patience_s) for each in seeds)
    return [Outcome(story.phase, story.seconds, story.canary_answers, story.extra_bad) for story in stories]


def summary(plan: Plan, parts: Sequence[Sequence[Outcome]]) -> Document:
    """What a table shows of many rollouts."""
    outcomes = [outcome for part in parts for outcome in part]
    seconds, answers, extra = (
        np.array([getattr(outcome, name) for outcome in outcomes], dtype=float)
        for name in ("seconds", "canary_answers", "extra_bad")
    )
    return {
        "healthy": plan.healthy,
        "rolled_back": share(np.array([outcome.phase is Phase.ROLLED_BACK for outcome in outcomes])),
        "promoted": share(np.array([outcome.phase is Phase.PROMOTED for outcome in outcomes])),
        "median_seconds": median(seconds),
        "median_canary_answers": median(answers),
        "p95_canary_answers": quantile(answers, 0.95),
        "median_extra_bad": median(extra),
        "p95_extra_bad": quantile(extra, 0.95),
        "runs": len(outcomes),
    }
