"""Room for labels that wait for their exchange, as far as one process knows it.

Labels without a key come from anybody, so that nobody among them may keep the others out: where no room is
left, the one that has waited longest gives way. Theirs name exchanges that were; a row comes within seconds.

Rule: Postgres is asked once a second at most and only when something is to wait; what others have let wait
since is not known, so that the bound may be passed by what they take in a second.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.domain.catalog.models import ModelName
from app.domain.evidence.labels import ANONYMOUS
from app.store.labels import pending
from app.store.pg.database import Transaction

ASKED_EVERY_S: Final = 1.0


@dataclass(slots=True)
class _Known:
    at: float
    room: int


class Room:
    """How many more labels of each source may wait."""

    def __init__(self, monotonic: Callable[[], float], gave_way: Callable[[ModelName], None]) -> None:
        """Args: monotonic: seconds; gave_way: hears the model of each label that gave its place."""
        self._monotonic = monotonic
        self._gave_way = gave_way
        self._of: dict[str, _Known] = {}

    async def take(self, tx: Transaction, source: str, wanted: int) -> int:
        """Room for so many labels, or less; 0 when there is none."""
        now = self._monotonic()
        known = self._of.get(source)
        if known is None or now >= known.at + ASKED_EVERY_S:
            known = self._of[source] = _Known(now, max(0, await pending.room(tx, source)))
        taken = min(wanted, known.room)
        known.room -= taken
        if taken < wanted and source == ANONYMOUS:
            gone = await pending.give_way(tx, source, most=wanted - taken)
            taken += len(gone)
            for model in gone:
                self._gave_way(model)
        return taken
