"""What one exchange adds to the tallies: a draw, a latency, an outcome, each once.

Rule: an exchange counts for the arm that was drawn, in the second it was drawn in; what an arm
serves without a coin is no evidence and is only counted as excluded.
"""

from app.domain.histogram import latency_bin
from app.domain.tally import TallyKey
from app.proxy.recorder import Cell, Recorder
from app.proxy.routes import Arm


class Counted:
    """The accounts of one exchange, from its draw to its end.

    Attributes:
        arm: The version that serves it now.
    """

    __slots__ = ("_cell", "_drawn", "_latency_told", "_recorder", "arm")

    def __init__(self, recorder: Recorder, arm: Arm, drawn: float) -> None:
        """Nothing is counted yet.

        Args:
            recorder: Where counts go.
            arm: A version to begin with.
            drawn: When the exchange was drawn, on the monotonic clock.
        """
        self._recorder = recorder
        self._drawn = drawn
        self._cell: Cell | None = None
        self._latency_told = False
        self.arm = arm

    @property
    def is_evidence(self) -> bool:
        """Whether a coin assigned the arm and the outcome is still open."""
        return self._cell is not None

    def count_draw(self, arm: Arm, _unit: int = 0, _salted_at: int = 0) -> None:
        """The coin fell on this arm."""
        self.arm = arm
        self._cell = cell = self._current_cell(arm, self._drawn)
        cell.exchanges += 1
        arm.totals.exchanges += 1

    def count_excluded(self, arm: Arm, now: float) -> None:
        """This arm serves without a coin."""
        self.arm = arm
        self._current_cell(arm, now).excluded += 1
        arm.totals.excluded += 1

    def count_latency(self, now: float) -> None:
        """The head has come, or so long it has taken at least; the first call counts."""
        if self._latency_told:
            return
        self._latency_told = True
        cell = self._cell
        if cell is not None:
            index = latency_bin((now - self._drawn) * 1e6)
            bins = cell.bins
            bins[index] = bins.get(index, 0) + 1
            bins = self.arm.totals.bins
            bins[index] = bins.get(index, 0) + 1

    def count_outcome(self, outcome: int, now: float) -> None:
        """How it ended, by position in OUTCOMES; the first call counts."""
        cell = self._cell
        if cell is not None:
            if not self._latency_told:
                self.count_latency(now)
            self._cell = None
            cell.outcomes[outcome] += 1
            self.arm.totals.outcomes[outcome] += 1

    def _current_cell(self, arm: Arm, now: float) -> Cell:
        recorder = self._recorder
        if now >= recorder.second_ends:
            recorder.tell_second(now)
        cell = arm.cell
        if cell is None or arm.cell_second != recorder.second:
            key = TallyKey(recorder.second, arm.model, arm.generation, arm.version)
            cell = arm.cell = recorder.cell(key)
            arm.cell_second = recorder.second
        return cell
