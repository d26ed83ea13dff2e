"""A data plane that counts what a test says, by the same contract as the real one."""

from app.domain.catalog.routing import RoutingTable
from app.domain.evidence.observed import ObservedFlush
from app.domain.evidence.tally import Flush, Outcome, Tally, TallyKey, TallyRow, Watermark
from app.recording.batch import Batch
from app.store.routing.replicas import Brake

NOTHING = ObservedFlush()


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


class CountingPlane:
    """Remembers the tables it was given and the batches that were acknowledged; what was observed never changes."""

    def __init__(self, observed: ObservedFlush = NOTHING, brakes: tuple[Brake, ...] = ()) -> None:
        self.tables: list[RoutingTable] = []
        self.recorder = CountingRecorder()
        self.handed_out = 0
        self.acknowledged: list[Batch] = []
        self._observed, self._brakes = observed, brakes

    def swap(self, table: RoutingTable) -> None:
        self.tables.append(table)

    def collect(self) -> Batch:
        self.handed_out += 1
        return Batch(self.recorder.collect(), self._observed)

    def acknowledge(self, batch: Batch) -> None:
        self.recorder.acknowledge(batch.tallies)
        self.acknowledged.append(batch)

    def open_brakes(self) -> tuple[Brake, ...]:
        return self._brakes
