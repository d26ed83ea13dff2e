"""The brake: this process's own, local refusal to send traffic to a version.

Rule: it opens on consecutive transport failures, never on an answered 5xx alone, or on evidence that
this process counted itself; it moves traffic towards stable only, and asks nobody.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from app.domain.catalog.models import ModelName, VersionName

FAILURES_TO_OPEN: Final = 5
LONGEST_HOLD_S: Final = 60.0

log = structlog.get_logger()


class Cause(StrEnum):
    """Why a brake is open."""

    TRANSPORT = "transport"  # it cannot be reached, breaks off or does not answer in time
    EVIDENCE = "evidence"  # it answers worse than stable beyond reasonable doubt


@dataclass(frozen=True, slots=True)
class OpenBrake:
    """A version that this process sends nothing to, why, and for how long already."""

    model: ModelName
    version: VersionName
    since_s: float
    cause: Cause


class OpenCount:
    """How many brakes are open in this process: mostly none, and then no exchange looks further."""

    __slots__ = ("brakes",)

    def __init__(self) -> None:
        self.brakes = 0


class Brake:  # ADR 0068
    """Counts one version's consecutive transport failures.

    Attributes:
        failures: Since the last response head.
        is_armed: False for stable, which is served whatever happens, and for a version without traffic.
        is_open: Whether exchanges are kept away.
        opened_at: On the monotonic clock; meaningful while open.
        cause: Why; meaningful while open.
    """

    __slots__ = (
        "_model",
        "_open_count",
        "_openings",
        "_version",
        "_weight_bp",
        "cause",
        "failures",
        "is_armed",
        "is_open",
        "opened_at",
    )

    def __init__(self, model: ModelName, version: VersionName, open_count: OpenCount) -> None:
        self._model = model
        self._version = version
        self._open_count = open_count
        self._openings = 0
        self._weight_bp = 0
        self.failures = 0
        self.is_armed = False
        self.is_open = False
        self.opened_at = 0.0
        self.cause = Cause.TRANSPORT

    # ------------------------------------------------------------------ what the routing says

    def arm(self, weight_bp: int) -> None:
        """The version has this weight now; one that is raised releases a brake that evidence holds."""
        if self.is_open and self.cause is Cause.EVIDENCE and weight_bp > self._weight_bp:
            self._release()
        self.is_armed = True
        self._weight_bp = weight_bp

    def disarm(self) -> None:
        """The version is stable now, or has no traffic: somebody decided on it."""
        self._release()
        self.is_armed = False
        self._weight_bp = self._openings = self.failures = 0

    # ------------------------------------------------------------------ what exchanges and probes find

    def failed(self, now: float) -> None:
        """An exchange could not be had from the version."""
        self.failures += 1
        if self.is_armed and not self.is_open and self.failures >= FAILURES_TO_OPEN:
            self._openings += 1
            self._open(Cause.TRANSPORT, now)

    def answered(self) -> None:
        """A response head has come. An open brake stays so: the exchange may be older than the failures."""
        if not self.is_open:
            self.failures = self._openings = 0

    def probed(self, now: float) -> None:
        """A probe found the version ready, and it is tried again: the next failure opens the brake for longer."""
        if self.is_open and self.cause is Cause.TRANSPORT and now - self.opened_at >= self._hold_s():
            self._release()
            self.failures = FAILURES_TO_OPEN - 1

    def judged_worse(self, now: float) -> None:
        """This process has evidence of its own against the version; no probe can refute that."""
        if not self.is_armed:
            return
        if not self.is_open:
            self._open(Cause.EVIDENCE, now)
        self.cause = Cause.EVIDENCE

    def _hold_s(self) -> float:
        """None at first, then doubling: a server may answer probes and nothing else."""
        return min(LONGEST_HOLD_S, 2.0 ** (self._openings - 1) - 1.0)

    def _open(self, cause: Cause, now: float) -> None:
        self.is_open = True
        self.opened_at = now
        self.cause = cause
        self._open_count.brakes += 1
        log.warning("brake.opened", model=self._model, version=self._version, cause=cause)

    def _release(self) -> None:
        if self.is_open:
            self.is_open = False
            self._open_count.brakes -= 1
            log.info("brake.released", model=self._model, version=self._version, cause=self.cause)
