"""What was read and Postgres is not known to have: counts and distributions by arm and second, answers one by one.

Rule: counts are absolute and are forgotten only once they are acknowledged and final; when too many wait, those
that Postgres cannot have are merged by the minute, then by the hour, and of answers the oldest are dropped.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final, Generic, TypeVar

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.observed import SPREAD_S, AnsweredRow, ObservedFlush, ObservedRow, SpreadRow
from app.domain.evidence.tally import TallyKey
from app.proxy.observing.rows import ObservedCell, SpreadCell

ROWS_PER_FLUSH: Final = 2_000
ANSWERS_PER_FLUSH: Final = 10_000
ANSWERS_MAX: Final = 200_000
# Values, texts and numbers, of all answers that wait: a batch has up to 2,000.
VALUES_MAX: Final = 2_000_000
MERGE_ABOVE: Final = 5_000
_MERGE_STEP: Final = 500
_STEPS_S: Final = (60, 3_600)

_Key = tuple[int, ModelName, int, VersionName]


_C = TypeVar("_C", ObservedCell, SpreadCell)


class _Cells(Generic[_C]):
    """Rows of one kind by key."""

    __slots__ = ("_by_key", "_merge_above", "_of", "_width_s")

    def __init__(self, of: type[_C], width_s: int) -> None:
        self._of: type[_C] = of
        self._width_s = width_s
        self._by_key: dict[_Key, _C] = {}
        self._merge_above = MERGE_ABOVE

    def cell(self, second: int, model: ModelName, generation: int, version: VersionName) -> _C:
        """The row of an arm in a second, made when there is none."""
        start = second - second % self._width_s
        key = (start, model, generation, version)
        cell = self._by_key.get(key)
        if cell is None:
            if len(self._by_key) >= self._merge_above:
                self._merge()
            cell = self._by_key[key] = self._of(TallyKey(*key))
        return cell

    def _merge(self) -> None:
        """Make fewer, wider rows of those that Postgres cannot have."""
        for step_s in _STEPS_S:
            merged: dict[_Key, _C] = {}
            firsts: dict[_Key, _C] = {}
            for second, model, generation, version in sorted(self._by_key):
                key, place = (second, model, generation, version), (second // step_s, model, generation, version)
                cell = self._by_key[key]
                if cell.is_handed_out:
                    merged[key] = cell
                elif place in firsts:
                    firsts[place].take_over(cell)
                else:
                    firsts[place] = merged[key] = cell
            self._by_key = merged
            if len(merged) <= MERGE_ABOVE // 2:
                break
        self._merge_above = max(MERGE_ABOVE, len(self._by_key) + _MERGE_STEP)

    def changed(self) -> list[_C]:
        """Rows of which Postgres lacks something, oldest first."""
        return sorted((cell for cell in self._by_key.values() if cell.sequence > cell.acknowledged), key=_second_of)

    def acknowledge(self, rows: Iterable[ObservedRow | SpreadRow], final: int) -> None:
        """These are in Postgres; forget what can no longer change.

        Args:
            final: The last second whose exchanges have all ended and were read.
        """
        for row in rows:
            of = row.key
            cell = self._by_key.get((of.second, of.model, of.generation, of.version))
            if cell is not None:
                cell.acknowledged = max(cell.acknowledged, row.sequence)
        # A row may become final long after its last change was acknowledged.
        over = [
            key
            for key, cell in self._by_key.items()
            if cell.acknowledged == cell.sequence and key[0] + self._width_s - 1 <= final
        ]
        for key in over:
            del self._by_key[key]

    def __len__(self) -> int:
        return len(self._by_key)


def _second_of(cell: ObservedCell | SpreadCell) -> int:
    return cell.key.second


class WaitingRows:
    """All rows of one process.

    Attributes:
        observed, spreads: Counts and distributions.
        dropped: Answers that were given up because too many waited.
    """

    __slots__ = ("_answers", "_values", "dropped", "observed", "spreads")

    def __init__(self) -> None:
        self.observed = _Cells(ObservedCell, 1)
        self.spreads = _Cells(SpreadCell, SPREAD_S)
        self._answers: deque[AnsweredRow] = deque()
        self._values = 0
        self.dropped = 0

    def __len__(self) -> int:
        """How many rows Postgres is not known to have."""
        return len(self.observed.changed()) + len(self.spreads.changed()) + len(self._answers)

    def keep(self, answer: AnsweredRow) -> None:
        """Keep an answer, at the cost of the oldest."""
        self._answers.append(answer)
        self._values += _values_of(answer)
        while len(self._answers) > ANSWERS_MAX or self._values > VALUES_MAX:
            self._forget_oldest()
            self.dropped += 1

    def _forget_oldest(self) -> None:
        self._values -= _values_of(self._answers.popleft())

    def flush(self) -> ObservedFlush:
        """What to write next, oldest first."""
        observed = tuple(cell.handed_out() for cell in self.observed.changed()[:ROWS_PER_FLUSH])
        spreads = tuple(cell.handed_out() for cell in self.spreads.changed()[:ROWS_PER_FLUSH])
        return ObservedFlush(observed, spreads, tuple(islice(self._answers, ANSWERS_PER_FLUSH)))

    def left_out(self) -> int | None:
        """The first second of which the next flush will lack a count or a distribution; None when it lacks none."""
        observed = self.observed.changed()[ROWS_PER_FLUSH:]
        spreads = self.spreads.changed()[ROWS_PER_FLUSH:]
        return min((cell.key.second for cells in (observed, spreads) for cell in cells[:1]), default=None)

    def acknowledge(self, flush: ObservedFlush, final: int) -> None:
        """The flush is in Postgres; `final` as in `_Cells.acknowledge`."""
        self.observed.acknowledge(flush.observed, final)
        self.spreads.acknowledge(flush.spreads, final)
        for answer in flush.answers:
            # Others were dropped since.
            if self._answers and self._answers[0] is answer:
                self._forget_oldest()


def _values_of(answer: AnsweredRow) -> int:
    return len(answer.predictions) + len(answer.scores) + len(answer.slices)
