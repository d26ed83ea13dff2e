"""Each ended exchange is counted exactly once, whatever is lost, repeated, merged or killed in between."""

import shutil
import tempfile
from collections import Counter as Multiset
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from proxy.recording import JournalledWorld, Store

from app.domain.evidence.tally import Counter, Outcome
from app.recording.accounting import Accounting
from app.recording.tally_row import OUTCOMES

RECORDS = 16
SALTED_AT = 7


class Lives(RuleBasedStateMachine):
    """One process after another, each killed at any time; Postgres may lose, keep and repeat."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="journal-"))
        self.store = Store()
        self.ended: Multiset[tuple[str, Outcome]] = Multiset()
        self.bins: Multiset[int] = Multiset()
        self.counters: Multiset[Counter] = Multiset()
        self.excluded = 0
        self.first_ended: dict[int, int] = {}
        self.world = self.new_life()

    def new_life(self, **kept: object) -> JournalledWorld:
        self.claimed: dict[Accounting, int] = {}
        return JournalledWorld(self.folder, records=RECORDS, coarsen_above=6, **kept)  # type: ignore[arg-type]  # the clock

    def teardown(self) -> None:
        self.world.be_killed()
        shutil.rmtree(self.folder)

    # ------------------------------------------------------------------ what exchanges do

    @rule(other=st.booleans(), unit=st.sampled_from([None, 1, 2, -3]))
    def draw(self, other: bool, unit: int | None) -> None:
        arm = self.world.other_arm if other else self.world.arm
        if unit is None:
            self.world.draw(arm)
        else:
            drawn = self.world.draw(arm, unit, SALTED_AT)
            if drawn._unit is not None:
                self.claimed[drawn] = unit

    @precondition(lambda self: self.world.open)
    @rule(which=st.integers(0, 5), after_s=st.floats(0, 3))
    def tell_latency(self, which: int, after_s: float) -> None:
        self.world.open[which % len(self.world.open)].count_latency(self.world.time.monotonic + after_s)

    @precondition(lambda self: self.world.open)
    @rule(which=st.integers(0, 5), outcome=st.integers(0, len(OUTCOMES) - 1))
    def end(self, which: int, outcome: int) -> None:
        counted = self.world.open[which % len(self.world.open)]
        self.world.end(counted, outcome)
        self.ended[counted.arm.version, OUTCOMES[outcome]] += 1
        self.bins[counted._bin] += 1
        unit = self.claimed.pop(counted, None)
        if unit is not None:
            second = self.world.recorder.units.waiting()[-1].second
            self.first_ended[unit] = min(second, self.first_ended.get(unit, second))

    @rule(amount=st.integers(1, 1_000))
    def count_further(self, amount: int) -> None:
        further = {Counter.READ: 1, Counter.PROMPT_TOKENS: amount}
        self.world.recorder.count(self.world.arm, further, self.world.time.monotonic)
        self.counters.update(further)

    @rule()
    def exclude(self) -> None:
        self.world.exclude()
        self.excluded += 1

    @rule(seconds=st.sampled_from([1.0, 1.0, 5.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.time.pass_(seconds)

    # ------------------------------------------------------------------ what Postgres and the disk do

    @rule(committed=st.booleans(), acknowledged=st.booleans())
    def flush(self, committed: bool, acknowledged: bool) -> None:
        flush = self.world.recorder.collect()
        if committed:
            self.store.write(flush, self.world.boot)
            if acknowledged:
                self.world.recorder.acknowledge(flush)

    @rule()
    def tend(self) -> None:
        self.world.tend()

    @precondition(lambda self: self.world.recorder.wants_coarsening)
    @rule()
    def merge_without_checkpoint(self) -> None:
        self.world.do(self.world.journal._coarsen())

    @rule(seen_before_forgotten=st.booleans())
    def kill(self, seen_before_forgotten: bool) -> None:
        self.world.be_killed()
        self.world = self.new_life(time=self.world.time)
        if seen_before_forgotten:
            assert self.store.recover(self.folder, forget=False) == 0
        assert self.store.recover(self.folder) == 0
        self.compare()

    @invariant()
    def a_segment_is_ready(self) -> None:
        # Two records of arms, three of an exchange's rule: a burst that outruns the disk is another test's.
        if self.world.journal._following is None:
            self.world.tend()
        assert self.world.journal.is_up

    # ------------------------------------------------------------------ what must hold

    @rule()
    def compare(self) -> None:
        """After a flush that arrives, Postgres knows all that ended, once."""
        self.world.tend()
        recorder = self.world.recorder
        flush = recorder.collect()
        self.store.write(flush, self.world.boot)
        recorder.acknowledge(flush)
        assert self.store.ended == self.ended
        assert self.store.excluded == self.excluded
        assert self.store.counters == self.counters
        told = [each._bin for each in self.world.open if each.told_while_open is not None]
        assert self.store.bins == self.bins + Multiset(told)
        assert self.store.exchanges == self.ended.total() + len(self.world.open)
        assert {unit: second for (_, unit), (second, _, _) in self.store.units.items()} == self.first_ended
        assert recorder.lost_exchanges == 0


Lives.TestCase.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)
TestEachEndIsCountedOnce = Lives.TestCase
