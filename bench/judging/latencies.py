"""Slower versions under the product's latency test, with margin and without, beside the rules of other tools."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.domain.stats.latency_histogram import edge_us
from bench.judging.intervals import Document, median, share
from bench.judging.situations import TURNBACK, Verdicts, verdicts
from bench.judging.slowness import Latencies, Shift, turnback
from bench.judging.timings import Timings
from bench.judging.traffic import Ends
from bench.rivals import argo, flagger, growthbook, kayenta, peeking

PEEKING = "peeking_z_p99"
RIVALS: Mapping[str, Callable[[Timings], Ends]] = {
    "argo_rollouts": argo.judge_latency,
    "flagger": flagger.judge_latency,
    "kayenta": kayenta.judge_latency,
    "growthbook": growthbook.judge_latency,
}
_P99 = 0.99


@dataclass(frozen=True, slots=True)
class Slower:
    """A canary that is slower, or not.

    Attributes:
        expected: Median exchanges to reach, from the reference simulations behind docs/statistics.md; None
            where there is none.
    """

    name: str
    latencies: Latencies
    quick_runs: int
    full_runs: int
    expected: int | None = None


def _without_margin(times: float, *, tail_only: bool = False, looks: int = 500) -> Latencies:
    return Latencies(Shift(times, tail_only), 0.0, 0.0, _P99, looks=looks)


def _default(times: float, looks: int = 500) -> Latencies:
    return Latencies(Shift(times), 0.25, 5.0, 0.95, looks=looks)


SLOWER = (
    Slower("same, no margin", _without_margin(1.0, looks=1_000), 100, 4_000),
    Slower("all x1.1, no margin", _without_margin(1.1), 100, 1_000, 2_300),
    # Its median varies most: of 1,000 runs by a twelfth.
    Slower("tail x1.1, no margin", _without_margin(1.1, tail_only=True, looks=1_000), 50, 4_000, 19_700),
    Slower("all x1.25, no margin", _without_margin(1.25), 50, 1_000, 500),
    Slower("tail x1.25, no margin", _without_margin(1.25, tail_only=True), 50, 1_000, 4_650),
    Slower("all x2, no margin", _without_margin(2.0), 50, 1_000, 100),
    Slower("tail x2, no margin", _without_margin(2.0, tail_only=True), 50, 1_000, 1_100),
    Slower("same, default margin", _default(1.0, looks=1_000), 50, 4_000),
    Slower("all x1.1, default margin", _default(1.1, looks=1_000), 50, 1_000),
    Slower("all x1.5, default margin", _default(1.5), 50, 1_000),
    Slower("all x2, default margin", _default(2.0), 50, 1_000),
)


def judge(slower: Slower, runs: int, seed: int) -> dict[str, Verdicts]:
    """Draw so many runs; the z-test looks at the exchanges beyond stable's p99, the others at their own metric."""
    latencies = slower.latencies
    thresholds, timings = latencies.draw(runs, np.random.default_rng(seed))
    p99_us = next(edge_us(each.stable_bin) for each in thresholds if each.level == _P99)
    beyond_p99 = timings.slow(p99_us, p99_us)
    ends = {
        TURNBACK: turnback(thresholds, timings, latencies.slo_quantile),
        **{name: rival(timings) for name, rival in RIVALS.items()},
        PEEKING: peeking.judge(beyond_p99),
    }
    return {name: verdicts(beyond_p99, each) for name, each in ends.items()}


def summary(slower: Slower, parts: Sequence[Mapping[str, Verdicts]]) -> Document:
    """All judges' figures, and the product's beside what it is to reach."""
    judges = {}
    for name in parts[0]:
        exchanges, promoted = (
            np.concatenate([getattr(part[name], figure) for part in parts]) for figure in ("exchanges", "promoted")
        )
        judges[name] = {
            "rolled_back": share(np.isfinite(exchanges)),
            "promoted": share(promoted),
            "median_exchanges": median(exchanges),
        }
    reached = judges[TURNBACK]["median_exchanges"]["value"]
    over = None if slower.expected is None or reached is None else round(reached / slower.expected, 3)
    return {"expected_exchanges": slower.expected, "over_expected": over, "judges": judges}
