"""What one exchange adds to the tallies: a draw, a latency, an outcome, each once.

Rule: an exchange counts for the arm that was drawn, in the second it was drawn in; what an arm
serves without a coin is no evidence and is only counted as excluded. The outcome is in the journal
when `count_outcome` returns, so it is told before the last byte of the answer is written.
"""

from app.domain.catalog.routing import NO_COIN
from app.domain.evidence.tally import TallyKey, UnitRow
from app.domain.stats.latency_histogram import latency_bin
from app.recording.arm import Arm
from app.recording.journal_record import ENDED, EXCLUDED, pack_body
from app.recording.recorder import Recorder
from app.recording.tally_row import CLIENT_ERROR, OUTCOMES, TIMEOUT, Cell

_UNTOLD = -1


class Accounting:
    """The accounts of one exchange, from its draw to its end.

    Attributes:
        arm: The version that serves it now.
        drawn: When that was drawn, on the monotonic clock.
        second: When that was decided, in database time; 0 while it is not.
        generation: The weight epoch of the coin that chose it; NO_COIN where none did.
    """

    __slots__ = ("_bin", "_cell", "_recorder", "_unit", "arm", "drawn", "generation", "second")

    def __init__(self, recorder: Recorder, arm: Arm, drawn: float) -> None:
        """Nothing is counted yet.

        Args:
            recorder: Where counts go.
            arm: A version to begin with.
            drawn: When the exchange was drawn, on the monotonic clock.
        """
        self._recorder = recorder
        self.drawn = drawn
        self._cell: Cell | None = None
        self._bin = _UNTOLD
        self._unit: tuple[int, int] | None = None
        self.arm = arm
        self.second = 0
        self.generation = NO_COIN

    @property
    def is_evidence(self) -> bool:
        """Whether a coin assigned the arm and the outcome is still open."""
        return self._cell is not None

    @property
    def told_while_open(self) -> tuple[TallyKey, int] | None:
        """The row and bin of a latency that was told before the end; None when there is no such thing."""
        cell = self._cell
        return None if cell is None or self._bin == _UNTOLD else (cell.key, self._bin)

    def count_draw(self, arm: Arm, unit: int = 0, salted_at: int = 0) -> None:
        """The coin fell on this arm.

        Args:
            unit: The sticky caller, a keyed hash of 64 bits, signed.
            salted_at: The generation that made the hash's salt, 1 or more; 0 when there is no unit.
        """
        self.arm = arm
        self._cell = cell = self._current_cell(arm, self.drawn)
        self.second = cell.second
        self.generation = arm.generation
        cell.exchanges += 1
        arm.totals.exchanges += 1
        if salted_at and self._recorder.units.is_first(arm.model, salted_at, unit):
            self._unit = (unit, salted_at)

    def count_excluded(self, arm: Arm, now: float) -> None:
        """This arm serves without a coin."""
        self.arm = arm
        cell = self._current_cell(arm, now)
        self.second = cell.second
        self.generation = NO_COIN
        cell.excluded += 1
        arm.totals.excluded += 1
        journal = self._recorder.journal
        if journal is not None:
            journal.append(pack_body(EXCLUDED, 0, 0, cell.number, cell.second, 0, 0))

    def count_latency(self, now: float) -> None:  # ADR 0011
        """The head has come, or so long it has taken at least; the first call counts."""
        cell = self._cell
        if cell is not None and self._bin == _UNTOLD:
            self._bin = index = latency_bin((now - self.drawn) * 1e6)
            bins = cell.bins
            bins[index] = bins.get(index, 0) + 1
            bins = self.arm.totals.bins
            bins[index] = bins.get(index, 0) + 1

    def count_outcome(self, outcome: int, now: float) -> None:
        """How it ended, by position in OUTCOMES; the first call counts."""
        cell = self._cell
        if cell is None:
            return
        if self._bin == _UNTOLD:
            self.count_latency(now)
        self._cell = None
        cell.outcomes[outcome] += 1
        self.arm.totals.outcomes[outcome] += 1
        if CLIENT_ERROR < outcome < TIMEOUT:
            self.arm.errors += 1
        if self._unit is not None:
            self._count_unit(self._unit, cell, outcome)
            return
        journal = self._recorder.journal
        # Last, because a full segment makes a checkpoint of all that was counted.
        if journal is not None:
            journal.append(pack_body(ENDED, outcome, self._bin, cell.number, cell.second, 0, 0))

    def _count_unit(self, of: tuple[int, int], cell: Cell, outcome: int) -> None:
        """The same, of a unit's first exchange."""
        unit, salted_at = of
        key = cell.key
        self._recorder.units.ended(
            UnitRow(key.model, salted_at, unit, key.second, key.generation, key.version, OUTCOMES[outcome], self._bin)
        )
        journal = self._recorder.journal
        if journal is not None:
            journal.append(pack_body(ENDED, outcome, self._bin, cell.number, cell.second, unit, salted_at))

    def _current_cell(self, arm: Arm, now: float) -> Cell:
        recorder = self._recorder
        if now >= recorder.second_ends:
            recorder.tell_second(now)
        cell = arm.cell
        if cell is None or arm.cell_second != recorder.second:
            cell = arm.cell = recorder.current_cell(arm.model, arm.generation, arm.version)
            arm.cell_second = recorder.second
        return cell
