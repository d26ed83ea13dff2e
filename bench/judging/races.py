"""Flagger at the weights it sets itself, at several rates of traffic: how often it errs, and what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.judging.intervals import Document, mean, share
from bench.judging.traffic import Counts, Flags
from bench.rivals import flagger

STABLE_RATE = 0.01


@dataclass(frozen=True, slots=True)
class Race:
    """A canary and its traffic, both arms' exchanges a minute."""

    rate: float
    per_minute: int
    quick_runs: int = 2_000
    full_runs: int = 20_000

    @property
    def name(self) -> str:
        return f"{self.rate:.0%}, {self.per_minute:,} a minute"


RACES = tuple(Race(rate, per_minute) for per_minute in (1_000, 100, 10) for rate in (STABLE_RATE, 0.02, 0.05, 0.5))


def judge(race: Race, runs: int, seed: int) -> tuple[Flags, Counts]:
    """Whether each race was rolled back, and the canary's answers in it."""
    return flagger.race(race.rate, race.per_minute, runs, np.random.default_rng(seed))


def summary(race: Race, parts: Sequence[tuple[Flags, Counts]]) -> Document:
    """How often it rolled back and let through, and the bad answers beyond stable's."""
    rolled_back, answers = (np.concatenate(each) for each in zip(*parts, strict=True))
    return {
        "healthy": race.rate == STABLE_RATE,
        "rolled_back": share(rolled_back),
        "promoted": share(~rolled_back),
        "mean_extra_bad": mean(answers * (race.rate - STABLE_RATE)),
    }
