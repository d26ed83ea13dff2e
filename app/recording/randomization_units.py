"""Units (sticky callers): whose first exchange this is, and which first exchanges Postgres lacks.

Rule: a unit's exchange is its first when it is drawn, not when it ends, so that a slow arm's are
not passed over for quicker ones.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from app.domain.catalog.models import ModelName
from app.domain.evidence.tally import UnitRow

UNITS_MAX: Final = 200_000
"""Units followed per model and salt; beyond, no new ones, whatever their arm."""
UNITS_PER_FLUSH: Final = 2_000

UnitKey = tuple[ModelName, int, int]


class FirstExchanges:  # ADR 0035
    """The units seen since each model's salt was made."""

    __slots__ = ("_most", "_seen", "_waiting")

    def __init__(self, most: int = UNITS_MAX) -> None:
        """Args: most: Units followed per model."""
        self._most = most
        self._seen: dict[ModelName, tuple[int, set[int]]] = {}
        self._waiting: dict[UnitKey, UnitRow] = {}

    def __len__(self) -> int:
        """How many first exchanges Postgres is not known to have."""
        return len(self._waiting)

    def is_first(self, model: ModelName, salted_at: int, unit: int) -> bool:
        """Whether a draw is the unit's first that is followed; True once. A new salt forgets the old one's units."""
        known = self._seen.get(model)
        if known is None or known[0] != salted_at:
            known = self._seen[model] = (salted_at, set())
        seen = known[1]
        if unit in seen or len(seen) >= self._most:
            return False
        seen.add(unit)
        return True

    def ended(self, row: UnitRow) -> None:
        """A first exchange has ended so."""
        self._waiting[row.model, row.salted_at, row.unit] = row

    def waiting(self) -> tuple[UnitRow, ...]:
        return tuple(self._waiting.values())

    def next_flush(self, most: int) -> tuple[tuple[UnitRow, ...], int | None]:
        """What to hand out, and the oldest second of what is left out; None when that is nothing."""
        rows = tuple(islice(self._waiting.values(), most))
        left_out = (row.second for row in islice(self._waiting.values(), most, None))
        return rows, min(left_out, default=None)

    def acknowledge(self, rows: Iterable[UnitRow]) -> None:
        for row in rows:
            self._waiting.pop((row.model, row.salted_at, row.unit), None)
