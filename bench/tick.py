"""What one tick costs the engine: many rollouts assessed and advanced, without a database.

Method: each rollout has live and dry-run guardrails and many weight epochs, all drawn from one
seed. Every one is assessed and advanced once, on one core; of several such ticks the quickest
counts. The shares are of a profiled tick of a few rollouts, which lengthens many short calls.
"""

import argparse
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from cProfile import Profile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import process_time
from types import CodeType
from typing import Any

import numpy as np

from app.domain.evidence.evidence import absorb
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, Watermark
from app.domain.guardrails.assess import assess
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL, guardrail
from app.domain.guardrails.registry import judge
from app.domain.rollout.rollout import Assessed, Phase, Rollout, RolloutId, begin
from app.domain.rollout.transitions import advance
from app.domain.stats.latency_histogram import latency_bin
from bench.cpu import model_name
from bench.world import CANARY, MODEL, STABLE, START, START_S

Document = dict[str, Any]

ROLLOUTS = 1_000
WEIGHTS_BP = (1, 2, 5, 10, 20, 50, 100, 150, 200, 300, 400, 500, 700, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000)
# The dry-run guardrails have numbers of their own, so that little is computed for both.
POLICY = replace(
    DEFAULT_POLICY,
    guardrails=(
        *EVERY_MODEL,
        guardrail("errors", dry_run=True, floor=0.02),
        guardrail("timeouts", dry_run=True),
        guardrail("latency", dry_run=True, margin=0.1, quantile=0.99),
    ),
)
_GENERATIONS = dict(enumerate(WEIGHTS_BP))
_NOW = START + timedelta(seconds=len(WEIGHTS_BP))
_REPEATS = 3
_PROFILED = 20


def run(rollouts: int) -> Document:
    """Draw the rollouts, tick, and say what it took."""
    rng = np.random.default_rng(1)
    active = [draw_rollout(rng, number) for number in range(rollouts)]
    seconds = min(_cpu_s(active) for _ in range(_REPEATS))
    return {
        "python": platform.python_version(),
        "processor": model_name(),
        "rollouts": rollouts,
        "guardrails": len(POLICY.guardrails),
        "epochs": len(WEIGHTS_BP),
        "cpu_s": round(seconds, 4),
        "us_per_rollout": round(seconds / rollouts * 1e6, 1),
        "shares": _shares([_unread(rollout) for rollout in active[:_PROFILED]]),
    }


def _tick(rollouts: Sequence[Rollout]) -> None:
    for rollout in rollouts:
        assessment = assess(rollout.evidence, rollout.policy)
        advance(rollout, Assessed(assessment, canary_ready=True), _NOW)


def _cpu_s(rollouts: Sequence[Rollout]) -> float:
    unread = [_unread(rollout) for rollout in rollouts]
    began = process_time()
    _tick(unread)
    return process_time() - began


def _unread(rollout: Rollout) -> Rollout:
    """The same, but so that nothing about its evidence is remembered."""
    return replace(rollout, evidence=replace(rollout.evidence))


def draw_rollout(rng: np.random.Generator, number: int) -> Rollout:
    """A rollout at its highest weight, one second spent at each of the weights below."""
    rollout = begin(RolloutId(f"r{number}"), MODEL, STABLE, CANARY, POLICY, _tally(2_000, rng), START)
    through = START_S + len(WEIGHTS_BP) - 1
    evidence = absorb(rollout.evidence, tuple(_rows(rng)), _GENERATIONS, Watermark(through, through))
    return replace(rollout, evidence=evidence, phase=Phase.BAKING, weight_bp=WEIGHTS_BP[-1], first_exposed_at=START)


def _rows(rng: np.random.Generator) -> Iterator[TallyRow]:
    for generation, weight_bp in _GENERATIONS.items():
        exchanges = int(rng.integers(20, 200))
        drawn = int(rng.binomial(exchanges, weight_bp / 10_000))
        for version, n in ((CANARY, drawn), (STABLE, exchanges - drawn)):
            yield TallyRow(TallyKey(START_S + generation, MODEL, generation, version), _tally(n, rng), 1)


def _tally(n: int, rng: np.random.Generator) -> Tally:
    """`n` answers, 1 % errors, 0.1 % timeouts, lognormal latency with a median of 40 ms."""
    errors, timeouts, fine = (int(count) for count in rng.multinomial(n, (0.01, 0.001, 0.989)))
    bins: dict[int, int] = {}
    for us in rng.lognormal(np.log(40_000.0), 0.5, n):
        index = latency_bin(us)
        bins[index] = bins.get(index, 0) + 1
    return Tally(n, {Outcome.UPSTREAM_ERROR: errors, Outcome.TIMEOUT: timeouts, Outcome.OK: fine}, 0, bins)


def _shares(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Share of the time by what `assess` calls, and `advance`; the greatest first."""
    profile = Profile(builtins=False)
    profile.runcall(_tick, rollouts)
    calls = {entry.code: entry for entry in profile.getstats() if isinstance(entry.code, CodeType)}
    whole = calls[_tick.__code__].totaltime
    parts = {_name(advance.__code__): calls[advance.__code__].totaltime}
    for code, seconds in _called(assess.__code__, calls):
        parts[_name(code)] = parts.get(_name(code), 0.0) + seconds
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    return {name: round(seconds / whole, 3) for name, seconds in ordered}


def _called(code: CodeType, calls: dict[CodeType, Any]) -> Iterator[tuple[CodeType, float]]:
    """Functions that this one calls, itself, from its comprehensions or by the guardrail's kind, and their seconds."""
    for call in calls[code].calls or ():
        if not isinstance(call.code, CodeType):
            continue
        if call.code.co_name.startswith("<") or call.code is judge.__code__:
            yield from _called(call.code, calls)
        else:
            yield call.code, call.totaltime


def _name(code: CodeType) -> str:
    return f"{Path(code.co_filename).stem}.{code.co_name}"


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Run and print the document as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS)
    say(json.dumps(run(parser.parse_args(arguments).rollouts), indent=2))


if __name__ == "__main__":
    main()
