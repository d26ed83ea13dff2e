"""What a process' data plane hands to Postgres at once."""

from dataclasses import dataclass

from app.domain.evidence.observed import ObservedFlush
from app.domain.evidence.tally import Flush


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that changed since the last acknowledged batch, written in one transaction or not at all.

    Attributes:
        tallies: Counts, and how far they are final.
        observed: Readings of the answers of those exchanges.
    """

    tallies: Flush
    observed: ObservedFlush

    @property
    def size(self) -> int:
        """How many rows it holds."""
        tallies, observed = self.tallies, self.observed
        return sum(map(len, (tallies.rows, tallies.units, observed.observed, observed.spreads, observed.answers)))
