"""Many runs at once of one rule that looks at two arms: the product's test, vectorised, and a rival."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import beta

from app.domain.evidence import WORSE

Counts = NDArray[np.int64]
_TILTS = np.array(WORSE)
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


def log_e(totals: Totals, weight: float) -> NDArray[np.float64]:
    """`app.domain.evidence.log_e_tilt` at every look, shape (runs, looks); a test holds them equal."""
    bad = totals.canary_bad + totals.stable_bad
    sums = np.zeros(bad.shape)
    greatest = np.full(bad.shape, -np.inf)
    for tilt in _TILTS:
        value = totals.canary_bad * np.log(tilt) - bad * np.log1p(weight * (tilt - 1.0))
        higher = np.maximum(greatest, value)
        sums = sums * np.exp(greatest - higher) + np.exp(value - higher)
        greatest = higher
    result: NDArray[np.float64] = greatest + np.log(sums) - np.log(len(_TILTS))
    return result


def ours(totals: Totals, weight: float, alpha: float) -> NDArray[np.bool_]:
    """Where the product turns back, shape (runs, looks)."""
    rejected: NDArray[np.bool_] = log_e(totals, weight) >= np.log(1.0 / alpha)
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
