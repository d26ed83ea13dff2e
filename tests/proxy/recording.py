"""A recorder with a clock that moves only when told to, a journal, and rows as Postgres would keep them."""

import asyncio
import uuid
from collections import Counter as Multiset
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Counter, Flush, Outcome, TallyKey, TallyRow, UnitRow, Watermark
from app.proxy import Recorder
from app.recording.accounting import Accounting
from app.recording.arm import Arm
from app.recording.journal import Journal
from app.recording.recorder import OK
from app.recording.recovery import DeadBoots

_T = TypeVar("_T")


class Time:
    """A database clock and a monotonic clock that move only when told to."""

    def __init__(self) -> None:
        self.unix = 1_000.25
        self.monotonic = 50.0

    def pass_(self, seconds: float) -> None:
        self.unix += seconds
        self.monotonic += seconds


def arms_of(recorder: Recorder, *versions: str) -> list[Arm]:
    """Arms of one model at generation 3."""
    model = ModelName("fraud")
    names = map(VersionName, versions)
    return [Arm(model, 3, version, recorder.totals(model, version)) for version in names]


class World:
    """A recorder, arms to draw, the time, and what is open."""

    def __init__(self, **caps: int) -> None:
        self.time = Time()
        self.recorder = Recorder(lambda: self.time.unix, lambda: self.time.monotonic, lambda: self.open, **caps)
        self.arm, self.other_arm = arms_of(self.recorder, "v1", "v2")
        self.open: list[Accounting] = []

    def draw(self, arm: Arm | None = None, unit: int = 0, salted_at: int = 0) -> Accounting:
        arm = arm or self.arm
        counted = Accounting(self.recorder, arm, self.time.monotonic)
        counted.count_draw(arm, unit, salted_at)
        self.open.append(counted)
        return counted

    def end(self, counted: Accounting, outcome: int = OK) -> None:
        self.open.remove(counted)
        counted.count_outcome(outcome, self.time.monotonic)

    def serve(self, outcome: int = OK) -> None:
        """One whole exchange."""
        self.end(self.draw(), outcome)

    def exclude(self) -> None:
        Accounting(self.recorder, self.arm, self.time.monotonic).count_excluded(self.arm, self.time.monotonic)


class JournalledWorld(World):
    """The same with a journal: one life of one process."""

    def __init__(self, journals: Path, *, records: int = 64, time: Time | None = None, **caps: int) -> None:
        super().__init__(**caps)
        self.time = time or self.time
        self.boot = uuid.uuid4().hex
        self.loop = asyncio.new_event_loop()
        self.journal = Journal(
            journals, self.boot, self.recorder, records=records, monotonic=lambda: self.time.monotonic
        )
        self.do(self.journal.open())

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(work)

    def tend(self) -> None:
        self.do(self.journal.tend())

    def be_killed(self) -> None:
        """Leave everything as kill -9 leaves it: the kernel closes the files."""
        journal = self.journal
        journal._worker.shutdown()
        journal._release()
        for segment in journal._discarded:
            segment.close()
        if journal._folder is not None:
            journal._folder.let_go()
        self.loop.close()

    def stop(self) -> None:
        """End as a process that was asked to."""
        self.do(self.journal.close())
        self.loop.close()


class Store:
    """Rows as Postgres would keep them: absolute, the highest sequence wins; of units the earliest."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, TallyKey], TallyRow] = {}
        self.units: dict[tuple[int, int], tuple[int, str, UnitRow]] = {}

    def write(self, flush: Flush, boot: str = "") -> None:
        for row in flush.rows:
            known = self.rows.get((boot, row.key))
            if known is None or row.sequence > known.sequence:
                self.rows[boot, row.key] = row
        for unit in flush.units:
            known_unit = self.units.get((unit.salted_at, unit.unit))
            if known_unit is None or (unit.second, boot) < known_unit[:2]:
                self.units[unit.salted_at, unit.unit] = (unit.second, boot, unit)

    def recover(self, journals: Path, *, forget: bool = True) -> int:
        """Write what dead boots left; how many records made no sense."""
        bad = 0
        for dead in DeadBoots(journals).find():
            self.write(Flush(dead.rows, Watermark(0, 0), dead.units), dead.boot)
            bad += dead.bad_records
            if forget:
                dead.forget()
            else:
                dead.let_go()
        return bad

    @property
    def ended(self) -> Multiset[tuple[str, Outcome]]:
        """Version and outcome to how many exchanges ended so."""
        total: Multiset[tuple[str, Outcome]] = Multiset()
        for row in self.rows.values():
            for outcome, count in row.tally.outcomes.items():
                total[row.key.version, outcome] += count
        return total

    @property
    def counters(self) -> Multiset[Counter]:
        total: Multiset[Counter] = Multiset()
        for row in self.rows.values():
            total.update(row.tally.counters)
        return total

    @property
    def bins(self) -> Multiset[int]:
        total: Multiset[int] = Multiset()
        for row in self.rows.values():
            total.update(row.tally.latency_bins)
        return total

    @property
    def excluded(self) -> int:
        return sum(row.tally.excluded for row in self.rows.values())

    @property
    def exchanges(self) -> int:
        return sum(row.tally.exchanges for row in self.rows.values())
