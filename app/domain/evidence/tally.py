"""Counters that add: what each version did, by the second in which it was drawn.

Rule: every field is additive, so rows of different replicas merge in any order, and a row's
values are absolute, so writing it twice changes nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.catalog.models import ModelName, VersionName
from app.domain.stats.histogram import add_counts

# Ten thousand exchanges a second for three years; far below where floats stop counting by one.
MOST_COUNTED = 10**12
# The bin of thirteen years. The edge of a bin beyond it may be no float.
MOST_BIN = 1_700


class Outcome(StrEnum):
    """How one exchange ended, as held against the version that was drawn."""

    OK = "ok"
    CLIENT_ERROR = "client_error"  # the upstream answered 4xx
    UPSTREAM_ERROR = "upstream_error"  # 5xx, garbage, reset or a truncated answer
    CONNECT_ERROR = "connect_error"  # refused or unreachable: nothing was sent
    TIMEOUT = "timeout"  # no connection, first byte, next byte or end in time
    OVERLOADED = "overloaded"  # its bulkhead was full: nothing was sent
    CANCELLED = "cancelled"  # the client left; never held against the version


class Counter(StrEnum):
    """Further things counted per version."""

    FORCED = "forced"  # of the excluded: an operator chose the version by header
    READ = "read"  # answers that something was read from
    SKIPPED = "skipped"  # answers that should have been read and were too large or not readable
    INVALID = "invalid"  # answers read that were not what the protocol or the pointer says
    NONFINITE = "nonfinite"  # answers read with a NaN or an infinity where a number belongs
    PROMPT_TOKENS = "prompt_tokens"
    COMPLETION_TOKENS = "completion_tokens"
    USAGE_ESTIMATED = "usage_estimated"  # answers whose completion tokens were counted by their events
    MIRROR_DROPPED = "mirror_dropped"  # copies not sent: too large, or the mirror had no room
    MIRROR_PAIRS = "mirror_pairs"  # copies that ended, beside an answer that had ended
    MIRROR_AGREED = "mirror_agreed"  # of the pairs: both succeeded with the same prediction or bytes
    MIRROR_DIFFERED = "mirror_differed"  # of the pairs: both succeeded and said something else
    MIRROR_ONLY_PRIMARY_OK = "mirror_only_primary_ok"
    MIRROR_ONLY_MIRROR_OK = "mirror_only_mirror_ok"
    MIRROR_NEITHER_OK = "mirror_neither_ok"
    MIRROR_SLOWER = "mirror_slower"  # of the pairs in which both succeeded: the mirror's head came later
    MIRROR_LATENCY_DIFFERENCE_US = "mirror_latency_difference_us"  # sum of mirror minus primary over those


# Looking up a member of an enum takes longer than looking up its count.
_UPSTREAM_ERROR, _CONNECT_ERROR, _OVERLOADED = Outcome.UPSTREAM_ERROR, Outcome.CONNECT_ERROR, Outcome.OVERLOADED


def errors_of(outcomes: Mapping[Outcome, int]) -> int:
    """Wrong or missing answers that are not timeouts."""
    count = outcomes.get
    return count(_UPSTREAM_ERROR, 0) + count(_CONNECT_ERROR, 0) + count(_OVERLOADED, 0)


def judged_of(outcomes: Mapping[Outcome, int]) -> int:
    """Ended exchanges that say something about the version."""
    return sum(outcomes.values()) - outcomes.get(Outcome.CANCELLED, 0)


@dataclass(frozen=True, slots=True)
class TallyKey:
    """Which counters: one arm in one second of one weight epoch.

    Attributes:
        second: Unix seconds of the draw, in database time.
        generation: The weight epoch whose weights the coin used.
    """

    second: int
    model: ModelName
    generation: int
    version: VersionName


@dataclass(frozen=True, slots=True)
class Tally:  # ADR 0005
    """What one arm did; all counts of first attempts that a coin assigned.

    Attributes:
        exchanges: Draws, whether ended or not.
        outcomes: Ended exchanges by outcome.
        excluded: Exchanges this version served without a coin (retry, brake); in no other field.
        latency_bins: Histogram bin to count, see app.domain.stats.latency_histogram: draw to response head.
            Exchanges that ended without a head (timeout, reset, client gone) are counted in the
            bin of the time waited: so long they had taken at least.
        counters: What else was counted; not all of exchanges that a coin assigned.
    """

    exchanges: int = 0
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)
    excluded: int = 0
    latency_bins: Mapping[int, int] = field(default_factory=dict)
    counters: Mapping[Counter, int] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.exchanges + other.exchanges,
            add_counts(self.outcomes, other.outcomes),
            self.excluded + other.excluded,
            add_counts(self.latency_bins, other.latency_bins),
            add_counts(self.counters, other.counters),
        )

    @property
    def errors(self) -> int:
        """Wrong or missing answers that are not timeouts."""
        return errors_of(self.outcomes)

    @property
    def timeouts(self) -> int:
        """Answers that did not come in time."""
        return self.outcomes.get(Outcome.TIMEOUT, 0)

    @property
    def judged(self) -> int:
        """Ended exchanges that say something about the version."""
        return judged_of(self.outcomes)


class Horizon(StrEnum):
    """The two clocks of maturity a first-form metric can have."""

    STATUS = "status"  # errors and timeouts: known when the exchange ended
    LATENCY = "latency"  # known at the response head, or when the latency horizon has passed


@dataclass(frozen=True, slots=True)
class Watermark:
    """Up to which second (inclusive) a replica's tallies are final, by horizon."""

    status: int
    latency: int


@dataclass(frozen=True, slots=True)
class TallyRow:
    """One absolute row, as a replica writes it and the engine reads it.

    Attributes:
        sequence: Grows with every change of this row within one boot; a lower one never
            overwrites a higher one.
    """

    key: TallyKey
    tally: Tally
    sequence: int


@dataclass(frozen=True, slots=True)
class UnitRow:
    """The first ended exchange of one unit (a sticky caller) that one process saw since the salt was made.

    Attributes:
        salted_at: The generation that made the salt.
        unit: Keyed hash of the caller's key, 64 bits, signed; says nothing without the salt.
        second, generation, version: As in a TallyKey: when and where it was drawn.
        latency_bin: Of this one exchange, as in a tally.
    """

    model: ModelName
    salted_at: int
    unit: int
    second: int
    generation: int
    version: VersionName
    outcome: Outcome
    latency_bin: int


@dataclass(frozen=True, slots=True)
class Flush:
    """What a replica pushes at once, in one transaction.

    Attributes:
        rows: Every row that changed since the last acknowledged flush.
        watermark: Final seconds, valid together with `rows` and all earlier flushes.
        units: First exchanges of units, not acknowledged yet.
    """

    rows: tuple[TallyRow, ...]
    watermark: Watermark
    units: tuple[UnitRow, ...] = ()


def flaw_of(tally: Tally) -> str | None:
    """Why these counts cannot have happened; None when they can."""
    if not are_counts((tally.exchanges, *tally.outcomes.values(), *tally.latency_bins.values())):
        return "a count is negative, or no number at all"
    if sum(tally.outcomes.values()) > tally.exchanges:
        return "more exchanges ended than were drawn"
    if not all(0 <= index <= MOST_BIN for index in tally.latency_bins):
        return "a latency is longer than anybody can have waited"
    return None


def are_counts(counts: Collection[float]) -> bool:
    """Whether all of these can be sums of things that happened."""
    # NaN hides from the least and the greatest, but not from the sum.
    return min(counts, default=0) >= 0 and max(counts, default=0) <= MOST_COUNTED and sum(counts) >= 0
