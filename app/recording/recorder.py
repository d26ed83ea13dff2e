"""Tallies in memory: what each arm did, by the second in which it was drawn.

Rule: counts only grow and a row is forgotten only when it was acknowledged, nothing of its second
is undecided and its second is over; so no count is lost while Postgres is away. When too many rows
wait, they are merged into wider ones before any is dropped.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Counter, Flush, TallyKey, TallyRow, Watermark
from app.recording.arm import Arm
from app.recording.checkpoint import Checkpoint
from app.recording.coarsening import coarsened, is_mergeable
from app.recording.journal_port import JournalPort
from app.recording.journal_record import COUNTED, COUNTER_AT, OPENED, ArmName, pack_body
from app.recording.randomization_units import UNITS_PER_FLUSH, FirstExchanges
from app.recording.tally_row import (
    CANCELLED,
    CLIENT_ERROR,
    CONNECT_ERROR,
    OK,
    OUTCOMES,
    OVERLOADED,
    TIMEOUT,
    UPSTREAM_ERROR,
    Cell,
)
from app.recording.totals import OVERHEAD_EDGES_US, Totals, TotalsSinceStart, overhead_counts

__all__ = [
    "CANCELLED",
    "CLIENT_ERROR",
    "CONNECT_ERROR",
    "MAX_ROWS",
    "OK",
    "OUTCOMES",
    "OVERLOADED",
    "TIMEOUT",
    "UPSTREAM_ERROR",
    "OpenExchange",
    "Recorder",
]

MAX_ROWS: Final = 2_000
COARSEN_ABOVE: Final = 20_000
DROP_ABOVE: Final = 40_000
# Coarsening again is worth it only when so many rows came since.
_COARSEN_STEP: Final = 1_000


class OpenExchange(Protocol):
    """What a checkpoint must know of an exchange that has not ended."""

    @property
    def told_while_open(self) -> tuple[TallyKey, int] | None: ...


class Recorder:
    """Counts exchanges by draw second.

    Attributes:
        second: The second draws are counted in, in database time; never goes back once rows were handed out.
        second_ends: When to look at the database clock again, on the monotonic clock.
        journal: Where each end is written down; None counts in memory only.
        units: First exchanges of sticky callers.
        is_held: Whether nothing is handed out, because rows are being merged.
        lost_exchanges: Of rows that were dropped.
    """

    __slots__ = (
        "_cells",
        "_clock",
        "_coarsen_above",
        "_handed_out",
        "_monotonic",
        "_open_exchanges",
        "_totals",
        "coarsen_above",
        "drop_above",
        "is_held",
        "journal",
        "lost_exchanges",
        "overhead",
        "overhead_us",
        "second",
        "second_ends",
        "units",
    )

    def __init__(
        self,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        open_exchanges: Callable[[], Iterable[OpenExchange]] = tuple,
        *,
        coarsen_above: int = COARSEN_ABOVE,
        drop_above: int = DROP_ABOVE,
    ) -> None:
        """Count nothing yet.

        Args:
            clock: Unix seconds in database time.
            monotonic: Seconds.
            open_exchanges: All that were drawn and have not ended.
            coarsen_above: So many rows may wait before they are merged.
            drop_above: So many may wait before the oldest are dropped.
        """
        self._clock = clock
        self._monotonic = monotonic
        self._cells: dict[TallyKey, Cell] = {}
        self._totals: dict[tuple[ModelName, VersionName], Totals] = {}
        self._handed_out = False
        self._coarsen_above = coarsen_above
        self.coarsen_above = coarsen_above
        self.drop_above = drop_above
        self.journal: JournalPort | None = None
        self.units = FirstExchanges()
        self._open_exchanges = open_exchanges
        self.is_held = False
        self.lost_exchanges = 0
        self.second = -1
        self.second_ends = float("-inf")
        self.overhead = [0] * 64
        self.overhead_us = 0.0

    # ------------------------------------------------------------------ counting

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

    def current_cell(self, model: ModelName, generation: int, version: VersionName) -> Cell:
        """The row of an arm in the current second."""
        key = TallyKey(self.second, model, generation, version)
        cell = self._cells.get(key)
        if cell is None:
            number = 0 if self.journal is None else self.journal.number((model, generation, version))
            cell = self._cells[key] = Cell(key, number)
        return cell

    def count(self, arm: Arm, counters: Mapping[Counter, int], now: float) -> None:
        """Add to further counters of an arm, in the current second, whenever its exchange was drawn.

        Args:
            now: The monotonic clock's reading.
        """
        self.tell_second(now)
        cell = self.current_cell(arm.model, arm.generation, arm.version)
        for counter, amount in counters.items():
            cell.counters[counter] = cell.counters.get(counter, 0) + amount
            cell.counted += 1
            if self.journal is not None:
                self.journal.append(pack_body(COUNTED, COUNTER_AT[counter], 0, cell.number, cell.second, amount, 0))

    # ------------------------------------------------------------------ handing out

    @property
    def waiting(self) -> int:
        """Rows and units that Postgres is not known to have."""
        cells = self._cells.values()
        return len(self.units) + sum(
            cell.counts() != cell.collected or cell.sequence > cell.acknowledged for cell in cells
        )

    def collect(self) -> Flush:
        """Every row that changed since it was last acknowledged, oldest first, and what is final.

        To be called only when Postgres listens: a row that was handed out is never merged any more.
        At most MAX_ROWS rows; the watermark then ends before the first one left out.
        """
        self._look_at_clock()
        final = Watermark(self.second - 1, self.second - 1)
        changed: list[Cell] = []
        # What was acknowledged within its own second is over only now.
        self._cells = {key: cell for key, cell in self._cells.items() if not self._is_over(cell)}
        for cell in self._cells.values():
            counts = cell.counts()
            final = _before_undecided(final, cell, counts)
            if counts != cell.collected:
                cell.note_change(counts)
            if cell.sequence > cell.acknowledged:
                changed.append(cell)
        changed.sort(key=_second_of)
        most = 0 if self.is_held else MAX_ROWS
        for left_out in changed[most : most + 1]:
            final = _before(final, left_out.second)
        units, left_out_second = self.units.next_flush(0 if self.is_held else UNITS_PER_FLUSH)
        if left_out_second is not None:
            final = _before(final, left_out_second)
        return Flush(tuple(self._handed_out_row(cell) for cell in changed[:most]), final, units)

    def _handed_out_row(self, cell: Cell) -> TallyRow:
        if not cell.handed_out:
            cell.handed_out = True
            if self.journal is not None and not cell.records:
                # A recovery has to know every row that Postgres may have, to take back draws that never ended.
                self.journal.append(pack_body(OPENED, 0, 0, cell.number, cell.second, 0, 0))
        return cell.live_row()

    def _look_at_clock(self) -> None:
        """Tell the second anew; the first time it may go back, as it was told before the database was heard."""
        if not self._handed_out:
            self._handed_out = True
            self.second = -1
        self.second_ends = float("-inf")
        self.tell_second(self._monotonic())

    def acknowledge(self, flush: Flush) -> None:
        """The flush is in Postgres: forget what can no longer change."""
        self.units.acknowledge(flush.units)
        for row in flush.rows:
            cell = self._cells.get(row.key)
            if cell is None:
                continue
            cell.acknowledged = max(cell.acknowledged, row.sequence)
            if self._is_over(cell):
                del self._cells[row.key]

    def _is_over(self, cell: Cell) -> bool:
        """Whether Postgres has the row and nothing can change it any more."""
        is_known = cell.acknowledged == cell.sequence and cell.second < self.second
        return is_known and cell.counts() == cell.collected and cell.is_decided

    # ------------------------------------------------------------------ for the journal

    def checkpoint(self) -> Checkpoint:
        """All that has ended and may be unknown to Postgres, at this instant."""
        open_bins: dict[TallyKey, dict[int, int]] = {}
        for exchange in self._open_exchanges():
            told = exchange.told_while_open
            if told is not None:
                bins = open_bins.setdefault(told[0], {})
                bins[told[1]] = bins.get(told[1], 0) + 1
        cells = (
            cell if cell.second < self.second and cell.is_decided else cell.only_ended(open_bins.get(cell.key, {}))
            for cell in self._cells.values()
        )
        return Checkpoint(tuple(cells), self.units.waiting())

    def arms(self) -> set[ArmName]:
        """Whose rows are still kept."""
        return {(key.model, key.generation, key.version) for key in self._cells}

    @property
    def wants_coarsening(self) -> bool:
        """Whether so many rows wait that some should be merged."""
        return len(self._cells) > self._coarsen_above

    def coarsen(self) -> None:
        """Merge rows that Postgres cannot have; drop the oldest only when that does not help.

        Rows of the time before and rows of the time after must never meet in Postgres: until a
        checkpoint knows the merged ones, `is_held` has to be set.
        """
        self._cells = coarsened(self._cells.values(), self.second, self.coarsen_above // 2)
        self.drop_oldest()
        self._coarsen_above = max(self.coarsen_above, len(self._cells) + _COARSEN_STEP)

    def drop_oldest(self) -> None:
        """Give up the oldest rows beyond the last limit, and count their exchanges as lost."""
        too_many = len(self._cells) - self.drop_above
        if too_many <= 0:
            return
        droppable = sorted((cell for cell in self._cells.values() if is_mergeable(cell, self.second)), key=_second_of)
        for cell in droppable[:too_many]:
            del self._cells[cell.key]
            self.lost_exchanges += cell.exchanges

    # ------------------------------------------------------------------ figures

    def since_start(self) -> TotalsSinceStart:
        """A copy of all totals; cheap enough for every scrape."""
        return TotalsSinceStart(
            tuple(totals.copy() for totals in self._totals.values()),
            OVERHEAD_EDGES_US,
            overhead_counts(self.overhead),
            self.overhead_us,
            self.lost_exchanges,
            None if self.journal is None else self.journal.is_up,
        )


def _second_of(cell: Cell) -> int:
    return cell.second


def _before(final: Watermark, second: int) -> Watermark:
    return Watermark(min(final.status, second - 1), min(final.latency, second - 1))


def _before_undecided(final: Watermark, cell: Cell, counts: tuple[int, ...]) -> Watermark:
    """The watermark, not above what is still open in this row."""
    exchanges, ended, told = counts[:3]
    status = final.status if ended == exchanges else min(final.status, cell.second - 1)
    latency = final.latency if told == exchanges else min(final.latency, cell.second - 1)
    return final if (status, latency) == (final.status, final.latency) else Watermark(status, latency)
