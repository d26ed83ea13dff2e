"""Whether a client sends its body and reads its answer fast enough, looked at once per sweep.

Rule: time counts against a client only while it is its turn; what it moved meanwhile is taken off again,
at the rate it owes.
"""


class Pace:  # ADR 0061
    """How far one client is behind.

    Attributes:
        behind_s: Seconds of the owed rate that are missing.
    """

    __slots__ = ("_at", "_moved", "behind_s")

    def __init__(self) -> None:
        self._at = 0.0
        self._moved = 0
        self.behind_s = 0.0

    def look(self, now: float, moved: int, owed_bytes_s: float) -> None:
        """It has been the client's turn since the last look, or becomes it now.

        Args:
            now: The monotonic clock's reading.
            moved: Bytes that have been sent or read in all.
            owed_bytes_s: Bytes per second it has to move.
        """
        if self._at:
            self.behind_s = max(0.0, self.behind_s + now - self._at - (moved - self._moved) / owed_bytes_s)
        self._at = now
        self._moved = moved

    def rest(self) -> None:
        """It is not the client's turn."""
        self._at = 0.0

    def restart(self) -> None:
        """Another message begins."""
        self._at = self.behind_s = 0.0
