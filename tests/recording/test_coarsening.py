"""Rows that pile up: merged before any is dropped, never after Postgres may have seen them."""

from pathlib import Path

from proxy.recording import JournalledWorld, Store, World

from app import telemetry
from app.domain.evidence.tally import Flush, Outcome, Watermark
from app.proxy.metrics import RecorderFigures
from app.recording.recorder import MAX_ROWS


def serve_for(world: World, seconds: int) -> None:
    for _ in range(seconds):
        world.serve()
        world.time.pass_(1.0)


def test_rows_are_merged_by_the_minute_and_none_is_lost() -> None:
    world = World(coarsen_above=100)
    serve_for(world, 300)
    assert world.recorder.wants_coarsening
    world.recorder.coarsen()
    rows = world.recorder.collect().rows
    assert sum(row.tally.exchanges for row in rows) == 300
    # The running second stays as it is.
    assert [row.key.second for row in rows] == [1_000, 1_020, 1_080, 1_140, 1_200, 1_260, 1_299]
    assert world.recorder.lost_exchanges == 0


def test_when_minutes_are_too_many_hours_are_enough() -> None:
    world = World(coarsen_above=20)
    serve_for(world, 3_000)
    world.recorder.coarsen()
    assert len(world.recorder.collect().rows) == 3  # two hours and the running second


def test_what_was_handed_out_or_is_open_is_never_merged() -> None:
    world = World(coarsen_above=10)
    serve_for(world, 5)
    handed_out = world.recorder.collect().rows
    still_open = world.draw()
    world.time.pass_(1.0)
    serve_for(world, 200)
    world.recorder.coarsen()
    store = Store()
    store.write(Flush(handed_out, Watermark(0, 0)))
    world.end(still_open)
    store.write(world.recorder.collect())
    assert store.ended == {("v1", Outcome.OK): 206}
    assert {row.key for row in handed_out} <= {key for _, key in store.rows}


def test_only_beyond_the_last_limit_the_oldest_are_dropped_and_counted() -> None:
    world = World(coarsen_above=4, drop_above=10)
    for hour in range(20):
        world.time.unix = 3_600.0 * hour + 10
        world.time.monotonic += 1
        world.serve()
    world.recorder.coarsen()
    rows = world.recorder.collect().rows
    assert len(rows) == 10
    assert rows[-1].key.second // 3_600 == 19
    assert world.recorder.lost_exchanges == 10
    series = RecorderFigures(world.recorder, lambda: 0.0).series()
    assert [each.value for each in series if each.family is telemetry.LOST_ROWS] == [10.0]


def test_coarsening_that_did_not_help_is_not_tried_at_every_look() -> None:
    world = World(coarsen_above=4, drop_above=1_000)
    for hour in range(20):
        world.time.unix = 3_600.0 * hour + 10
        world.time.monotonic += 1
        world.serve()
    world.recorder.coarsen()
    assert not world.recorder.wants_coarsening


def test_nothing_is_handed_out_until_a_checkpoint_knows_the_merged_rows(tmp_path: Path) -> None:
    world = JournalledWorld(tmp_path, coarsen_above=50, records=1_000)
    serve_for(world, 200)
    world.do(world.journal._coarsen())
    flush = world.recorder.collect()
    assert flush.rows == ()
    assert flush.watermark.status < 1_000
    world.tend()
    assert 0 < len(world.recorder.collect().rows) < 10
    world.stop()


def test_a_kill_between_the_merge_and_its_checkpoint_counts_nothing_twice(tmp_path: Path) -> None:
    world = JournalledWorld(tmp_path, coarsen_above=50, records=1_000)
    serve_for(world, 200)
    world.do(world.journal._coarsen())
    store = Store()
    store.write(world.recorder.collect(), world.boot)
    world.be_killed()
    store.recover(tmp_path)
    assert store.ended == {("v1", Outcome.OK): 200}


def test_a_replay_after_coarsening_sees_the_rows_that_were_merged(tmp_path: Path) -> None:
    world = JournalledWorld(tmp_path, coarsen_above=50, records=1_000)
    serve_for(world, 200)
    world.tend()
    assert not world.recorder.is_held
    store = Store()
    flush = world.recorder.collect()
    assert 0 < len(flush.rows) < 10
    store.write(flush, world.boot)
    world.be_killed()
    store.recover(tmp_path)
    assert store.ended == {("v1", Outcome.OK): 200}


def test_without_a_writable_journal_what_it_said_before_the_merge_is_forgotten(tmp_path: Path) -> None:
    world = JournalledWorld(tmp_path, coarsen_above=50, records=1_000)
    serve_for(world, 200)
    world.do(_fallen(world))
    world.tend()
    assert len(world.recorder.collect().rows) < 10
    assert list((tmp_path / world.boot).glob("segment-*")) == []
    world.stop()


def test_what_is_held_stays_held_while_the_disk_says_the_old_rows(tmp_path: Path) -> None:
    world = JournalledWorld(tmp_path, coarsen_above=50, records=1_000)
    serve_for(world, 200)
    world.do(world.journal._coarsen())
    # The checkpoint of the merge cannot be put in its place, nor can anything be deleted.
    (tmp_path / world.boot / "checkpoint-00000002").mkdir()
    for _ in range(3):
        world.tend()
        assert world.recorder.is_held
        assert world.recorder.collect().rows == ()
        world.time.pass_(10.0)
    (tmp_path / world.boot / "checkpoint-00000002").rmdir()
    world.tend()
    assert 0 < len(world.recorder.collect().rows) < 10
    world.stop()


async def _fallen(world: JournalledWorld) -> None:
    world.journal._fall("a test took the disk away")


def test_a_flush_after_a_long_outage_comes_in_bounded_pieces() -> None:
    world = World()
    serve_for(world, MAX_ROWS + 100)
    first = world.recorder.collect()
    assert len(first.rows) == MAX_ROWS
    world.recorder.acknowledge(first)
    assert len(world.recorder.collect().rows) == 100
