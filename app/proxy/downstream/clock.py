"""How long one client has for what it is about, and how fast it has to be meanwhile.

Rule: the clock decides nothing and ends nothing; it says what is late, and its connection acts.
"""

from app.proxy.bounds.client_pace import Pace
from app.proxy.bounds.limits import Limits


class ClientClock:
    """The deadlines and the pace of one client connection.

    Attributes:
        since: When its present state began, on the monotonic clock; 0 until a sweep sees it.
    """

    __slots__ = ("_drained", "_limits", "_read_pace", "_send_pace", "_unread_before", "since")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._send_pace, self._read_pace = Pace(), Pace()
        # Bytes the client has read in all, and those it had still to read at the last look.
        self._drained = self._unread_before = 0
        self.since = 0.0

    def waited_s(self, now: float) -> float:
        """How long the present state has lasted; it begins at the first look."""
        if self.since == 0.0:
            self.since = now
        return now - self.since

    # ------------------------------------------------------------------ what the client sends

    def await_body(self, started: float) -> None:
        """Some of a body is still to come."""
        self.since = started
        self._send_pace.restart()

    def look_at_upload(self, now: float, received: int, *, is_paused: bool) -> str | None:
        """A body is on its way: one sentence when it is late or too slow, else None.

        Args:
            now: The monotonic clock's reading.
            received: Bytes of bodies so far.
            is_paused: Whether this side has stopped reading, so that it is not the client's turn.
        """
        limits = self._limits
        if is_paused:
            self._send_pace.rest()
        else:
            self._send_pace.look(now, received, limits.body_bytes_s)
        if now - self.since > limits.request_s:
            return f"it has to arrive within {limits.request_s:g} s"
        if self._send_pace.behind_s > limits.client_idle_s:
            return f"a body has to come with {limits.body_bytes_s} bytes a second"
        return None

    # ------------------------------------------------------------------ what the client reads

    def has_drained(self) -> None:
        """The client has read from its limit to a quarter of it, where a transport tells to go on."""
        self._drained += self._limits.client_unread_bytes * 3 // 4
        self._unread_before = 0

    def rest_reading(self) -> None:
        """It is not the client's turn to read."""
        self._read_pace.rest()

    def reads_too_slowly(self, now: float, unread: int) -> bool:
        """The client has more to read than is held for it: whether it is too far behind.

        Args:
            now: The monotonic clock's reading.
            unread: Bytes that were written and not taken.
        """
        limits = self._limits
        self._drained += max(0, self._unread_before - unread)
        self._unread_before = unread
        self._read_pace.look(now, self._drained, limits.answer_bytes_s)
        return self._read_pace.behind_s > limits.client_idle_s
