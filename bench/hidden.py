"""Faults that the whole hides: one slice that fails or is wrong, one class that swallowed the others.

Method: whole rollouts of the default policy with slices or validity in place of latency, second by second through
the product's own `absorb`, `assess` and `advance`, 100 answers a second. One seed repeats a run exactly.
`python3 -m bench.hidden` prints one document; docs/bench/hidden.md has its last run.
"""

import argparse
import json
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.rollout.rollout import Phase
from bench.judging.intervals import Document, median, share
from bench.model_world import Model, ModelSetting, ModelWorld

SLICES = 100
# The slice that fails has 5 % of the traffic, the others share the rest.
_SHARES = (0.05, *(0.95 / (SLICES - 1) for _ in range(SLICES - 1)))
_COVERAGE_S = 200.0
_PATIENCE_S = 1_200
_GUARDRAILS = (guardrail("errors"), guardrail("timeouts"))
SLICING = replace(
    DEFAULT_POLICY,
    guardrails=(*_GUARDRAILS, guardrail("slices", required=False)),
    warmup_s=0.0,
    coverage_s=_COVERAGE_S,
)
VALID = replace(DEFAULT_POLICY, guardrails=(*_GUARDRAILS, guardrail("validity")), warmup_s=0.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """A rollout to be played again and again.

    Attributes:
        healthy: Whether nothing is wrong with the canary, so that turning it back is a false alarm.
        trigger: What is to turn it back, if it is not.
    """

    name: str
    setting: ModelSetting
    runs: int
    healthy: bool
    trigger: str = ""


class Outcome(NamedTuple):
    """How one rollout went; `trigger` is of the decision that ended it."""

    phase: Phase
    seconds: int
    canary_answers: int
    trigger: str


def _sliced(errors: float = 0.01, wrong: float = 0.1, *, labelled: bool = False) -> ModelSetting:
    """The canary's rates in the one slice; 1 % errors and 10 % wrong answers everywhere else and of stable."""
    stable = Model((0.01,) * SLICES, (0.1,) * SLICES)
    canary = replace(stable, errors=(errors, *stable.errors[1:]), wrong=(wrong, *stable.wrong[1:]))
    return ModelSetting(stable, canary, _SHARES, 100.0, SLICING, labelled)


def _classed(stable: dict[str, float], canary: dict[str, float]) -> ModelSetting:
    return ModelSetting(Model((0.01,), (0.1,), stable), Model((0.01,), (0.1,), canary), (1.0,), 100.0, VALID)


def _two(majority: float) -> dict[str, float]:
    return {"early": majority, "late": 1.0 - majority}


_ONE = "slice:carrier=c000"
_CONSTANT = {"early": 1.0, "late": 0.0}
PLANS = (
    Plan("slices: same", _sliced(), 400, healthy=True),
    Plan("slices: same, labelled", _sliced(labelled=True), 200, healthy=True),
    Plan("one slice fails 10 %", _sliced(0.1), 100, healthy=False, trigger=_ONE),
    Plan("one slice fails 20 %", _sliced(0.2), 100, healthy=False, trigger=_ONE),
    Plan("one slice fails 50 %", _sliced(0.5), 100, healthy=False, trigger=_ONE),
    Plan("one slice is wrong 30 %", _sliced(wrong=0.3, labelled=True), 50, healthy=False, trigger=_ONE),
    Plan("one slice is wrong 60 %", _sliced(wrong=0.6, labelled=True), 50, healthy=False, trigger=_ONE),
    Plan("classes: same, 90 %", _classed(_two(0.9), _two(0.9)), 400, healthy=True),
    Plan("classes: same, 50 %", _classed(_two(0.5), _two(0.5)), 400, healthy=True),
    Plan("classes: rare one half as often", _classed(_two(0.9), _two(0.95)), 200, healthy=True),
    Plan("classes: rare one twice as often", _classed(_two(0.9), _two(0.8)), 200, healthy=True),
    Plan("classes: common one half as often", _classed(_two(0.9), _two(0.45)), 200, healthy=True),
    Plan("always the class of 90 %", _classed(_two(0.9), _CONSTANT), 200, healthy=False, trigger="validity"),
    Plan("always the class of 50 %", _classed(_two(0.5), _CONSTANT), 200, healthy=False, trigger="validity"),
    Plan("always the class of 99 %", _classed(_two(0.99), _CONSTANT), 50, healthy=False, trigger="validity"),
)


def outcomes(plan: Plan, runs: int, seed: int) -> list[Outcome]:
    """Play so many rollouts of a plan."""
    seeds = np.random.default_rng(seed).integers(2**63, size=runs)
    return [_outcome(ModelWorld(plan.setting, np.random.default_rng(int(each)))) for each in seeds]


def _outcome(world: ModelWorld) -> Outcome:
    story = world.play(_PATIENCE_S)
    trigger = str(story.resolutions[-1].trigger) if story.resolutions else ""
    return Outcome(story.phase, story.seconds, story.canary_answers, trigger)


def summary(plan: Plan, played: Sequence[Outcome]) -> Document:
    """What the page shows of many rollouts."""
    back = [each for each in played if each.phase is Phase.ROLLED_BACK]
    return {
        "healthy": plan.healthy,
        "rolled_back": share(np.array([each.phase is Phase.ROLLED_BACK for each in played])),
        "promoted": share(np.array([each.phase is Phase.PROMOTED for each in played])),
        "triggers": dict(Counter(each.trigger for each in back)),
        "median_seconds": median(np.array([each.seconds for each in played], dtype=float)),
        "median_canary_answers": median(np.array([each.canary_answers for each in played], dtype=float)),
    }


def run(most: int, seed: int, say: Callable[[str], None]) -> Document:
    """Play every plan, at most so many runs of each."""
    document: dict[str, Any] = {"seed": seed, "python": platform.python_version(), "plans": {}}
    for plan in PLANS:
        runs = min(most, plan.runs)
        document["plans"][plan.name] = summary(plan, outcomes(plan, runs, seed))
        say(f"{plan.name}: {runs} runs, {document['plans'][plan.name]['triggers']}")
    return document


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Run and print the document as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    say(json.dumps(run(asked.most, asked.seed, lambda _: None), indent=2))


if __name__ == "__main__":
    main()
