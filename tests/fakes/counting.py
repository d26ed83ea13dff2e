"""A recorder that counts what a test says, by the same contract as the data plane's."""

from app.domain.evidence.tally import Flush, Outcome, Tally, TallyKey, TallyRow, Watermark


class CountingRecorder:
    """Rows stay until they were acknowledged at their present sequence."""

    def __init__(self) -> None:
        self.rows: dict[TallyKey, TallyRow] = {}
        self.acknowledged: dict[TallyKey, int] = {}
        self.through = 0

    def count(self, key: TallyKey, exchanges: int = 1) -> None:
        before = self.rows.get(key, TallyRow(key, Tally(), 0))
        added = Tally(exchanges, {Outcome.OK: exchanges}, 0, {100: exchanges})
        self.rows[key] = TallyRow(key, before.tally + added, before.sequence + 1)
        self.through = max(self.through, key.second)

    def collect(self) -> Flush:
        changed = (row for key, row in self.rows.items() if row.sequence > self.acknowledged.get(key, 0))
        return Flush(tuple(changed), Watermark(self.through - 1, self.through - 1))

    def acknowledge(self, flush: Flush) -> None:
        for row in flush.rows:
            self.acknowledged[row.key] = row.sequence

    @property
    def waiting(self) -> int:
        return len(self.collect().rows)
