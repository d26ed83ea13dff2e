"""What each version did since this process started, and what the gateway itself took.

Rule: totals only grow, and know nothing of seconds or of Postgres.
"""

from dataclasses import dataclass
from typing import Final

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Outcome
from app.recording.tally_row import OUTCOMES

OVERHEAD_EDGES_US: Final = tuple(1 << power for power in range(3, 21))


class Totals:
    """One version since this process started."""

    __slots__ = ("bins", "exchanges", "excluded", "fallbacks", "model", "outcomes", "retries", "version")

    def __init__(self, model: ModelName, version: VersionName) -> None:
        self.model = model
        self.version = version
        self.exchanges = 0
        self.excluded = 0
        self.retries = 0
        self.fallbacks = 0
        self.outcomes = [0] * len(OUTCOMES)
        self.bins: dict[int, int] = {}

    @property
    def in_flight(self) -> int:
        return self.exchanges - sum(self.outcomes)

    def copy(self) -> "VersionTotals":
        return VersionTotals(
            self.model,
            self.version,
            dict(zip(OUTCOMES, self.outcomes, strict=True)),
            self.excluded,
            self.retries,
            self.fallbacks,
            self.in_flight,
            dict(self.bins),
        )


@dataclass(frozen=True, slots=True)
class VersionTotals:
    """A copy of one version's totals since this process started.

    Attributes:
        excluded: Exchanges served without a coin.
        retries: Second attempts on a fresh connection to the same version.
        fallbacks: Exchanges of this version that stable served instead.
        latency_bins: As in a tally, see app.domain.stats.latency_histogram.
    """

    model: ModelName
    version: VersionName
    outcomes: dict[Outcome, int]
    excluded: int
    retries: int
    fallbacks: int
    in_flight: int
    latency_bins: dict[int, int]


@dataclass(frozen=True, slots=True)
class TotalsSinceStart:
    """Everything this process counted since it started.

    Attributes:
        overhead_edges_us: Upper edges of the overhead histogram's bins; the last bin has none.
        overhead_counts: One more than edges: how often the gateway itself took so long between
            reading a request and handing it to the upstream's connection.
        overhead_sum_us: Sum of those times.
        lost_exchanges: Of rows that were dropped because memory for rows was full.
        journal_up: Whether what ends now survives a kill; None without a journal.
    """

    versions: tuple[VersionTotals, ...]
    overhead_edges_us: tuple[int, ...]
    overhead_counts: tuple[int, ...]
    overhead_sum_us: float
    lost_exchanges: int = 0
    journal_up: bool | None = None


def overhead_counts(by_bits: list[int]) -> tuple[int, ...]:
    """Counts by bit length of the microseconds, folded to the published edges."""
    first = OVERHEAD_EDGES_US[0].bit_length()
    last = OVERHEAD_EDGES_US[-1].bit_length()
    return (sum(by_bits[:first]), *by_bits[first:last], sum(by_bits[last:]))
