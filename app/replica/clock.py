"""Database time without asking the database."""

from collections.abc import Callable
from datetime import datetime

# Times travel as microseconds; bounds that miss each other by no more than rounding agree.
_ROUNDING_S = 1e-5


class DatabaseClock:
    """The monotonic clock plus a measured offset.

    Until the first measurement it is the wall clock. From then on it never runs backwards: while it
    is ahead of the database it runs at half speed.
    """

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        """Args: wall: Unix seconds, used until the first measurement; monotonic: seconds."""
        self._wall = wall
        self._monotonic = monotonic
        # The offset lies between these two; every round trip narrows them.
        self._least = float("-inf")
        self._greatest = float("inf")
        self._read_at = float("-inf")
        self._last = float("-inf")

    @property
    def measured(self) -> bool:
        """Whether the database was ever heard."""
        return self._least > float("-inf")

    def monotonic(self) -> float:
        return self._monotonic()

    def now(self) -> float:
        """Unix seconds in database time."""
        if not self.measured:
            return self._wall()
        reading = self._monotonic()
        now = reading + (self._least + self._greatest) / 2
        if now < self._last:
            now = self._last + (reading - self._read_at) / 2
        self._read_at, self._last = reading, now
        return now

    def observe(self, sent: float, received: float, at: datetime) -> None:
        """Learn from one round trip: monotonic before and after, and what the database's clock said between."""
        least, greatest = at.timestamp() - received, at.timestamp() - sent
        if max(least, self._least) > min(greatest, self._greatest) + _ROUNDING_S:
            # The clocks drifted apart or the database's was set: what was learnt before is wrong by now.
            self._least, self._greatest = least, greatest
        else:
            self._least, self._greatest = max(least, self._least), min(greatest, self._greatest)
