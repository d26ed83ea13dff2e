"""Whether one loop's work with Postgres gets done, told once for each change.

Rule: a failure counts at once, a return only when it has lasted; so what fails now and then is one spell, not many.
"""

from collections.abc import Callable
from typing import Final

import structlog

from app.errors import DatabaseUnavailable, OutcomeUnknown
from app.store.pg.complaints import complaint

# So long all must go well before a spell is over.
RETURNED_AFTER_S: Final = 2.0

log = structlog.get_logger()


class Contact:  # ADR 0132
    """What one loop found at its last tries.

    Attributes:
        loop: Whose it is.
        up: Whether it works; None before the first try.
        why: What the last failure of the present spell said; empty when there is none.
        worked_at: When it last worked; None if it never did.
    """

    def __init__(self, loop: str, monotonic: Callable[[], float], *, lost: str, returned: str) -> None:
        """Args: loop: Whose; lost, returned: The events that tell of a change."""
        self.loop = loop
        self._monotonic = monotonic
        self._lost, self._returned = lost, returned
        self._failing_since = 0.0
        self._well_since: float | None = None
        self.up: bool | None = None
        self.why = ""
        self.worked_at: float | None = None

    @property
    def failing_s(self) -> float | None:
        """How long the present spell lasts; None when there is none."""
        return self._monotonic() - self._failing_since if self.up is False else None

    def works(self) -> None:
        """It worked now."""
        now = self.worked_at = self._monotonic()
        if self.up is not False:
            self.up = True
            return
        if self._well_since is None:
            self._well_since = now
        if now - self._well_since >= RETURNED_AFTER_S:
            log.warning(self._returned, loop=self.loop, after_s=round(now - self._failing_since, 1))
            self.up, self.why = True, ""

    def failed(self, error: Exception) -> None:
        """It did not work now, whatever was raised."""
        self._well_since = None
        self.why = complaint(error)
        if self.up is False:
            return
        self.up = False
        self._failing_since = self._monotonic()
        if isinstance(error, DatabaseUnavailable | OutcomeUnknown):
            log.warning(self._lost, loop=self.loop, why=self.why)
        else:
            # Nobody foresaw it, so the trace is wanted.
            log.error(self._lost, loop=self.loop, why=self.why, exc_info=error)
