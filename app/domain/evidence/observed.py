"""What was read of the answers of one arm: flaws, measures, slices. Counters that add, like tallies.

Rule: only first attempts that a coin assigned, each in the second of its draw; an exchange that ended
is in here before its second is said to be final.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import TallyKey
from app.domain.stats.histogram import Spread, add_counts


class Flaw(StrEnum):
    """What can be wrong with an answer that says 200."""

    NONFINITE = "nonfinite"  # a NaN or an infinity where a number belongs
    SCHEMA = "schema"  # not what its protocol, a pointer or the declared signature says
    EMPTY = "empty"  # nothing predicted, no completion
    REFUSED = "refused"  # a completion that was filtered or refused
    STREAM = "stream"  # a stream that ended badly


class SliceCounts(NamedTuple):
    """One slice's exchanges.

    Attributes:
        judged: Ended exchanges that say something about the version.
        bad: Of those: errors and timeouts.
        read: Answers that were looked at for flaws.
        flawed: Of those: with at least one flaw.
    """

    judged: int = 0
    bad: int = 0
    read: int = 0
    flawed: int = 0


class Measure(NamedTuple):
    """A number of each answer: how many, their sum and their sum of squares."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0


# Names of measures; `COST` is in the currency of the version's prices, capped as they say.
COST, PROMPT_TOKENS, COMPLETION_TOKENS, SECONDS, MEGABYTES = (
    "cost",
    "prompt_tokens",
    "completion_tokens",
    "seconds",
    "megabytes",
)


@dataclass(frozen=True, slots=True)
class Observed:
    """What was read of one arm.

    Attributes:
        judged, bad: As in `SliceCounts`, of exchanges that were sampled.
        read: Answers that were looked at for flaws.
        flawed: Of those: with at least one flaw.
        flaws: How many had which.
        measures: Name to its sums.
        slices: Slice key's name to value to counts; sampled exchanges only.
    """

    judged: int = 0
    bad: int = 0
    read: int = 0
    flawed: int = 0
    flaws: Mapping[Flaw, int] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    slices: Mapping[str, Mapping[str, SliceCounts]] = field(default_factory=dict)

    def __add__(self, other: "Observed") -> "Observed":
        return Observed(
            self.judged + other.judged,
            self.bad + other.bad,
            self.read + other.read,
            self.flawed + other.flawed,
            add_counts(self.flaws, other.flaws),
            _added_measures(self.measures, other.measures),
            _added_slices(self.slices, other.slices),
        )


def _added_measures(left: Mapping[str, Measure], right: Mapping[str, Measure]) -> Mapping[str, Measure]:
    total = dict(left)
    for name, measure in right.items():
        mine = total.get(name, Measure())
        total[name] = Measure(mine.n + measure.n, mine.total + measure.total, mine.squares + measure.squares)
    return total


def _added_slices(
    left: Mapping[str, Mapping[str, SliceCounts]], right: Mapping[str, Mapping[str, SliceCounts]]
) -> Mapping[str, Mapping[str, SliceCounts]]:
    total = {key: dict(values) for key, values in left.items()}
    for key, values in right.items():
        mine = total.setdefault(key, {})
        for value, counts in values.items():
            mine[value] = SliceCounts(*map(sum, zip(mine.get(value, SliceCounts()), counts, strict=True)))
    return total


# Spreads are kept by so many seconds: distributions need no finer time, and weigh more than counts.
SPREAD_S = 10


@dataclass(frozen=True, slots=True)
class ObservedRow:
    """One absolute row, as a `TallyRow`."""

    key: TallyKey
    observed: Observed
    sequence: int


@dataclass(frozen=True, slots=True)
class SpreadRow:
    """One absolute row of SPREAD_S seconds; its key's second is a multiple of that."""

    key: TallyKey
    spread: Spread
    sequence: int


class AnsweredRow(NamedTuple):
    """One exchange, so that it can be labelled, found again and recalled.

    Attributes:
        second: Of the draw, in database time.
        exchange: As in a `Receipt`.
        generation: The weight epoch; 0 when no coin chose the version.
        sampled: Whether it was read because a coin said so, and not only because a canary's are all kept.
        request_id: The answer's x-request-id.
        client_key: The client's own key, or None.
        status: The answer's HTTP status.
        predictions, scores: What was read; empty where nothing was.
        slices: Slice key's name to value.
    """

    second: int
    exchange: str
    model: ModelName
    version: VersionName
    generation: int
    sampled: bool
    request_id: str
    client_key: str | None
    status: int
    predictions: tuple[float | str, ...] = ()
    scores: tuple[float, ...] = ()
    slices: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ObservedFlush:
    """What a replica pushes beside its tallies, in the same transaction."""

    observed: tuple[ObservedRow, ...] = ()
    spreads: tuple[SpreadRow, ...] = ()
    answers: tuple[AnsweredRow, ...] = ()
