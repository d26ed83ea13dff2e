"""The end of a process that must come, whatever its event loop or its worker threads are stuck in (ADR 0133)."""

import os
import sys
import threading
from collections.abc import Callable

import structlog

# A log that nobody reads must not hold up the end.
_LAST_WORDS_S = 0.5

log = structlog.get_logger()


class Deadline:
    """Ends the process by force when it has not ended by itself; in a thread, which nothing else can hold up."""

    def __init__(self, end: Callable[[int], object] = os._exit) -> None:
        """No deadline yet. Args: end: Ends the process at once with a status."""
        self._end = end
        self._timer: threading.Timer | None = None

    def within(self, seconds: float, *, status: int = 1) -> None:
        """From now on; takes the place of an earlier one."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, self._over, (status,))
        self._timer.daemon = True
        self._timer.start()

    def _over(self, status: int) -> None:
        if status:
            words = threading.Thread(target=_say, daemon=True)
            words.start()
            words.join(_LAST_WORDS_S)
        self._end(status)


def _say() -> None:
    log.error("server.cut_short", why="it did not end in time")
    sys.stderr.flush()
