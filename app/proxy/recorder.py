"""Tallies in memory: what each arm did, by the second in which it was drawn.

Rule: counts only grow and a row is forgotten only when it was acknowledged, nothing of its second
is undecided and its second is over; so no count is lost while Postgres is away.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.domain.catalog import ModelName, VersionName
from app.domain.tally import Counter, Flush, Outcome, Tally, TallyKey, TallyRow, Watermark

if TYPE_CHECKING:
    from app.proxy.routes import Arm

OUTCOMES: Final = tuple(Outcome)
OK, CLIENT_ERROR, UPSTREAM_ERROR, CONNECT_ERROR, TIMEOUT, OVERLOADED, CANCELLED = range(len(OUTCOMES))
MAX_ROWS: Final = 5_000
OVERHEAD_EDGES_US: Final = tuple(1 << power for power in range(3, 21))


class Cell:
    """One row that is being counted; outcomes by position in OUTCOMES."""

    __slots__ = (
        "acknowledged",
        "bins",
        "collected",
        "counters",
        "exchanges",
        "excluded",
        "further",
        "key",
        "outcomes",
        "sequence",
    )

    def __init__(self, key: TallyKey) -> None:
        self.key = key
        self.exchanges = 0
        self.excluded = 0
        self.outcomes = [0] * len(OUTCOMES)
        self.bins: dict[int, int] = {}
        self.counters: dict[Counter, int] = {}
        self.further = 0
        self.sequence = 0
        self.acknowledged = 0
        self.collected = (0, 0, 0, 0, 0)

    def counts(self) -> tuple[int, int, int, int, int]:
        """Sums that grow with every change: draws, ends, latencies, excluded, further counts."""
        return (self.exchanges, sum(self.outcomes), sum(self.bins.values()), self.excluded, self.further)

    def row(self) -> TallyRow:
        outcomes = {outcome: count for outcome, count in zip(OUTCOMES, self.outcomes, strict=True) if count}
        tally = Tally(self.exchanges, outcomes, self.excluded, dict(self.bins), dict(self.counters))
        return TallyRow(self.key, tally, self.sequence)


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


@dataclass(frozen=True, slots=True)
class VersionTotals:
    """A copy of one version's totals since this process started.

    Attributes:
        excluded: Exchanges served without a coin.
        retries: Second attempts on a fresh connection to the same version.
        fallbacks: Exchanges of this version that stable served instead.
        latency_bins: As in a tally, see app.domain.histogram.
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
    """

    versions: tuple[VersionTotals, ...]
    overhead_edges_us: tuple[int, ...]
    overhead_counts: tuple[int, ...]
    overhead_sum_us: float


class Recorder:
    """Counts exchanges by draw second.

    Attributes:
        second: The second draws are counted in, in database time; never goes back.
        second_ends: When to look at the database clock again, on the monotonic clock.
    """

    __slots__ = ("_cells", "_clock", "_monotonic", "_totals", "overhead", "overhead_us", "second", "second_ends")

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._cells: dict[TallyKey, Cell] = {}
        self._totals: dict[tuple[ModelName, VersionName], Totals] = {}
        self.second = -1
        self.second_ends = float("-inf")
        self.overhead = [0] * 64
        self.overhead_us = 0.0

    def totals(self, model: ModelName, version: VersionName) -> Totals:
        """The counters of one version, the same object for as long as this process lives."""
        key = (model, version)
        totals = self._totals.get(key)
        if totals is None:
            totals = self._totals[key] = Totals(model, version)
        return totals

    def tell_second(self, now: float) -> int:
        """The current second in database time.

        Args:
            now: The monotonic clock's reading.
        """
        if now >= self.second_ends:
            seconds = self._clock()
            self.second = max(self.second, int(seconds))
            self.second_ends = now + 1.0 - seconds % 1.0
        return self.second

    def cell(self, key: TallyKey) -> Cell:
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = Cell(key)
        return cell

    def count(self, arm: "Arm", counters: Mapping[Counter, int], now: float) -> None:
        """Count what else is known of an arm, in the present second."""
        cell = self.cell(TallyKey(self.tell_second(now), arm.model, arm.generation, arm.version))
        for counter, count in counters.items():
            cell.counters[counter] = cell.counters.get(counter, 0) + count
        cell.further += 1

    def collect(self) -> Flush:
        """Every row that changed since it was last acknowledged, oldest first, and what is final.

        At most MAX_ROWS rows; the watermark then ends before the first one left out.
        """
        self.second_ends = float("-inf")
        second = self.tell_second(self._monotonic())
        status = latency = second - 1
        changed: list[Cell] = []
        for cell in self._cells.values():
            counts = cell.counts()
            if counts[1] < counts[0]:
                status = min(status, cell.key.second - 1)
            if counts[2] < counts[0]:
                latency = min(latency, cell.key.second - 1)
            if counts != cell.collected:
                cell.collected = counts
                cell.sequence += 1
            if cell.sequence > cell.acknowledged:
                changed.append(cell)
        changed.sort(key=_second_of)
        for left_out in changed[MAX_ROWS : MAX_ROWS + 1]:
            status = min(status, left_out.key.second - 1)
            latency = min(latency, left_out.key.second - 1)
        return Flush(tuple(cell.row() for cell in changed[:MAX_ROWS]), Watermark(status, latency))

    def acknowledge(self, flush: Flush) -> None:
        """The flush is in Postgres: forget what can no longer change."""
        for row in flush.rows:
            cell = self._cells.get(row.key)
            if cell is None:
                continue
            cell.acknowledged = max(cell.acknowledged, row.sequence)
            exchanges, ended, latencies, _, _ = counts = cell.counts()
            settled = counts == cell.collected and cell.acknowledged == cell.sequence
            if settled and ended == exchanges == latencies and row.key.second < self.second:
                del self._cells[row.key]

    def since_start(self) -> TotalsSinceStart:
        """A copy of all totals; cheap enough for every scrape."""
        return TotalsSinceStart(
            tuple(_copy(totals) for totals in self._totals.values()),
            OVERHEAD_EDGES_US,
            _overhead_counts(self.overhead),
            self.overhead_us,
        )


def _second_of(cell: Cell) -> int:
    return cell.key.second


def _copy(totals: Totals) -> VersionTotals:
    return VersionTotals(
        totals.model,
        totals.version,
        dict(zip(OUTCOMES, totals.outcomes, strict=True)),
        totals.excluded,
        totals.retries,
        totals.fallbacks,
        totals.in_flight,
        dict(totals.bins),
    )


def _overhead_counts(by_bits: list[int]) -> tuple[int, ...]:
    """Counts by bit length of the microseconds, folded to the published edges."""
    first = OVERHEAD_EDGES_US[0].bit_length()
    last = OVERHEAD_EDGES_US[-1].bit_length()
    return (sum(by_bits[:first]), *by_bits[first:last], sum(by_bits[last:]))
