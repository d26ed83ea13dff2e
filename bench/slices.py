"""What it costs to judge slices: 100 slices by 6 metrics, over the weights of a whole ramp, without a database.

Method: errors, flawed answers and four quality metrics (two of right and wrong, one graded, one ratio) of two
equal versions, drawn from one seed at each weight. The same evidence is judged again and again as if it had never been
seen; of all times, the processor's, the quickest, the median and the slowest are told.
"""

import argparse
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from app.domain.catalog.declarations import QualityKind, QualityMetric, SliceKey
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.cohort import Cohort, CohortArm, CohortEpoch, LossSums, SliceEpoch
from app.domain.evidence.evidence import ArmCounts, EpochCounts, Evidence
from app.domain.evidence.model_evidence import ModelEvidence, ObservedEpoch
from app.domain.evidence.observed import Observed, SliceCounts
from app.domain.evidence.tally import Outcome, Tally
from app.domain.guardrails.latency import slow_limits
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL, guardrail
from app.domain.guardrails.registry import judge
from bench.cpu import model_name
from bench.tick import WEIGHTS_BP
from bench.world import CANARY, STABLE, START_S

Document = dict[str, Any]

SLICES = 100
SLICING = guardrail("slices")
POLICY = replace(DEFAULT_POLICY, guardrails=(*EVERY_MODEL, SLICING))
METRICS = (
    QualityMetric("on_time", QualityKind.ACCURACY),
    QualityMetric("clicked", QualityKind.EVENT),
    QualityMetric("minutes", QualityKind.ABSOLUTE_ERROR, high=60.0),
    QualityMetric("hits", QualityKind.PRECISION),
)
KEY = SliceKey("carrier", header="x-carrier", values_max=SLICES)
_ANSWERS = 2_000
_REPEATS = 50


def run(slices: int = SLICES, repeats: int = _REPEATS) -> Document:
    """Draw the evidence, judge it, and say what it took."""
    evidence = drawn(np.random.default_rng(1), slices)
    times = sorted(_seconds(evidence) for _ in range(repeats))
    return {
        "python": platform.python_version(),
        "processor": model_name(),
        "slices": slices,
        "metrics": len(("errors", "validity")) + len(METRICS),
        "epochs": len(WEIGHTS_BP),
        "least_ms": round(times[0] * 1e3, 2),
        "median_ms": round(median(times) * 1e3, 2),
        "most_ms": round(times[-1] * 1e3, 2),
    }


def _seconds(evidence: Evidence) -> float:
    # A copy, so that nothing about it is remembered.
    unread = replace(evidence)
    began = process_time()
    judge(unread, POLICY, SLICING)
    return process_time() - began


def drawn(rng: np.random.Generator, slices: int) -> Evidence:
    """Both versions alike: 1 % errors, 0.5 % flawed, 10 % wrong, in slices of equal size."""
    begun = Evidence.begin(STABLE, CANARY, slow_limits(POLICY), Tally(), START_S)
    names = [f"c{number:03}" for number in range(slices)]
    observed = {bp: ObservedEpoch(*(_observed(rng, names, n) for n in _split(bp))) for bp in WEIGHTS_BP}
    cohorts = {metric.name: _cohort(rng, metric, names) for metric in METRICS}
    arm = ArmCounts(_ANSWERS, {Outcome.OK: _ANSWERS})
    return replace(
        begun,
        by_weight={bp: EpochCounts(arm, arm) for bp in WEIGHTS_BP},
        of_model=ModelEvidence(cohorts, observed, slice_keys=(KEY,)),
    )


def _split(weight_bp: int) -> tuple[int, int]:
    canary = max(1, _ANSWERS * weight_bp // FULL_BP)
    return canary, _ANSWERS - canary


def _observed(rng: np.random.Generator, names: Sequence[str], each: int) -> Observed:
    bad, flawed = rng.binomial(each, 0.01, len(names)), rng.binomial(each, 0.005, len(names))
    counts = {
        name: SliceCounts(each, int(bad_here), each, int(flawed_here))
        for name, bad_here, flawed_here in zip(names, bad, flawed, strict=True)
    }
    total = SliceCounts(*map(sum, zip(*counts.values(), strict=True)))
    return Observed(*total, slices={KEY.name: counts})


def _cohort(rng: np.random.Generator, metric: QualityMetric, names: Sequence[str]) -> Cohort:
    slices: Mapping[str, Mapping[int, SliceEpoch]] = {
        f"{KEY.name}={name}": {bp: SliceEpoch(*(_losses(rng, metric, n) for n in _split(bp))) for bp in WEIGHTS_BP}
        for name in names
    }
    whole = {
        bp: CohortEpoch(*(CohortArm(n * len(names), {"anonymous": _losses(rng, metric, n)}) for n in _split(bp)))
        for bp in WEIGHTS_BP
    }
    return Cohort(metric, START_S, 0.1, whole, slices)


def _losses(rng: np.random.Generator, metric: QualityMetric, n: int) -> LossSums:
    a = rng.random(n) * 0.2 if metric.kind is QualityKind.ABSOLUTE_ERROR else (rng.random(n) < 0.1) * 1.0
    b = np.maximum(a, rng.random(n) < 0.3) if metric.kind is QualityKind.PRECISION else np.ones(n)
    return LossSums(n, *(float(sums) for sums in (a.sum(), b.sum(), (a * a).sum(), (a * b).sum(), (b * b).sum())))


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Run and print the document as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=SLICES)
    say(json.dumps(run(parser.parse_args(arguments).slices), indent=2))


if __name__ == "__main__":
    main()
