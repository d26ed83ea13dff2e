"""The brake: this process's own, local refusal to send traffic to a version.

Rule: it opens on consecutive transport failures only, never on an answered 5xx, which is for
evidence to judge; it moves traffic towards stable only, and asks nobody.
"""

from dataclasses import dataclass
from typing import Final

from app.domain.catalog import ModelName, VersionName

FAILURES_TO_OPEN: Final = 5


@dataclass(frozen=True, slots=True)
class OpenBrake:
    """A version that this process sends nothing to, and for how long already."""

    model: ModelName
    version: VersionName
    since_s: float


class OpenCount:
    """How many brakes are open in this process: mostly none, and then no exchange looks further."""

    __slots__ = ("brakes",)

    def __init__(self) -> None:
        self.brakes = 0


class Brake:
    """Counts one version's consecutive transport failures.

    Attributes:
        failures: Since the last response head.
        is_armed: False for stable, which is served whatever happens.
        is_open: Whether exchanges are kept away.
        opened_at: On the monotonic clock; meaningful while open.
        probing: Whether a probe is under way.
    """

    __slots__ = ("_open_count", "failures", "is_armed", "is_open", "opened_at", "probing")

    def __init__(self, open_count: OpenCount) -> None:
        self._open_count = open_count
        self.failures = 0
        self.is_armed = False
        self.is_open = False
        self.opened_at = 0.0
        self.probing = False

    def arm(self, *, armed: bool) -> None:
        """Say which role the version has now; a version that became stable is released."""
        if self.is_armed and not armed:
            self.release()
        self.is_armed = armed

    def failed(self, now: float) -> None:
        self.failures += 1
        if self.is_armed and not self.is_open and self.failures >= FAILURES_TO_OPEN:
            self.is_open = True
            self.opened_at = now
            self._open_count.brakes += 1

    def release(self) -> None:
        self.failures = 0
        if self.is_open:
            self.is_open = False
            self._open_count.brakes -= 1
