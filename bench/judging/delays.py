"""How long a bad version lasts under the product's test, against the least that any test needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from app.domain.stats.planning import information
from bench.judging.coin import ALPHA, turnback
from bench.judging.draws import Steady
from bench.judging.intervals import Document, mean, median
from bench.judging.situations import verdicts
from bench.judging.traffic import Figures

STABLE_RATE = 0.01


@dataclass(frozen=True, slots=True)
class Delay:
    """A canary that is worse.

    Attributes:
        look: Exchanges between two looks: fine enough not to hide a quick delay.
        horizon: Exchanges until a run ends undecided, far beyond what almost any run needs.
    """

    name: str
    rate: float
    look: int
    horizon: int
    quick_runs: int
    full_runs: int


DELAYS = (
    Delay("1.5%", 0.015, 100, 200_000, 400, 2_000),
    Delay("2%", 0.02, 50, 60_000, 400, 2_000),
    Delay("5%", 0.05, 5, 8_000, 250, 4_000),
    Delay("50%", 0.5, 1, 400, 2_000, 20_000),
)


def limit(rate: float, alpha: float = ALPHA) -> float:
    """The fewest exchanges that any test with this chance of a false alarm needs on average.

    Source:
        Wald 1945; Garivier & Kaufmann 2021, Sequential Analysis 40.
    """
    return log(1.0 / alpha) / information(rate, STABLE_RATE, 0.5)


def judge(delay: Delay, runs: int, seed: int) -> Figures:
    """Exchanges until each run was turned back, shape (runs,); inf where it was not."""
    stream = Steady(delay.rate, STABLE_RATE, per_look=delay.look, looks=delay.horizon // delay.look)
    traffic = stream.draw(runs, np.random.default_rng(seed)).seen
    return verdicts(traffic, turnback(traffic)).exchanges


def summary(delay: Delay, parts: Sequence[Figures]) -> Document:
    """Mean and median delay beside the limit; an undecided run counts with the horizon."""
    exchanges = np.concatenate(parts)
    counted = np.minimum(exchanges, float(delay.horizon))
    least = limit(delay.rate)
    return {
        "limit_exchanges": round(least, 1),
        "mean_exchanges": mean(counted),
        "mean_over_limit": mean(counted / least),
        "median_exchanges": median(exchanges),
        "mean_extra_bad": mean(counted * 0.5 * (delay.rate - STABLE_RATE)),
        "undecided": int(np.isinf(exchanges).sum()),
        "runs": len(exchanges),
        "look": delay.look,
    }
