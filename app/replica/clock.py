"""Database time without asking the database."""

from collections.abc import Callable
from datetime import datetime


class DatabaseClock:
    """The monotonic clock plus a measured offset; once measured, it never runs backwards."""

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        """Args: wall: Unix seconds, used until the first measurement; monotonic: seconds."""
        self._wall = wall
        self._monotonic = monotonic

    def monotonic(self) -> float:
        return self._monotonic()

    def now(self) -> float:
        """Unix seconds in database time."""
        raise NotImplementedError

    def second(self) -> int:
        """The whole second tallies are counted under."""
        return int(self.now())

    def observe(self, sent: float, received: float, at: datetime) -> None:
        """Learn from one round trip: monotonic before and after, and what the database's clock said between."""
        raise NotImplementedError
