"""A world in virtual time: made-up traffic through the real `absorb`, `assess` and `advance`.

Rule: the product decides, the world only draws: arrivals, the coin, outcomes, latencies. One
seed, one story.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.policy import Policy
from app.domain.catalog.routing import FULL_BP
from app.domain.evidence.evidence import Evidence, Threshold, absorb
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, Watermark
from app.domain.guardrails.assess import assess
from app.domain.guardrails.latency import slow_limits
from app.domain.rollout.rollout import (
    TERMINAL,
    Assessed,
    Event,
    MakeStable,
    Phase,
    Resolution,
    Rollout,
    RolloutId,
    ShiftWeight,
    Started,
    begin,
)
from app.domain.rollout.transitions import advance
from app.domain.stats.latency_histogram import edge_us

MODEL, STABLE, CANARY = ModelName("fraud"), VersionName("v1"), VersionName("v2")
START = datetime(2030, 1, 1, tzinfo=UTC)
START_S = int(START.timestamp())
# Bins up to 1.02**800 microseconds, more than two hours.
_BINS = 800
_REFERENCE_EXCHANGES = 100_000


def steady(_: int) -> float:
    """A tide that never turns."""
    return 1.0


@dataclass(frozen=True, slots=True)
class Arm:
    """How a version behaves.

    Attributes:
        error_rate, timeout_rate: Shares of its answers.
        latency_ms: Median of its lognormal latency, None when latency is not played.
        latency_sigma: Its standard deviation on the log scale.
    """

    error_rate: float
    timeout_rate: float = 0.0
    latency_ms: float | None = None
    latency_sigma: float = 0.5

    @property
    def bad_rate(self) -> float:
        return self.error_rate + self.timeout_rate


@dataclass(frozen=True, slots=True)
class Setting:
    """What is played: two arms, their traffic, how both arms' bad rates swing with the second."""

    stable: Arm
    canary: Arm
    exchanges_per_s: float
    policy: Policy
    tide: Callable[[int], float] = steady


@dataclass(frozen=True, slots=True)
class Story:
    """How a rollout went.

    Attributes:
        seconds: From the first exchange to the end, or to the end of patience.
        canary_answers: Exchanges that were judged when it ended.
        extra_bad: Expected bad answers beyond stable's rate among them.
    """

    rollout: Rollout
    seconds: int
    canary_answers: int
    extra_bad: float
    resolutions: tuple[Resolution, ...]

    @property
    def phase(self) -> Phase:
        return self.rollout.phase


class World:
    """One rollout, played second by second."""

    def __init__(self, setting: Setting, rng: np.random.Generator) -> None:
        self.setting = setting
        self.rng = rng
        self._bins = {arm: _bin_shares(arm) for arm in (setting.stable, setting.canary)}
        self.resolutions: list[Resolution] = []
        self.generation = 1
        self.weights_bp = {self.generation: 0}
        reference = _tally(setting.stable, self._bins[setting.stable], _REFERENCE_EXCHANGES, 1.0, rng)
        self.rollout = begin(RolloutId("r1"), MODEL, STABLE, CANARY, setting.policy, reference, START)
        self.take(Started(), START)

    def take(self, event: Event, now: datetime) -> None:
        """Let the product advance, and do what it says."""
        transition = advance(self.rollout, event, now)
        self.rollout = transition.rollout
        if transition.resolution is not None:
            self.resolutions.append(transition.resolution)
        for effect in transition.effects:
            match effect:
                case ShiftWeight(canary_weight_bp):
                    self._reweigh(canary_weight_bp)
                case MakeStable(version):
                    self._reweigh(FULL_BP if version == CANARY else 0)

    def _reweigh(self, canary_weight_bp: int) -> None:
        self.generation += 1
        self.weights_bp[self.generation] = canary_weight_bp

    def play(self, patience_s: int) -> Story:
        """Look once a second until the rollout ends or patience does."""
        self._look(0)
        second = 0
        while self.rollout.phase not in TERMINAL and second < patience_s:
            self.rollout = replace(self.rollout, evidence=self.read(second))
            second += 1
            self._look(second)
        answers = sum(epoch.canary.judged for epoch in self.rollout.evidence.by_weight.values())
        worse = self.setting.canary.bad_rate - self.setting.stable.bad_rate
        return Story(self.rollout, second, answers, answers * worse, tuple(self.resolutions))

    def read(self, second: int) -> Evidence:
        """The evidence with what happens in one second, which is mature at once."""
        mature = Watermark(START_S + second, START_S + second)
        return absorb(self.rollout.evidence, tuple(self.draw(second)), self.weights_bp, mature)

    def _look(self, second: int) -> None:
        assessment = assess(self.rollout.evidence, self.setting.policy)
        self.take(Assessed(assessment, canary_ready=True), START + timedelta(seconds=second))

    def canary_share(self) -> float:
        """The coin's real chance of the canary."""
        return self.weights_bp[self.generation] / FULL_BP

    def draw(self, second: int) -> Iterable[TallyRow]:
        """Both arms' answers to the requests of one second."""
        setting, rng = self.setting, self.rng
        exchanges = int(rng.poisson(setting.exchanges_per_s))
        drawn = int(rng.binomial(exchanges, self.canary_share()))
        tide = setting.tide(second)
        for version, arm, n in ((STABLE, setting.stable, exchanges - drawn), (CANARY, setting.canary, drawn)):
            if n:
                key = TallyKey(START_S + second, MODEL, self.generation, version)
                yield TallyRow(key, _tally(arm, self._bins[arm], n, tide, rng), 1)


def _tally(arm: Arm, shares: NDArray[np.float64] | None, n: int, tide: float, rng: np.random.Generator) -> Tally:
    """What an arm answers to `n` exchanges; `shares` are those of its latency bins."""
    errors = int(rng.binomial(n, min(1.0, arm.error_rate * tide)))
    timeouts = int(rng.binomial(n - errors, min(1.0, arm.timeout_rate * tide)))
    outcomes = {Outcome.UPSTREAM_ERROR: errors, Outcome.TIMEOUT: timeouts, Outcome.OK: n - errors - timeouts}
    bins = {}
    if shares is not None:
        counts = rng.multinomial(n, shares)
        bins = {int(index): int(counts[index]) for index in np.flatnonzero(counts)}
    return Tally(n, {outcome: count for outcome, count in outcomes.items() if count}, 0, bins)


def frozen_thresholds(stable: Arm, policy: Policy, rng: np.random.Generator) -> tuple[Threshold, ...]:
    """When an answer is slow, as the product freezes it before a rollout; the arm has a latency."""
    reference = _tally(stable, _bin_shares(stable), _REFERENCE_EXCHANGES, 1.0, rng)
    return Evidence.begin(STABLE, CANARY, slow_limits(policy), reference, START_S).thresholds


def _bin_shares(arm: Arm) -> NDArray[np.float64] | None:
    """Shares of a lognormal latency over the histogram's bins, shape (_BINS,)."""
    if arm.latency_ms is None:
        return None
    edges = np.log([edge_us(index) for index in range(1, _BINS)])
    below = ndtr((edges - log(arm.latency_ms * 1_000.0)) / arm.latency_sigma)
    return np.diff(np.concatenate(([0.0], below, [1.0])))


def play(setting: Setting, seed: int, patience_s: int) -> Story:
    """The whole story of one seed."""
    return World(setting, np.random.default_rng(seed)).play(patience_s)
