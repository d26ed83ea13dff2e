"""The evidence ledger: both arms' counts by canary weight, and up to where they were read.

Rule: a second is read once per horizon and for both arms at once, so reading is order-free,
and reading rows again changes nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.domain.catalog import VersionName
from app.domain.policy import Policy
from app.domain.tally import Horizon, Tally, TallyRow, Watermark


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """What one arm did at one weight.

    Attributes:
        drawn, ended, judged, errors, timeouts: Of seconds mature for outcomes; see `Tally`.
        timed: Answers with a latency, of seconds after the thresholds were frozen.
        slow: Of those, how many were slow, one count per threshold.
    """

    drawn: int = 0
    ended: int = 0
    judged: int = 0
    errors: int = 0
    timeouts: int = 0
    timed: int = 0
    slow: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EpochCounts:
    """Both arms at one canary weight."""

    canary: ArmCounts = ArmCounts()
    stable: ArmCounts = ArmCounts()


@dataclass(frozen=True, slots=True)
class Threshold:
    """When an answer is slow, at one quantile of stable's frozen latency distribution.

    Attributes:
        level: The quantile, in (0, 1).
        stable_bin, canary_bin: First slow bin of each arm; see `histogram`.
    """

    level: float
    stable_bin: int
    canary_bin: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both arms' counts by weight, and up to which second they were read.

    Attributes:
        read_through: Horizon to the last second (inclusive) already absorbed.
        error_reference: Stable's rate of bad answers before the start, fixed for ever.
        by_weight: Canary weight in basis points to counts; epochs of equal weight are summed.
        thresholds: Empty until enough stable answers were seen; never changed afterwards.
        stable_bins: Stable's latency histogram, kept only until the thresholds exist.
        recent: Exchanges of the last few mature seconds, the newest last.
    """

    stable: VersionName
    canary: VersionName
    started_s: int
    read_through: Mapping[Horizon, int]
    error_reference: float
    levels: tuple[float, ...]
    latency_margin: float
    latency_floor_ms: float
    by_weight: Mapping[int, EpochCounts] = field(default_factory=dict)
    thresholds: tuple[Threshold, ...] = ()
    stable_bins: Mapping[int, int] = field(default_factory=dict)
    recent: tuple[int, ...] = ()

    @classmethod
    def begin(
        cls, stable: VersionName, canary: VersionName, policy: Policy, reference: Tally, now_s: int
    ) -> "Evidence":
        """Empty evidence that reads from the second `now_s` on.

        Args:
            reference: Stable's tally of the time before `now_s` (the store decides how far
                back); may be empty.
            now_s: Unix second of the start, database time.
        """
        raise NotImplementedError

    @property
    def latency_horizon_ms(self) -> int | None:
        """The time after which an open exchange counts as slow everywhere; None before thresholds exist."""
        raise NotImplementedError


def absorb(
    evidence: Evidence, rows: Iterable[TallyRow], canary_weight_bp: Mapping[int, int], mature: Watermark
) -> Evidence:
    """Add the rows that became mature since the last look, each horizon on its own.

    Args:
        rows: All rows of both arms with `second` above the older of `evidence.read_through` and
            at most the newer of `mature`; rows outside a horizon's span, and rows of other
            versions, are ignored.
        canary_weight_bp: Generation to the canary's weight in it; every generation of `rows`.
        mature: The newest second that is final on every live replica, by horizon. It may lie
            behind what was read already: then nothing is read.
    """
    raise NotImplementedError
