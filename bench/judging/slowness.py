"""Streams of latencies, and the product's latency test for many runs at once.

Rule: thresholds are the product's own, frozen from answers of stable; of each, the exchanges
beyond it are one `Traffic`.
"""

from dataclasses import dataclass, replace
from functools import reduce
from math import inf, log

import numpy as np
from scipy.special import ndtr, ndtri

from app.domain.catalog.policy import Guardrail, Policy
from app.domain.evidence.evidence import Threshold
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.domain.stats.latency_histogram import edge_us, latency_bin
from bench.judging.coin import ALPHA, full
from bench.judging.timings import Timings
from bench.judging.traffic import Counts, Ends, Figures, rollback_only
from bench.world import Arm, frozen_thresholds

MEDIAN_MS, SIGMA = 100.0, 0.5
_TAIL_FROM, _TAIL_TO = 0.95, 0.99
_WEIGHT_BP = 5_000
# Latencies in milliseconds between which the bins are the histogram's own; elsewhere five of them are one.
_LEAST_MS, _FINE_FROM_MS, _FINE_TO_MS, _GREATEST_MS = 5.0, 200.0, 800.0, 5_000.0
_COARSE = 5


@dataclass(frozen=True, slots=True)
class Shift:
    """How much slower the canary is than a lognormal stable.

    Attributes:
        times: Factor on the latency.
        tail_only: Whether quantiles up to p95 stay as they are; the factor then grows linearly in the level
            from 1 there to `times` at p99, and stays so beyond.
    """

    times: float = 1.0
    tail_only: bool = False

    def share_above(self, latency_us: float) -> float:
        """The share of the canary's answers that take longer."""
        level = self._level_at(latency_us) if self.tail_only else float(ndtr(_score(latency_us / self.times)))
        return 1.0 - level

    def _level_at(self, latency_us: float) -> float:
        """Bisect the level whose quantile this latency is."""
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2.0
            if self._factor(middle) * _quantile_us(middle) > latency_us:
                high = middle
            else:
                low = middle
        return (low + high) / 2.0

    def _factor(self, level: float) -> float:
        reached = (level - _TAIL_FROM) / (_TAIL_TO - _TAIL_FROM)
        return 1.0 + (self.times - 1.0) * min(1.0, max(0.0, reached))


def _score(latency_us: float) -> float:
    return log(latency_us / (MEDIAN_MS * 1_000.0)) / SIGMA


def _quantile_us(level: float) -> float:
    return MEDIAN_MS * 1_000.0 * float(np.exp(SIGMA * ndtri(level))) if level < 1.0 else inf


@dataclass(frozen=True, slots=True)
class Latencies:
    """Both arms' latencies at half of the traffic each.

    Attributes:
        margin, floor_ms: By how much the canary may be slower; slo_quantile: has half of the test's weight.
    """

    shift: Shift
    margin: float
    floor_ms: float
    slo_quantile: float
    look: int = 100
    looks: int = 1_000

    def policy(self) -> Policy:
        """The product's policy with this guardrail of latency."""
        return replace(DEFAULT_POLICY, guardrails=(guardrail("errors"), self.guardrail()))

    def guardrail(self) -> Guardrail:
        """The product's guardrail with these values."""
        return guardrail("latency", margin=self.margin, floor=self.floor_ms, quantile=self.slo_quantile)

    def draw(self, runs: int, rng: np.random.Generator) -> tuple[tuple[Threshold, ...], Timings]:
        """Freeze the thresholds, then draw every answer's bin."""
        thresholds = frozen_thresholds(Arm(0.0, 0.0, MEDIAN_MS, SIGMA), self.policy(), rng)
        edges_us = np.array([edge_us(each) for each in _edges(thresholds)])
        canary = rng.binomial(self.look, _WEIGHT_BP / 10_000, (runs, self.looks))
        canary_binned = _binned(canary, self.shift, edges_us, rng)
        stable_binned = _binned(self.look - canary, Shift(), edges_us, rng)
        return thresholds, Timings(_WEIGHT_BP, edges_us, canary_binned, stable_binned, interval=10)


def _edges(thresholds: tuple[Threshold, ...]) -> list[int]:
    """Bins of the product's histogram at whose lower edges ours begin, among them all thresholds."""
    least, fine_from, fine_to, greatest = (
        latency_bin(ms * 1_000.0) for ms in (_LEAST_MS, _FINE_FROM_MS, _FINE_TO_MS, _GREATEST_MS)
    )
    coarse = (*range(least, fine_from, _COARSE), *range(fine_to, greatest, _COARSE))
    frozen = (each for threshold in thresholds for each in (threshold.stable_bin, threshold.canary_bin))
    return sorted({*coarse, *range(fine_from, fine_to), *frozen})


def _binned(answers: Counts, shift: Shift, edges_us: Figures, rng: np.random.Generator) -> Counts:
    """Each answer in its bin; what lies beyond the outer edges is in the outer bins."""
    above = [1.0, *(shift.share_above(edge) for edge in edges_us[1:-1]), 0.0]
    shares = -np.diff(above)
    counts: Counts = rng.multinomial(answers, shares / shares.sum())
    return counts


def log_e_slow(thresholds: tuple[Threshold, ...], timings: Timings, slo_quantile: float) -> Figures:
    """The evidence of harm as `guardrails.judge_latency` takes it, shape (runs, looks)."""
    rest = 0.5 / (len(thresholds) - 1)
    logs = []
    for each in thresholds:
        share = 0.5 if each.level == slo_quantile else rest
        slow = timings.slow(edge_us(each.canary_bin), edge_us(each.stable_bin))
        logs.append(log(share) + full(1.0 - each.level).log_e(slow))
    return reduce(np.logaddexp, logs)


def turnback(thresholds: tuple[Threshold, ...], timings: Timings, slo_quantile: float, alpha: float = ALPHA) -> Ends:
    """Turned back by latency alone."""
    return rollback_only(log_e_slow(thresholds, timings, slo_quantile) >= log(1.0 / alpha))
