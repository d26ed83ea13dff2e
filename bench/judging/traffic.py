"""Both arms' answers as they grow, look by look, and when a judge ended each run.

Rule: every judge of a scenario is shown the same `Traffic`, made from one stream of draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Figures: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Traffic:  # ADR 0079
    """What became visible of both arms at each look of many runs; counts have the shape (runs, looks).

    Attributes:
        weight_bp: The coin's chance of the canary in basis points, broadcast to that shape.
        canary, stable: New answers at the look; canary_bad, stable_bad: the bad ones among them.
        interval: Looks in one interval of the tools that read a rate "per minute".
    """

    weight_bp: Counts
    canary: Counts
    stable: Counts
    canary_bad: Counts
    stable_bad: Counts
    interval: int

    @cached_property
    def exchanges(self) -> Counts:
        """Answers of both arms up to and with each look."""
        return (self.canary + self.stable).cumsum(axis=1)

    def totals(self) -> "Totals":
        """Everything up to and with each look."""
        return Totals(*(each.cumsum(axis=1) for each in self._counts))

    def by(self, looks: int) -> "Totals":
        """Counts of so many looks each, shape (runs, parts); a part that is not complete is left out."""
        runs, all_looks = self.canary.shape
        parts = all_looks // looks
        shape = (runs, parts, looks)
        return Totals(*(each[:, : parts * looks].reshape(shape).sum(axis=2) for each in self._counts))

    @property
    def _counts(self) -> tuple[Counts, Counts, Counts, Counts]:
        return self.canary, self.stable, self.canary_bad, self.stable_bad


class Totals(NamedTuple):
    """Sums of the counts of a `Traffic`."""

    canary: Counts
    stable: Counts
    canary_bad: Counts
    stable_bad: Counts


@dataclass(frozen=True, slots=True)
class Ends:
    """The look, from 0, at which a judge ended each run, one way or the other; inf where it did not.

    Attributes:
        rolled_back, promoted: Shape (runs,); at most one of the two is finite.
    """

    rolled_back: Figures
    promoted: Figures


Judge: TypeAlias = Callable[[Traffic], Ends]


def first(flags: Flags) -> Figures:
    """The first look at which each run's flag stands, inf if none; shape (runs, looks) to (runs,)."""
    if not flags.shape[1]:
        return np.full(len(flags), np.inf)
    return np.where(flags.any(axis=1), flags.argmax(axis=1).astype(float), np.inf)


def rollback_only(flags: Flags) -> Ends:
    """The ends of a judge that never promotes: the first look at which it objects."""
    rolled_back = first(flags)
    return Ends(rolled_back, np.full_like(rolled_back, np.inf))


def race(bad: Flags, good: Flags, looks: int) -> Ends:
    """The ends of a judge that looks again after every so many looks and stops at the first of two signs.

    Args:
        bad, good: Where it rolls back and where it promotes, shape (runs, parts); bad wins a tie.
        looks: Per part; it acts at the part's last one.
    """
    rolled_back, promoted = ((first(flags) + 1.0) * looks - 1.0 for flags in (bad, good))
    return Ends(
        np.where(rolled_back <= promoted, rolled_back, np.inf),
        np.where(promoted < rolled_back, promoted, np.inf),
    )
