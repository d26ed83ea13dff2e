"""Labels that come late and labels that lie, in whole rollouts and under a test that nobody stops.

Method: `rollouts` plays whole rollouts of the default policy with labels in place of latency, second by second through
the product's own `absorb`, `absorb_cohort`, `assess` and `advance`. `unstopped` adds labels at an even split and looks
after every few, whatever was found: no hold spares the canary. Delays are those of a story of hours compressed
360-fold: ten seconds here are an hour there. `naive` is what the mean of the labels says that have arrived. One seed
repeats a run exactly. `python3 -m bench.labels --report docs/bench` writes docs/bench/labels.md and labels.json.
"""

import argparse
import json
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from app.domain.catalog.declarations import Missing, QualityKind, QualityMetric
from app.domain.catalog.routing import FULL_BP
from app.domain.guardrails.finding import Finding, Verdict
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.guardrails.registry import judge
from app.domain.rollout.rollout import Phase
from bench import label_page
from bench.judging.intervals import Document, median, share
from bench.label_world import (
    LabelSetting,
    LabelWorld,
    Source,
    Told,
    answers,
    begun,
    counted,
    with_cohort,
)
from bench.world import CANARY, STABLE, World

HOUR_S = 10
RIGHT = QualityMetric("right", QualityKind.ACCURACY, horizon_s=24.0 * HOUR_S)
BOUGHT = QualityMetric("bought", QualityKind.EVENT, horizon_s=2.0 * HOUR_S, missing=Missing.BAD)
SOON = QualityMetric("right", QualityKind.ACCURACY, horizon_s=10.0)
LABELS = guardrail("labels", of="right")
POLICY = replace(DEFAULT_POLICY, guardrails=(guardrail("errors"), guardrail("timeouts"), LABELS), warmup_s=0.0)
OF_EVENTS = replace(
    DEFAULT_POLICY,
    guardrails=(guardrail("errors"), guardrail("timeouts"), guardrail("labels", of="bought")),
    warmup_s=0.0,
)
# Looks of a test that nobody stops, and exchanges between two of them.
_LOOKS, _PER_LOOK = 24, 500
_EVEN_BP = FULL_BP // 2


@dataclass(frozen=True, slots=True)
class Plan:
    """A setting to be played again and again.

    Attributes:
        runs: Whole rollouts, each for `patience_s` at most.
        unstopped: Runs of the test that nobody stops.
    """

    name: str
    setting: LabelSetting
    runs: int
    unstopped: int
    patience_s: int


class Outcome(NamedTuple):
    """How one rollout went; `trigger` is of the decision that ended it."""

    phase: Phase
    seconds: int
    canary_answers: int
    trigger: str


class Unstopped(NamedTuple):
    """After how many exchanges it was first said; infinite if never.

    Attributes:
        worse: That the canary is worse, which turns it back.
        held: That only one source says so, which holds it.
        not_worse: That it is not.
    """

    worse: float
    held: float
    not_worse: float


def _late(canary_wrong: float) -> LabelSetting:
    """Wrong answers are told after an hour on average, right ones after a day."""
    return LabelSetting(RIGHT, 0.1, canary_wrong, 30.0, POLICY, sooner_s=HOUR_S, later_s=24.0 * HOUR_S)


def _bought(canary_without: float) -> LabelSetting:
    """Nine in ten come to nothing; what does happen is told after an hour on average, and counts within two."""
    return LabelSetting(BOUGHT, 0.9, canary_without, 30.0, OF_EVENTS, sooner_s=HOUR_S, later_s=None)


def _told(canary_wrong: float, *sources: Source) -> LabelSetting:
    return LabelSetting(SOON, 0.1, canary_wrong, 50.0, POLICY, sources)


def _one_loud(canary_wrong: float, told: Told) -> LabelSetting:
    """Three sources, one of which gives nine labels in ten."""
    return _told(canary_wrong, Source("loud", 0.9, told), *_QUIET)


def _alone(canary_wrong: float, told: Told) -> LabelSetting:
    return _told(canary_wrong, Source("loud", 0.9, told))


_QUIET = (Source("ops", 0.05), Source("users", 0.05))
_ALIKE = tuple(Source(name, 1.0 / 3.0) for name in ("ops", "users", "audit"))

PLANS = (
    Plan("late: same", _late(0.1), 60, 1_000, 2_000),
    Plan("late: 20 % wrong", _late(0.2), 20, 100, 2_000),
    Plan("late: 40 % wrong", _late(0.4), 20, 100, 2_000),
    Plan("events: same", _bought(0.9), 20, 400, 2_000),
    Plan("events: half as many", _bought(0.95), 20, 100, 2_000),
    Plan("poisoned: same, all called wrong", _one_loud(0.1, Told.CANARY_WRONG), 1_000, 1_000, 60),
    Plan("poisoned: 30 % wrong, all called right", _one_loud(0.3, Told.CANARY_RIGHT), 1_000, 1_000, 120),
    Plan("poisoned: same, all called right", _one_loud(0.1, Told.CANARY_RIGHT), 6, 100, 2_000),
    Plan("poisoned: 30 % wrong, all called wrong", _one_loud(0.3, Told.CANARY_WRONG), 10, 100, 200),
    Plan("one loud, honest: same", _one_loud(0.1, Told.TRUTH), 6, 100, 2_000),
    Plan("one loud, honest: 30 % wrong", _one_loud(0.3, Told.TRUTH), 10, 100, 200),
    Plan("three alike: same", _told(0.1, *_ALIKE), 20, 400, 2_000),
    Plan("three alike: 30 % wrong", _told(0.3, *_ALIKE), 20, 100, 200),
    Plan("two quiet ones alone: 30 % wrong", _told(0.3, *_QUIET), 10, 100, 200),
    Plan("nobody but a liar: same, all called wrong", _alone(0.1, Told.CANARY_WRONG), 20, 100, 100),
    Plan("nobody but a liar: 30 % wrong, all called right", _alone(0.3, Told.CANARY_RIGHT), 20, 100, 200),
)


def rollouts(plan: Plan, runs: int, seed: int) -> list[Outcome]:
    """Play so many whole rollouts."""
    return [_outcome(LabelWorld(plan.setting, rng), plan.patience_s) for rng in _rngs(plan, runs, seed)]


def _rngs(plan: Plan, runs: int, seed: int) -> list[np.random.Generator]:
    """Each plan has chances of its own."""
    seeds = np.random.default_rng([seed, *plan.name.encode()]).integers(2**63, size=runs)
    return [np.random.default_rng(int(each)) for each in seeds]


def _outcome(world: World, patience_s: int) -> Outcome:
    story = world.play(patience_s)
    trigger = str(story.resolutions[-1].trigger) if story.resolutions else ""
    return Outcome(story.phase, story.seconds, story.canary_answers, trigger)


def unstopped(plan: Plan, runs: int, seed: int, looks: int = _LOOKS) -> list[Unstopped]:
    """Add labels at an even split and look again and again, whatever was found."""
    return [_unstopped(plan.setting, looks, rng) for rng in _rngs(plan, runs, seed)]


def _unstopped(setting: LabelSetting, looks: int, rng: np.random.Generator) -> Unstopped:
    guardrail = setting.policy.guardrails[-1]
    evidence, cohort = LabelWorld(setting, rng).rollout.evidence, begun(setting)
    found: list[Finding] = []
    for _ in range(looks):
        drawn = int(rng.binomial(_PER_LOOK, _EVEN_BP / FULL_BP))
        arms = ((CANARY, drawn), (STABLE, _PER_LOOK - drawn))
        ripe = [answers(setting, 1, version, n, rng) for version, n in arms]
        cohort = counted(setting, cohort, ripe, {1: _EVEN_BP})
        found.append(judge(with_cohort(evidence, cohort), setting.policy, guardrail))
    return Unstopped(
        _first(found, lambda each: each.verdict is Verdict.REGRESSED),
        _first(found, lambda each: each.held_because is not None),
        _first(found, lambda each: each.verdict is Verdict.HEALTHY),
    )


def _first(found: Sequence[Finding], says: Callable[[Finding], bool]) -> float:
    """Exchanges until it was first said; infinite if it never was."""
    return next((_PER_LOOK * (look + 1.0) for look, each in enumerate(found) if says(each)), np.inf)


class Arrived(NamedTuple):
    """What one can know of a version from the labels that have arrived: the share of those that say wrong."""

    stable: float
    canary: float


def naive(setting: LabelSetting, seed: int, stable_s: int, canary_s: int, per_s: float) -> Arrived:
    """The mean of the labels that have arrived, stable having answered for `stable_s` and the canary for `canary_s`."""
    rng = np.random.default_rng(seed)
    means = []
    for version, since_s in ((STABLE, stable_s), (CANARY, canary_s)):
        n = int(rng.poisson(per_s * since_s))
        part = answers(setting, 1, version, n, rng)
        arrived = part.after_s <= rng.uniform(0.0, since_s, len(part.after_s))
        means.append(float(part.said_wrong[arrived].mean()))
    return Arrived(*means)


def summary(plan: Plan, whole: Sequence[Outcome], tested: Sequence[Unstopped]) -> Document:
    """What the page shows of one plan."""
    regressed, held, healthy = (np.array([each[place] for each in tested], dtype=float) for place in range(3))
    phases = {phase: share(np.array([each.phase is phase for each in whole])) for phase in _ENDS}
    back = [each.trigger for each in whole if each.phase is Phase.ROLLED_BACK]
    return {
        "is_worse": not plan.setting.is_healthy,
        "rollouts": {
            **{str(phase): figure for phase, figure in phases.items()},
            "triggers": dict(Counter(back)),
            "median_seconds": median(np.array([each.seconds for each in whole], dtype=float)),
            "median_canary_answers": median(np.array([each.canary_answers for each in whole], dtype=float)),
        },
        "unstopped": {
            "worse": share(np.isfinite(regressed)),
            "held": share(np.isfinite(held)),
            "not_worse": share(np.isfinite(healthy)),
            "median_exchanges_to_worse": median(regressed),
            "median_exchanges_to_not_worse": median(healthy),
        },
    }


_ENDS = (Phase.ROLLED_BACK, Phase.PROMOTED, Phase.FROZEN)


def run(most: int, seed: int, say: Callable[[str], None]) -> Document:
    """Play every plan, at most so many runs of each."""
    plans: Document = {}
    for plan in PLANS:
        whole = rollouts(plan, min(most, plan.runs), seed)
        plans[plan.name] = summary(plan, whole, unstopped(plan, min(most, plan.unstopped), seed))
        say(f"{plan.name}: {dict(Counter(str(each.phase) for each in whole))}")
    means = naive(_late(0.1), seed, 72 * HOUR_S, 6 * HOUR_S, 60.0)
    return {
        "seed": seed,
        "python": platform.python_version(),
        "naive": {"stable": round(means.stable, 4), "canary": round(means.canary, 4)},
        "plans": plans,
    }


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Run, and print the document as JSON or write it with its page into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args(arguments)
    document = run(asked.most, asked.seed, say if asked.report else lambda _: None)
    if asked.report:
        say(str(label_page.write(document, asked.report)))
    else:
        say(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
