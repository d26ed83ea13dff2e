"""Many runs at once of a rule that looks at two arms: the product's test and a rival."""

from dataclasses import dataclass
from functools import cache
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import beta

from app.domain.evidence import Outcomes, log_e_tilt

Counts = NDArray[np.int64]
# Runs drawn and judged together; bounds the memory.
_CHUNK = 250


@dataclass(frozen=True, slots=True)
class Bench:
    """What is drawn.

    Attributes:
        look: Exchanges between two looks; horizon: exchanges until a run ends undecided.
        weight: The coin's chance of the canary.
    """

    canary_rate: float
    stable_rate: float
    look: int
    horizon: int
    weight: float = 0.5


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals at every look, each shape (runs, looks)."""

    exchanges: Counts
    canary: Counts
    canary_bad: Counts
    stable_bad: Counts


def draw(bench: Bench, runs: int, rng: np.random.Generator) -> Totals:
    """Totals of independent runs at every look."""
    looks = bench.horizon // bench.look
    canary = rng.binomial(bench.look, bench.weight, (runs, looks))
    canary_bad = rng.binomial(canary, bench.canary_rate)
    stable_bad = rng.binomial(bench.look - canary, bench.stable_rate)
    exchanges = np.arange(1, looks + 1) * bench.look
    return Totals(
        np.broadcast_to(exchanges, (runs, looks)),
        canary.cumsum(axis=1),
        canary_bad.cumsum(axis=1),
        stable_bad.cumsum(axis=1),
    )


@cache
def critical(weight: float, alpha: float, most_bad: int) -> Counts:
    """The fewest canary failures among n bad answers at which the product turns back, for n = 0 … most_bad.

    The product's own `log_e_tilt` says so, and with one weight it depends on these two counts
    alone; it grows with the canary's share, so the fewest are found by going up. Where not even
    n of n are enough it is n + 1.
    """
    limit = log(1.0 / alpha)
    fewest = np.empty(most_bad + 1, dtype=np.int64)
    canary_bad = 0
    for bad in range(most_bad + 1):
        while canary_bad <= bad and log_e_tilt([Outcomes(weight, canary_bad, bad - canary_bad)]) < limit:
            canary_bad += 1
        fewest[bad] = canary_bad
    return fewest


def ours(totals: Totals, weight: float, alpha: float) -> NDArray[np.bool_]:
    """Where the product turns back, shape (runs, looks)."""
    bad = totals.canary_bad + totals.stable_bad
    # Rounded up, so that few tables are made.
    most_bad = (int(bad.max()) // 1_000 + 1) * 1_000
    rejected: NDArray[np.bool_] = totals.canary_bad >= critical(weight, alpha, most_bad)[bad]
    return rejected


def peeking_z(totals: Totals, weight: float, alpha: float) -> NDArray[np.bool_]:
    """Where a pooled one-sided z-test, read as if this look were the only one, rejects."""
    del weight
    canary, stable = totals.canary, totals.exchanges - totals.canary
    pooled = (totals.canary_bad + totals.stable_bad) / totals.exchanges
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(pooled * (1.0 - pooled) * (1.0 / canary + 1.0 / stable))
        z = (totals.canary_bad / canary - totals.stable_bad / stable) / spread
    return np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0) > -float(ndtri(alpha))


def first_rejections(bench: Bench, runs: int, alpha: float, seed: int) -> dict[str, NDArray[np.float64]]:
    """Exchanges until each rule first turned back, shape (runs,); inf where it never did.

    Both rules see the same draws.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[NDArray[np.float64]]] = {"ours": [], "peeking_z": []}
    for start in range(0, runs, _CHUNK):
        totals = draw(bench, min(_CHUNK, runs - start), rng)
        for name, rule in (("ours", ours), ("peeking_z", peeking_z)):
            rejected = rule(totals, bench.weight, alpha)
            first = np.where(rejected.any(axis=1), (rejected.argmax(axis=1) + 1) * float(bench.look), np.inf)
            found[name].append(first)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def interval95(hits: int, runs: int) -> tuple[float, float]:
    """Exact 95 % interval of a share.

    Source:
        Clopper & Pearson 1934, Biometrika 26.
    """
    low = float(beta.ppf(0.025, hits, runs - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, runs - hits)) if hits < runs else 1.0
    return low, high
