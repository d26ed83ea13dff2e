"""Streams of exchanges: what each situation does to two arms, drawn for many runs at once.

Rule: one generator, one stream; every judge of a scenario sees the same draws. Where both arms are
the same, whatever else happens, a judge that turns back does so falsely.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log
from typing import NamedTuple, Protocol

import numpy as np

from app.domain.catalog.routing import FULL_BP
from bench.judging.coin import ERRORS_ONLY
from bench.judging.traffic import Counts, Figures, Traffic

Rates = Callable[[Counts], Figures]


class Drawn(NamedTuple):
    """One stream, as it is seen and as Turnback judges it.

    Attributes:
        seen: What is visible at each look.
        judged: What Turnback takes as evidence at that look; often the same.
    """

    seen: Traffic
    judged: Traffic


class Stream(Protocol):
    """A situation that can be drawn."""

    @property
    def excess(self) -> float:
        """The canary's share of bad answers beyond stable's."""

    def draw(self, runs: int, rng: np.random.Generator) -> Drawn:
        """Draw independent runs."""


def _binomials(
    rng: np.random.Generator, exchanges: Counts, weight_bp: Counts, rates: tuple[Figures, Figures], interval: int
) -> Traffic:
    """Toss the coin for every exchange, then each answer's outcome.

    Args:
        rng: Draws both.
        exchanges: Shape (runs, looks).
        weight_bp: Broadcast to that shape.
        rates: Shares of bad answers of canary and stable, broadcast to that shape.
        interval: See `Traffic`.
    """
    canary = rng.binomial(exchanges, weight_bp / FULL_BP)
    stable = exchanges - canary
    canary_rate, stable_rate = rates
    canary_bad, stable_bad = rng.binomial(canary, canary_rate), rng.binomial(stable, stable_rate)
    return Traffic(np.broadcast_to(weight_bp, exchanges.shape), canary, stable, canary_bad, stable_bad, interval)


@dataclass(frozen=True, slots=True)
class Steady:
    """Constant rates and weight.

    Attributes:
        looks: How many, `per_look` exchanges each; on average only if `by_chance`.
        interval: Looks in one interval of the tools that read rates by the minute.
    """

    canary_rate: float
    stable_rate: float = 0.01
    weight_bp: int = 5_000
    per_look: int = 100
    looks: int = 1_000
    interval: int = 10
    by_chance: bool = False

    @property
    def excess(self) -> float:
        return self.canary_rate - self.stable_rate

    def draw(self, runs: int, rng: np.random.Generator) -> Drawn:
        shape = (runs, self.looks)
        exchanges = rng.poisson(self.per_look, shape) if self.by_chance else np.full(shape, self.per_look)
        rates = (np.array(self.canary_rate), np.array(self.stable_rate))
        traffic = _binomials(rng, exchanges, np.array([self.weight_bp]), rates, self.interval)
        return Drawn(traffic, traffic)


@dataclass(frozen=True, slots=True)
class RampWhileRatesRise:
    """The weight is raised by the clock while both arms' rate of bad answers rises from 0.5 to 2 %."""

    weights_bp: tuple[int, ...] = (100, 500, 2_500, 5_000)
    lowest: float = 0.005
    highest: float = 0.02
    per_look: int = 100
    looks: int = 1_000
    interval: int = 10
    excess: float = 0.0

    def draw(self, runs: int, rng: np.random.Generator) -> Drawn:
        weight_bp = np.repeat(self.weights_bp, self.looks // len(self.weights_bp))
        rate = np.linspace(self.lowest, self.highest, len(weight_bp))
        exchanges = np.full((runs, len(weight_bp)), self.per_look)
        traffic = _binomials(rng, exchanges, weight_bp, (rate, rate), self.interval)
        return Drawn(traffic, traffic)


@dataclass(frozen=True, slots=True)
class BurstsWhileEvidenceSteers:
    """Rates and traffic with a daily cycle, bursts of failure in both arms, and weights that evidence changes.

    The weight goes one rung down where the evidence of harm is at least 10, and after every ten
    looks one rung up where it is below 3, as the policy's R5 and R6 do.

    Attributes:
        cycle: Looks per day; `swing`: by how much of its mean the base rate goes up and down.
        burst_chance: Of a look in which `burst_rate` of both arms' answers are bad.
    """

    rungs_bp: tuple[int, ...] = (100, 500, 1_000, 2_500, 5_000)
    base: float = 0.01
    swing: float = 0.8
    cycle: int = 240
    burst_chance: float = 0.02
    burst_rate: float = 0.3
    per_look: int = 100
    looks: int = 1_000
    interval: int = 10
    excess: float = 0.0

    def draw(self, runs: int, rng: np.random.Generator) -> Drawn:
        phase = 2.0 * np.pi * np.arange(self.looks) / self.cycle
        rate = self.base * (1.0 + self.swing * np.sin(phase))
        rate = np.where(rng.random((runs, self.looks)) < self.burst_chance, self.burst_rate, rate)
        exchanges = rng.poisson(self.per_look * (1.0 + 0.5 * np.cos(phase)), (runs, self.looks))
        steering = _Steering(self.rungs_bp, runs)
        steps = []
        for look in range(self.looks):
            now = (rate[:, look, None], rate[:, look, None])
            step = _binomials(rng, exchanges[:, look, None], steering.weight_bp[:, None], now, 1)
            steering.learn(step, may_rise=(look + 1) % 10 == 0)
            steps.append(step)
        traffic = _side_by_side(steps, self.interval)
        return Drawn(traffic, traffic)


class _Steering:
    """The weights of many runs, each moved by its own evidence."""

    def __init__(self, rungs_bp: tuple[int, ...], runs: int) -> None:
        self._rungs_bp = np.array(rungs_bp)
        self._terms = np.stack([ERRORS_ONLY.step_terms(rung)[:, :2] for rung in rungs_bp])
        self._logs = np.zeros((runs, len(ERRORS_ONLY.ratios)))
        self._rung = np.zeros(runs, dtype=np.int64)

    @property
    def weight_bp(self) -> Counts:
        """Shape (runs,)."""
        weights: Counts = self._rungs_bp[self._rung]
        return weights

    def learn(self, step: Traffic, *, may_rise: bool) -> None:
        """Take one look's bad answers, drawn at the present weights, and move the weights."""
        bad = np.stack([step.canary_bad[:, 0], step.stable_bad[:, 0]], axis=1)
        self._logs += np.einsum("rjc,rc->rj", self._terms[self._rung], bad)
        log_e = np.logaddexp.reduce(self._logs, axis=1) - log(self._logs.shape[1])
        up = (log_e < log(3.0)) & may_rise
        self._rung = np.clip(self._rung + up - (log_e >= log(10.0)), 0, len(self._rungs_bp) - 1)


def _side_by_side(steps: list[Traffic], interval: int) -> Traffic:
    """Traffics of one look each as one of many looks."""
    names = ("weight_bp", "canary", "stable", "canary_bad", "stable_bad")
    weight_bp, *counts = (np.concatenate([getattr(step, name) for step in steps], axis=1) for name in names)
    canary, stable, canary_bad, stable_bad = counts
    return Traffic(weight_bp, canary, stable, canary_bad, stable_bad, interval)


@dataclass(frozen=True, slots=True)
class OutcomesKnownLate:
    """Stable's failures become visible later than all else: it times out where the canary fails at once.

    Turnback reads both arms up to the same second, the newest that is final in both.

    Attributes:
        late_looks: How much later; a look is a second.
    """

    canary_rate: float
    stable_rate: float = 0.01
    weight_bp: int = 500
    per_look: int = 10_000
    looks: int = 300
    late_looks: int = 30
    interval: int = 60

    @property
    def excess(self) -> float:
        return self.canary_rate - self.stable_rate

    def draw(self, runs: int, rng: np.random.Generator) -> Drawn:
        plan = Steady(self.canary_rate, self.stable_rate, self.weight_bp, self.per_look, self.looks, self.interval)
        drawn = plan.draw(runs, rng).seen
        late_bad = _later(drawn.stable_bad, self.late_looks)
        seen = replace(drawn, stable=drawn.stable - drawn.stable_bad + late_bad, stable_bad=late_bad)
        mature = replace(
            drawn,
            canary=_later(drawn.canary, self.late_looks),
            stable=_later(drawn.stable, self.late_looks),
            canary_bad=_later(drawn.canary_bad, self.late_looks),
            stable_bad=late_bad,
        )
        return Drawn(seen, mature)


def _later(counts: Counts, looks: int) -> Counts:
    """The same counts so many looks later."""
    shifted = np.zeros_like(counts)
    shifted[:, looks:] = counts[:, :-looks]
    return shifted
