"""One row of counts that still grows, and what it weighs in the journal.

Rule: an exchange is drawn, then its latency is told, then it ends; a cell in which each that was
drawn has ended changes no more once its second is over.
"""

from collections.abc import Mapping
from typing import Final

from app.domain.evidence.tally import Counter, Outcome, Tally, TallyKey, TallyRow
from app.domain.stats.histogram import add_counts

OUTCOMES: Final = tuple(Outcome)
OK, CLIENT_ERROR, UPSTREAM_ERROR, CONNECT_ERROR, TIMEOUT, OVERLOADED, CANCELLED = range(len(OUTCOMES))
RECORDS_SHIFT: Final = 20  # ADR 0050
CHANGES_MAX: Final = (1 << RECORDS_SHIFT) - 1

Counts = tuple[int, int, int, int, int]


class Cell:
    """One row that is being counted; outcomes by position in OUTCOMES.

    Attributes:
        second: The key's, where the hot path finds it soonest.
        number: The arm's number in the journal, 0 without one.
        counted: How often a counter was added to: each time is a record.
        changes: How often it had changed when somebody collected.
        sequence: Of the row last collected.
        acknowledged: The highest sequence that is known to be in Postgres.
        handed_out: Whether a flush ever held it, so that Postgres may have it.
        collected: Its counts when it was last collected.
    """

    __slots__ = (
        "acknowledged",
        "bins",
        "changes",
        "collected",
        "counted",
        "counters",
        "exchanges",
        "excluded",
        "handed_out",
        "key",
        "number",
        "outcomes",
        "second",
        "sequence",
    )

    def __init__(self, key: TallyKey, number: int = 0) -> None:
        self.key = key
        self.second = key.second
        self.number = number
        self.exchanges = 0
        self.excluded = 0
        self.counted = 0
        self.outcomes = [0] * len(OUTCOMES)
        self.bins: dict[int, int] = {}
        self.counters: dict[Counter, int] = {}
        self.changes = 0
        self.sequence = 0
        self.acknowledged = 0
        self.handed_out = False
        self.collected: Counts = (0, 0, 0, 0, 0)

    @property
    def ended(self) -> int:
        return sum(self.outcomes)

    @property
    def records(self) -> int:
        """How many journal records say all that was counted here, written or not."""
        return sum(self.outcomes) + self.excluded + self.counted

    @property
    def is_decided(self) -> bool:
        """Whether no exchange drawn here is still open."""
        return self.exchanges == sum(self.outcomes) == sum(self.bins.values())

    def counts(self) -> Counts:
        """Sums that grow with every change: draws, ends, latencies, excluded, counter records."""
        return (self.exchanges, sum(self.outcomes), sum(self.bins.values()), self.excluded, self.counted)

    def add(self, other: "Cell") -> None:
        """Take over all counts of another cell of the same arm."""
        self.exchanges += other.exchanges
        self.excluded += other.excluded
        self.counted += other.counted
        self.outcomes = [left + right for left, right in zip(self.outcomes, other.outcomes, strict=True)]
        self.bins = dict(add_counts(self.bins, other.bins))
        self.counters = dict(add_counts(self.counters, other.counters))

    def only_ended(self, open_bins: Mapping[int, int]) -> "Cell":
        """A copy without the exchanges that have not ended.

        Args:
            open_bins: Latencies already told of them, by bin.
        """
        copy = Cell(self.key, self.number)
        copy.add(self)
        copy.exchanges = copy.ended
        left = {index: count - open_bins.get(index, 0) for index, count in self.bins.items()}
        copy.bins = {index: count for index, count in left.items() if count}
        return copy

    def row(self, sequence: int) -> TallyRow:
        outcomes = {outcome: count for outcome, count in zip(OUTCOMES, self.outcomes, strict=True) if count}
        tally = Tally(self.exchanges, outcomes, self.excluded, dict(self.bins), dict(self.counters))
        return TallyRow(self.key, tally, sequence)

    def live_row(self) -> TallyRow:
        """As a living process writes it, draws without an end included."""
        return self.row(self.sequence)

    def recovered_row(self) -> TallyRow:
        """As it is read back: newer than any flush that knew no more records, older than any that did."""
        return self.row(self.records << RECORDS_SHIFT | CHANGES_MAX)

    def note_change(self, counts: Counts) -> None:
        """Give the next row a sequence above all before it."""
        self.collected = counts
        self.changes = min(self.changes + 1, CHANGES_MAX - 1)
        self.sequence = self.records << RECORDS_SHIFT | self.changes
