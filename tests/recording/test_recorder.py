"""Tallies by draw second: watermarks, flushes that get lost, nothing lost or doubled."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from proxy.recording import Store, World

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Outcome, TallyKey, Watermark
from app.recording.accounting import Accounting
from app.recording.recorder import CANCELLED, MAX_ROWS, OK, TIMEOUT


def test_an_exchange_is_counted_in_the_second_it_was_drawn_in() -> None:
    world = World()
    early = world.draw()
    world.time.pass_(2.0)
    late = world.draw()
    world.end(early, TIMEOUT)
    world.end(late)
    first, second = world.recorder.collect().rows
    assert first.key == TallyKey(1_000, ModelName("fraud"), 3, VersionName("v1"))
    assert first.tally.outcomes == {Outcome.TIMEOUT: 1}
    assert (second.key.second, second.tally.outcomes) == (1_002, {Outcome.OK: 1})


def test_a_second_is_final_when_nothing_of_it_or_before_is_undecided() -> None:
    world = World()
    slow = world.draw()
    assert world.recorder.collect().watermark == Watermark(999, 999)
    world.time.pass_(1.0)
    quick = world.draw()
    world.end(quick)
    assert world.recorder.collect().watermark == Watermark(999, 999)
    slow.count_latency(world.time.monotonic)
    assert world.recorder.collect().watermark == Watermark(999, 1_000)
    world.end(slow)
    assert world.recorder.collect().watermark == Watermark(1_000, 1_000)
    world.time.pass_(5.0)
    assert world.recorder.collect().watermark == Watermark(1_005, 1_005)


def test_a_clock_that_goes_back_does_not_take_seconds_back() -> None:
    world = World()
    world.end(world.draw())
    before = world.recorder.collect().watermark
    world.time.unix -= 100
    world.time.monotonic += 2
    world.end(world.draw())
    flush = world.recorder.collect()
    assert flush.watermark == before
    assert [row.key.second for row in flush.rows] == [1_000]


def test_rows_wait_until_they_are_acknowledged_and_are_then_forgotten() -> None:
    world = World()
    world.end(world.draw())
    world.time.pass_(1.0)
    lost = world.recorder.collect()
    again = world.recorder.collect()
    assert lost.rows == again.rows
    world.recorder.acknowledge(again)
    assert world.recorder.collect().rows == ()


def test_a_row_that_changed_after_it_was_collected_is_sent_again_with_a_higher_sequence() -> None:
    world = World()
    open_one = world.draw()
    flush = world.recorder.collect()
    world.end(open_one)
    world.recorder.acknowledge(flush)
    (row,) = world.recorder.collect().rows
    assert row.sequence > flush.rows[0].sequence
    assert row.tally.outcomes == {Outcome.OK: 1}


def test_a_row_of_the_running_second_is_kept_even_when_all_of_it_is_acknowledged() -> None:
    world = World()
    world.end(world.draw())
    world.recorder.acknowledge(world.recorder.collect())
    assert world.recorder.collect().rows == ()
    world.end(world.draw())
    (row,) = world.recorder.collect().rows
    assert row.tally.exchanges == 2


def test_a_latency_is_counted_once_and_an_early_end_counts_the_time_waited() -> None:
    world = World()
    told = world.draw()
    world.time.pass_(0.1)
    told.count_latency(world.time.monotonic)
    left = world.draw()
    world.time.pass_(0.4)
    told.count_latency(world.time.monotonic)
    world.end(told)
    world.end(left, CANCELLED)
    (row,) = world.recorder.collect().rows
    assert sum(row.tally.latency_bins.values()) == 2
    assert len(row.tally.latency_bins) == 2


def test_what_an_arm_serves_without_a_coin_is_only_excluded() -> None:
    world = World()
    counted = Accounting(world.recorder, world.arm, world.time.monotonic)
    counted.count_excluded(world.arm, world.time.monotonic)
    counted.count_outcome(OK, world.time.monotonic)
    (row,) = world.recorder.collect().rows
    assert (row.tally.exchanges, row.tally.excluded, row.tally.outcomes, row.tally.latency_bins) == (0, 1, {}, {})
    world.time.pass_(1.0)
    assert world.recorder.collect().watermark == Watermark(1_000, 1_000)


def test_a_flush_is_bounded_and_its_watermark_stops_before_what_it_leaves_out() -> None:
    world = World()
    for _ in range(MAX_ROWS + 10):
        world.end(world.draw())
        world.time.pass_(1.0)
    flush = world.recorder.collect()
    assert len(flush.rows) == MAX_ROWS
    assert flush.watermark == Watermark(flush.rows[-1].key.second, flush.rows[-1].key.second)
    world.recorder.acknowledge(flush)
    rest = world.recorder.collect()
    assert len(rest.rows) == 10
    assert rest.watermark.status == 1_000 + MAX_ROWS + 9


class Flushing(RuleBasedStateMachine):
    """Draws, ends, passing seconds, and flushes whose acknowledgement may get lost."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.store = Store()
        self.open: list[Accounting] = []
        self.draws = 0

    @rule()
    def draw(self) -> None:
        self.open.append(self.world.draw())
        self.draws += 1

    @precondition(lambda self: self.open)
    @rule()
    def end(self) -> None:
        self.world.end(self.open.pop(0))

    @rule()
    def pass_a_second(self) -> None:
        self.world.time.pass_(1.0)

    @rule(acknowledged=st.booleans())
    def flush(self, acknowledged: bool) -> None:
        flush = self.world.recorder.collect()
        self.store.write(flush)
        if acknowledged:
            self.world.recorder.acknowledge(flush)
        tallies = [row.tally for row in self.store.rows.values()]
        assert sum(tally.exchanges for tally in tallies) == self.draws
        assert sum(sum(tally.outcomes.values()) for tally in tallies) == self.draws - len(self.open)
        final = [row for row in self.store.rows.values() if row.key.second <= flush.watermark.status]
        assert all(sum(row.tally.outcomes.values()) == row.tally.exchanges for row in final)


Flushing.TestCase.settings = settings(max_examples=40, deadline=None)
TestNoCountIsLostOrDoubled = Flushing.TestCase


def test_a_row_that_was_acknowledged_within_its_own_second_is_forgotten_later() -> None:
    world = World()
    for _ in range(5):
        world.serve()
        world.recorder.acknowledge(world.recorder.collect())
        world.time.pass_(2.0)
    assert world.recorder.collect().rows == ()
    assert world.recorder.arms() == set()
