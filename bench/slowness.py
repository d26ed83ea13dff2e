"""Streams of latencies, and the product's latency test for many runs at once.

Rule: thresholds are the product's own, frozen from answers of stable; each is one `Traffic` in
which "bad" is slow.
"""

from dataclasses import dataclass
from math import inf, log

import numpy as np
from scipy.special import ndtr, ndtri

from app.domain.histogram import edge_us
from app.domain.ledger import Threshold
from app.domain.policy import Guardrail, Metric, Policy
from bench.coin import ALPHA, full
from bench.traffic import Counts, Ends, Figures, Traffic, rollback_only
from bench.world import Arm, frozen_thresholds

MEDIAN_MS, SIGMA = 100.0, 0.5
_TAIL_FROM, _TAIL_TO = 0.95, 0.99


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
    """Both arms' latencies at constant weight.

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
        return Policy(guardrails=(Guardrail(Metric.ERRORS), self.guardrail()))

    def guardrail(self) -> Guardrail:
        """The product's guardrail with these values."""
        return Guardrail(Metric.LATENCY, margin=self.margin, floor=self.floor_ms, quantile=self.slo_quantile)

    def draw(self, runs: int, rng: np.random.Generator) -> tuple[tuple[Threshold, Traffic], ...]:
        """One traffic per threshold, all of the same exchanges."""
        thresholds = frozen_thresholds(Arm(0.0, 0.0, MEDIAN_MS, SIGMA), self.policy(), rng)
        canary = rng.binomial(self.look, 0.5, (runs, self.looks))
        stable = self.look - canary
        canary_above = [self.shift.share_above(edge_us(each.canary_bin)) for each in thresholds]
        stable_above = [Shift().share_above(edge_us(each.stable_bin)) for each in thresholds]
        canary_slow = _above(canary, canary_above, rng)
        stable_slow = _above(stable, stable_above, rng)
        weight_bp = np.full((1, 1), 5_000)
        return tuple(
            (each, Traffic(weight_bp, canary, stable, canary_slow[..., place], stable_slow[..., place], 10))
            for place, each in enumerate(thresholds)
        )


def _above(answers: Counts, above: list[float], rng: np.random.Generator) -> Counts:
    """How many answers lie above each of ascending limits, shape (runs, looks, limits)."""
    cells = -np.diff([1.0, *above, 0.0])
    drawn = rng.multinomial(answers, cells / cells.sum())
    slow: Counts = drawn[..., :0:-1].cumsum(axis=-1)[..., ::-1]
    return slow


def log_e_slow(drawn: tuple[tuple[Threshold, Traffic], ...], slo_quantile: float) -> Figures:
    """The evidence of harm as `guardrails.judge_latency` takes it, shape (runs, looks)."""
    rest = 0.5 / (len(drawn) - 1)
    logs = None
    for threshold, traffic in drawn:
        weight = 0.5 if threshold.level == slo_quantile else rest
        log_e = log(weight) + full(1.0 - threshold.level).log_e(traffic)
        logs = log_e if logs is None else np.logaddexp(logs, log_e)
    assert logs is not None  # noqa: S101
    return logs


def turnback(drawn: tuple[tuple[Threshold, Traffic], ...], slo_quantile: float, alpha: float = ALPHA) -> Ends:
    """Turned back by latency alone."""
    return rollback_only(log_e_slow(drawn, slo_quantile) >= log(1.0 / alpha))
