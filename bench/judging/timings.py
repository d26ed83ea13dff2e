"""Both arms' latencies as they grow, in bins: what a tool can read from a histogram."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bench.judging.traffic import Counts, Figures, Traffic


class Moments(NamedTuple):
    """Of one arm up to and with each look, in milliseconds; each of shape (runs, looks)."""

    n: Counts
    total: Figures
    squares: Figures


@dataclass(frozen=True, slots=True)
class Timings:
    """New answers of both arms at each look of many runs; counts have the shape (runs, looks, bins).

    Attributes:
        weight_bp: The coin's chance of the canary.
        edges_us: Bounds of the bins, ascending, shape (bins + 1,).
        interval: See `Traffic`.
    """

    weight_bp: int
    edges_us: Figures
    canary: Counts
    stable: Counts
    interval: int

    def slow(self, canary_us: float, stable_us: float) -> Traffic:
        """The traffic in which "bad" is slower than an edge, for each arm its own."""
        return Traffic(
            np.full((1, 1), self.weight_bp),
            self.canary.sum(axis=2),
            self.stable.sum(axis=2),
            self.canary[:, :, self._from(canary_us) :].sum(axis=2),
            self.stable[:, :, self._from(stable_us) :].sum(axis=2),
            self.interval,
        )

    def _from(self, edge_us: float) -> int:
        place = int(np.abs(self.edges_us - edge_us).argmin())
        if not np.isclose(self.edges_us[place], edge_us, rtol=1e-9):
            raise ValueError(f"{edge_us} us is no edge of the bins")
        return place

    def quantiles_ms(self, level: float, looks: int) -> tuple[Figures, Figures]:
        """Each arm's quantile of so many looks each, shape (runs, parts), as Prometheus reads it from a histogram.

        Source:
            Prometheus, histogram_quantile: linear within the bin that holds the rank.
        """
        canary, stable = (self._quantile_ms(counts, level, looks) for counts in (self.canary, self.stable))
        return canary, stable

    def _quantile_ms(self, counts: Counts, level: float, looks: int) -> Figures:
        runs, all_looks, bins = counts.shape
        parts = all_looks // looks
        grown = counts[:, : parts * looks].reshape(runs, parts, looks, bins).sum(axis=2).cumsum(axis=2)
        rank = level * grown[:, :, -1]
        # One more bin below the first, so that every rank has a count before it.
        grown = np.concatenate([np.zeros_like(grown[:, :, :1]), grown], axis=2)
        place = (grown[:, :, 1:] >= rank[:, :, None]).argmax(axis=2)
        before, upto = (np.take_along_axis(grown, at[:, :, None], axis=2)[:, :, 0] for at in (place, place + 1))
        with np.errstate(invalid="ignore"):
            part = (rank - before) / (upto - before)
        low, high = self.edges_us[place], self.edges_us[place + 1]
        quantile: Figures = np.where(upto > 0, low + part * (high - low), np.nan) / 1_000.0
        return quantile

    def moments(self) -> tuple[Moments, Moments]:
        """Both arms' sums, every answer taken at the middle of its bin."""
        canary, stable = (self._moments(counts) for counts in (self.canary, self.stable))
        return canary, stable

    def _moments(self, counts: Counts) -> Moments:
        middle_ms = (self.edges_us[:-1] + self.edges_us[1:]) / 2_000.0
        sums = (counts.sum(axis=2), counts @ middle_ms, counts @ middle_ms**2)
        n, total, squares = (each.cumsum(axis=1) for each in sums)
        return Moments(n, total, squares)
