"""A stream of callers that keep their arm: few are heavy, and each fails at a rate of its own."""

from dataclasses import dataclass

import numpy as np

from bench.judging.draws import Drawn
from bench.judging.traffic import Counts, Figures, Flags, Traffic


@dataclass(frozen=True, slots=True)
class StickyCallers:
    """The coin is tossed once a caller; both versions are the same.

    A caller's exchanges come as a Poisson process at a lognormal rate, and each fails at the
    caller's own rate, from a beta distribution. Turnback judges each caller's first exchange only.

    Attributes:
        callers: How many; spread: standard deviation of the logarithm of their rates.
        mean_rate: Mean share of bad answers; concentration: of its beta distribution.
    """

    callers: int = 2_000
    spread: float = 1.5
    mean_rate: float = 0.01
    concentration: float = 0.5
    per_look: int = 100
    looks: int = 1_000
    interval: int = 10
    excess: float = 0.0

    def draw(self, runs: int, rng: np.random.Generator) -> Drawn:
        seen, first = zip(*(self._draw_one(rng) for _ in range(runs)), strict=True)
        return Drawn(self._traffic(np.stack(seen, axis=1)), self._traffic(np.stack(first, axis=1)))

    def _traffic(self, counts: Counts) -> Traffic:
        """From canary, stable, canary_bad and stable_bad, shape (4, runs, looks)."""
        canary, stable, canary_bad, stable_bad = counts
        weight_bp = np.full((1, 1), 5_000)
        return Traffic(weight_bp, canary, stable, canary_bad, stable_bad, self.interval)

    def _draw_one(self, rng: np.random.Generator) -> tuple[Counts, Counts]:
        """All exchanges and the first ones of a run, each of shape (4, looks)."""
        per_look = rng.lognormal(0.0, self.spread, self.callers)
        per_look *= self.per_look / per_look.sum()
        share = rng.beta(self.concentration * self.mean_rate, self.concentration * (1.0 - self.mean_rate), self.callers)
        in_canary = rng.random(self.callers) < 0.5
        began = rng.exponential(1.0 / per_look)
        first = np.stack([*_firsts(began, in_canary, rng.random(self.callers) < share, self.looks)])
        # After its first exchange a caller's process starts anew; sums of Poisson processes are one.
        rest = np.zeros_like(first)
        for arm, chosen in enumerate((in_canary, ~in_canary)):
            rates = [per_look * share, per_look * (1.0 - share)]
            bad, good = (rng.poisson(_exposure(began[chosen], rate[chosen], self.looks)) for rate in rates)
            rest[arm], rest[arm + 2] = bad + good, bad
        return first + rest, first


def _firsts(began: Figures, in_canary: Flags, is_bad: Flags, looks: int) -> tuple[Counts, ...]:
    """First exchanges by look: of the canary, of stable, and the bad ones of each."""
    within = began < looks
    groups = (in_canary, ~in_canary, in_canary & is_bad, ~in_canary & is_bad)
    return tuple(np.bincount(began[within & group].astype(np.int64), minlength=looks) for group in groups)


def _exposure(began: Figures, rate: Figures, looks: int) -> Figures:
    """Expected further exchanges by look of callers who had their first one at `began`."""
    within = began < looks
    look = began[within].astype(np.int64)
    rest_of_look = np.bincount(look, rate[within] * (look + 1.0 - began[within]), looks)
    full_looks = np.bincount(look, rate[within], looks).cumsum()
    full_looks[1:], full_looks[0] = full_looks[:-1].copy(), 0.0
    exposure: Figures = rest_of_look + full_looks
    return exposure
