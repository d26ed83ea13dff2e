"""How often the rule turns a healthy version back, and how long a bad one lasts, beside rivals.

Method: the setting of docs/statistics.md, "Measured": stable fails 1 % of the time, half of the
exchanges go to the canary, a look every 100 exchanges, at most 100,000. One seed repeats a run.
"""

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite, log, sin
from statistics import median
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain.planner import information
from app.domain.policy import Guardrail, Metric
from app.domain.rollout import Phase, Policy
from bench import flagger
from bench.coin import Bench, first_rejections, interval95
from bench.world import Arm, Setting, Story, play, steady

Say = Callable[[str], None]
Document = dict[str, Any]

ALPHA = 0.01
STABLE_RATE = 0.01
HORIZON = 100_000
LOOK = 100


@dataclass(frozen=True, slots=True)
class Alternative:
    """A canary that is worse, and how closely it is watched: a look of 100 would hide quick delays."""

    name: str
    rate: float
    look: int
    horizon: int
    quick_runs: int
    full_runs: int


STABLE = Arm(STABLE_RATE)
ALTERNATIVES = (
    Alternative("1.5%", 0.015, LOOK, HORIZON, 200, 1_000),
    Alternative("2%", 0.02, LOOK, HORIZON, 400, 1_000),
    Alternative("5%", 0.05, LOOK, 10_000, 1_000, 4_000),
    Alternative("50%", 0.5, 1, 500, 4_000, 10_000),
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole rollout under the default policy.

    Attributes:
        metrics: Which guardrails judge; latency is played only where it judges.
        patience_s: A rollout that is still open then is counted as open.
    """

    name: str
    canary: Arm
    exchanges_per_s: float
    quick_runs: int
    full_runs: int
    metrics: tuple[Metric, ...] = (Metric.ERRORS,)
    stable: Arm = STABLE
    tide: Callable[[int], float] = steady
    patience_s: int = 3_600


def _swing(second: int) -> float:
    return 1.0 + 0.6 * sin(second / 20.0)


_ALL = tuple(Metric)
_WITH_LATENCY = Arm(STABLE_RATE, 0.001, 40.0)
SCENARIOS = (
    Scenario("same, 100/s", Arm(0.01), 100.0, 120, 600),
    Scenario("same, 1000/s", Arm(0.01), 1_000.0, 60, 200),
    Scenario("same, 100/s, base rate swings 60%", Arm(0.01), 100.0, 0, 300, tide=_swing),
    Scenario("same, 1/s", Arm(0.01), 1.0, 0, 12, patience_s=43_200),
    Scenario("1.5%, 100/s", Arm(0.015), 100.0, 0, 150),
    Scenario("2%, 100/s", Arm(0.02), 100.0, 8, 300),
    Scenario("5%, 100/s", Arm(0.05), 100.0, 40, 200),
    Scenario("50%, 100/s", Arm(0.5), 100.0, 50, 300),
    Scenario("always fails, 100/s", Arm(1.0), 100.0, 50, 300),
    Scenario("always fails, 0.01/s", Arm(1.0), 0.01, 0, 12, patience_s=43_200),
    Scenario("all guardrails: same, 100/s", _WITH_LATENCY, 100.0, 10, 200, _ALL, _WITH_LATENCY),
    Scenario("all guardrails: 5%, 100/s", Arm(0.05, 0.001, 40.0), 100.0, 20, 200, _ALL, _WITH_LATENCY),
    Scenario("all guardrails: always fails, 100/s", Arm(1.0, 0.0, 40.0), 100.0, 30, 200, _ALL, _WITH_LATENCY),
    Scenario("all guardrails: twice as slow, 100/s", Arm(0.01, 0.001, 80.0), 100.0, 15, 100, _ALL, _WITH_LATENCY),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is drawn; no part has more than `most` runs."""

    quick: bool
    most: int = 1_000_000

    def runs(self, quick: int, full: int) -> int:
        return min(self.most, quick if self.quick else full)


def run(quick: bool, seed: int, say: Say = lambda _: None) -> Document:
    """Measure everything and return one JSON document.

    Args:
        quick: Fewer runs, for under 50 seconds.
        seed: Any non-negative integer; the same one gives the same figures.
        say: Hears a line before each part.
    """
    return measure(Size(quick), seed, say)


def measure(size: Size, seed: int, say: Say) -> Document:
    """`run` in any size."""
    began = monotonic()
    seeds = _seeds(seed)
    say("Healthy versions: how often each rule turns one back.")
    null, null_z = _null(size.runs(2_000, 4_000), next(seeds))
    say("Bad versions: how long each lasts.")
    delays, delays_z = _delays(size, seeds)
    say("Flagger's race.")
    races = _races(size.runs(2_000, 20_000), next(seeds))
    policy = _policy(size, seeds, say)
    return {
        "null": null,
        "delays": delays,
        "versus": {"peeking_z": {**null_z, "median_requests": delays_z}, "flagger": races},
        "policy": policy,
        "setting": {"stable_rate": STABLE_RATE, "weight": 0.5, "look": LOOK, "horizon": HORIZON, "alpha": ALPHA},
        "quick": size.quick,
        "seed": seed,
        "python": platform.python_version(),
        "seconds": round(monotonic() - began, 1),
    }


def _seeds(seed: int) -> Iterator[int]:
    """As many independent seeds as are asked for."""
    source = np.random.default_rng(seed)
    while True:
        yield int(source.integers(2**63))


def _null(runs: int, seed: int) -> tuple[Document, Document]:
    bench = Bench(STABLE_RATE, STABLE_RATE, LOOK, HORIZON)
    found = first_rejections(bench, runs, ALPHA, seed)
    ours, rival = (_share(np.isfinite(found[name])) for name in ("ours", "peeking_z"))
    return ours, rival


def _share(rolled_back: NDArray[np.bool_]) -> Document:
    hits, runs = int(rolled_back.sum()), len(rolled_back)
    low, high = interval95(hits, runs)
    return {"rate": hits / runs, "runs": runs, "ci95": [round(low, 5), round(high, 5)], "rolled_back": hits}


def _delays(size: Size, seeds: Iterator[int]) -> tuple[Document, Document]:
    ours: Document = {}
    rival: Document = {}
    for alternative in ALTERNATIVES:
        bench = Bench(alternative.rate, STABLE_RATE, alternative.look, alternative.horizon)
        runs = size.runs(alternative.quick_runs, alternative.full_runs)
        found = first_rejections(bench, runs, ALPHA, next(seeds))
        ours[alternative.name] = _delay(alternative, found["ours"])
        rival[alternative.name] = _finite(float(np.median(found["peeking_z"])))
    return ours, rival


def _delay(alternative: Alternative, requests: NDArray[np.float64]) -> Document:
    limit = log(1.0 / ALPHA) / information(alternative.rate, STABLE_RATE, 0.5)
    middle = float(np.median(requests))
    seen = np.minimum(requests, alternative.horizon)
    return {
        "median_requests": _finite(middle),
        "limit_requests": round(limit, 1),
        "ratio": _finite(round(middle / limit, 3)),
        "mean_extra_bad": round(float(seen.mean()) * 0.5 * (alternative.rate - STABLE_RATE), 1),
        "undecided": int(np.isinf(requests).sum()),
        "runs": len(requests),
        "look": alternative.look,
    }


def _finite(value: float) -> float | None:
    """JSON has no infinity: None means never within the horizon."""
    return value if isfinite(value) else None


def _races(runs: int, seed: int) -> Document:
    rng = np.random.default_rng(seed)
    races: Document = {}
    for per_minute in (1_000, 100):
        same = flagger.race(STABLE_RATE, STABLE_RATE, per_minute, runs, rng)
        figures: Document = {"runs": runs, "false_rollbacks": same.rolled_back / runs}
        for rate in (0.02, 0.05, 0.5):
            bad = flagger.race(rate, STABLE_RATE, per_minute, runs, rng)
            figures[f"promotes_{rate:.0%}"] = bad.promoted / runs
            figures[f"extra_bad_{rate:.0%}"] = round(bad.extra_bad, 1)
        races[f"{per_minute}_per_minute"] = figures
    return races


def _policy(size: Size, seeds: Iterator[int], say: Say) -> Document:
    figures: Document = {}
    for scenario in SCENARIOS:
        runs = size.runs(scenario.quick_runs, scenario.full_runs)
        if runs:
            say(f"Whole rollouts: {scenario.name}, {runs} runs.")
            figures[scenario.name] = summary([_play(scenario, next(seeds)) for _ in range(runs)])
    return figures


def _play(scenario: Scenario, seed: int) -> Story:
    policy = Policy(guardrails=tuple(map(Guardrail, scenario.metrics)), warmup_s=0.0)
    setting = Setting(scenario.stable, scenario.canary, scenario.exchanges_per_s, policy, scenario.tide)
    return play(setting, seed, scenario.patience_s)


def summary(stories: list[Story]) -> Document:
    """What a table shows of many rollouts."""
    answers = [story.canary_answers for story in stories]
    extra = [story.extra_bad for story in stories]
    phases = [story.phase for story in stories]
    return {
        "rolled_back": round(phases.count(Phase.ROLLED_BACK) / len(stories), 4),
        "promoted": round(phases.count(Phase.PROMOTED) / len(stories), 4),
        "median_seconds": median(story.seconds for story in stories),
        "median_canary_answers": median(answers),
        "p95_canary_answers": round(float(np.quantile(answers, 0.95)), 1),
        "median_extra_bad": round(median(extra), 1),
        "p95_extra_bad": round(float(np.quantile(extra, 0.95)), 1),
        "runs": len(stories),
    }
