"""The journal: what has ended is found again after a kill, once, whatever happened to the files."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from proxy.recording import JournalledWorld, Store

from app.domain.evidence.tally import Counter, Outcome
from app.recording.journal_files import BootFolder, segment_path
from app.recording.journal_record import COUNTERS, FORMAT, HEADER, MAGIC, RECORD
from app.recording.recorder import CANCELLED, TIMEOUT
from app.recording.recovery import DeadBoots
from app.recording.tally_row import OUTCOMES


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def recovered(journals: Path) -> Store:
    store = Store()
    store.recover(journals)
    return store


def files(journals: Path) -> list[str]:
    return sorted(str(path.relative_to(journals)) for path in journals.rglob("*") if path.is_file())


def test_what_a_number_stands_for_is_fixed_within_a_format() -> None:
    assert FORMAT == 1
    assert (
        *(Outcome.OK, Outcome.CLIENT_ERROR, Outcome.UPSTREAM_ERROR, Outcome.CONNECT_ERROR),
        *(Outcome.TIMEOUT, Outcome.OVERLOADED, Outcome.CANCELLED),
    ) == OUTCOMES
    assert [counter.value for counter in COUNTERS] == [
        *("forced", "read", "skipped", "invalid", "nonfinite", "prompt_tokens", "completion_tokens"),
        *("usage_estimated", "mirror_dropped", "mirror_pairs", "mirror_agreed", "mirror_differed"),
        *("mirror_only_primary_ok", "mirror_only_mirror_ok", "mirror_neither_ok", "mirror_slower"),
        "mirror_latency_difference_us",
    ]


def test_what_ended_is_found_after_a_kill_and_what_had_not_is_not(journals: Path) -> None:
    world = JournalledWorld(journals)
    world.serve()
    world.serve(TIMEOUT)
    world.end(world.draw(world.other_arm), CANCELLED)
    world.draw().count_latency(world.time.monotonic + 0.1)
    world.draw()
    world.exclude()
    world.recorder.count(world.arm, {Counter.READ: 1, Counter.PROMPT_TOKENS: 700}, world.time.monotonic)
    world.be_killed()
    store = recovered(journals)
    assert store.ended == {("v1", Outcome.OK): 1, ("v1", Outcome.TIMEOUT): 1, ("v2", Outcome.CANCELLED): 1}
    assert store.exchanges == store.bins.total() == 3
    assert store.excluded == 1
    assert store.counters == {Counter.READ: 1, Counter.PROMPT_TOKENS: 700}
    assert files(journals) == []


@pytest.mark.parametrize("served_later", [0, 1])
def test_a_recovered_row_wins_over_every_flush_of_its_boot(journals: Path, served_later: int) -> None:
    world = JournalledWorld(journals)
    store = Store()
    world.serve()
    open_one = world.draw()
    store.write(world.recorder.collect(), world.boot)
    open_one.count_latency(world.time.monotonic)
    known = world.recorder.collect()
    for _ in range(served_later):
        world.serve()
    world.be_killed()
    store.write(known, world.boot)
    store.recover(journals, forget=False)
    (row,) = store.rows.values()
    assert (row.tally.exchanges, row.tally.outcomes) == (1 + served_later, {Outcome.OK: 1 + served_later})
    store.write(known, world.boot)
    assert list(store.rows.values()) == [row]


def test_damage_that_took_records_away_does_not_take_rows_back(journals: Path) -> None:
    world = JournalledWorld(journals)
    store = Store()
    world.serve()
    world.serve()
    store.write(world.recorder.collect(), world.boot)
    world.be_killed()
    segment = segment_path(journals / world.boot, 1)
    segment.write_bytes(segment.read_bytes()[: -60 * RECORD])
    store.recover(journals)
    assert store.ended == {("v1", Outcome.OK): 2}


def test_a_living_process_keeps_its_folder_from_others(journals: Path) -> None:
    world = JournalledWorld(journals)
    world.serve()
    assert list(DeadBoots(journals).find()) == []
    world.be_killed()
    (dead,) = DeadBoots(journals).find()
    assert list(DeadBoots(journals).find()) == []
    dead.let_go()
    (again,) = DeadBoots(journals).find()
    assert again.rows == dead.rows
    again.forget()
    assert BootFolder.take_over(journals / world.boot) is None


def test_a_process_that_wrote_everything_leaves_nothing(journals: Path) -> None:
    world = JournalledWorld(journals)
    world.serve()
    world.recorder.acknowledge(world.recorder.collect())
    world.stop()
    assert files(journals) == []


def test_a_process_that_could_not_write_everything_leaves_it_to_the_next(journals: Path) -> None:
    world = JournalledWorld(journals)
    world.serve()
    world.stop()
    assert recovered(journals).ended == {("v1", Outcome.OK): 1}


def test_a_full_segment_is_replaced_by_a_checkpoint_and_disk_use_stays_bounded(journals: Path) -> None:
    world = JournalledWorld(journals, records=16)
    slow = world.draw()
    slow.count_latency(world.time.monotonic + 0.2)
    for _ in range(500):
        world.serve()
        world.tend()
    assert len(files(journals)) == 4  # the lock, one checkpoint, the segment in use and the next one
    world.end(slow)
    world.be_killed()
    store = recovered(journals)
    assert store.ended == {("v1", Outcome.OK): 501}
    assert store.bins.total() == 501


def test_a_kill_between_a_new_segment_and_its_checkpoint_loses_nothing(journals: Path) -> None:
    world = JournalledWorld(journals, records=16)
    for _ in range(20):
        world.serve()
    assert {"checkpoint-00000001", "segment-00000001", "segment-00000002"} <= {
        name.split("/")[1] for name in files(journals)
    }
    world.be_killed()
    assert recovered(journals).ended == {("v1", Outcome.OK): 20}


def test_a_burst_beyond_the_prepared_segment_goes_on_in_memory_and_is_journalled_again(journals: Path) -> None:
    world = JournalledWorld(journals, records=16)
    for _ in range(100):
        world.serve()
    assert not world.journal.is_up
    world.time.pass_(10.0)
    world.tend()
    assert world.journal.is_up
    world.serve()
    world.be_killed()
    assert recovered(journals).ended == {("v1", Outcome.OK): 101}


# ---------------------------------------------------------------------- damaged files


def test_a_record_that_makes_no_sense_is_counted_and_left_out(journals: Path) -> None:
    world = JournalledWorld(journals)
    for _ in range(10):
        world.serve()
    world.be_killed()
    with segment_path(journals / world.boot, 1).open("r+b") as file:
        file.seek(HEADER + 5 * RECORD + 3)
        file.write(b"\xff")
    store = Store()
    assert store.recover(journals) == 1
    assert store.ended == {("v1", Outcome.OK): 9}


def test_a_hole_in_the_middle_is_counted_by_its_records(journals: Path) -> None:
    world = JournalledWorld(journals)
    for _ in range(10):
        world.serve()
    world.be_killed()
    with segment_path(journals / world.boot, 1).open("r+b") as file:
        file.seek(HEADER + 5 * RECORD)
        file.write(bytes(3 * RECORD))
    store = Store()
    assert store.recover(journals) == 3
    assert store.ended == {("v1", Outcome.OK): 7}


@pytest.mark.parametrize("cut", [1, 31, 33, 40, 500, 1_000, 2_047, 2_100])
def test_a_truncated_segment_yields_the_records_before_the_cut(journals: Path, cut: int) -> None:
    world = JournalledWorld(journals)
    for _ in range(60):
        world.serve()
    world.be_killed()
    segment = segment_path(journals / world.boot, 1)
    content = segment.read_bytes()
    segment.write_bytes(content[: len(content) - cut])
    store = Store()
    store.recover(journals)
    # One record says which arm it is, three were never written.
    kept = max(0, (len(content) - cut - HEADER) // RECORD - 1)
    assert store.ended.total() == min(60, kept)


def test_records_of_an_arm_that_nothing_introduces_are_left_out(journals: Path) -> None:
    world = JournalledWorld(journals)
    world.serve()
    world.end(world.draw(world.other_arm))
    world.be_killed()
    with segment_path(journals / world.boot, 1).open("r+b") as file:
        file.seek(HEADER)
        file.write(b"\xff")
    store = Store()
    assert store.recover(journals) == 2
    assert store.ended == {("v2", Outcome.OK): 1}


def test_a_damaged_checkpoint_costs_itself_and_nothing_else(journals: Path) -> None:
    world = JournalledWorld(journals, records=16)
    for _ in range(35):
        world.serve()
        world.tend()
    world.be_killed()
    (checkpoint,) = (journals / world.boot).glob("checkpoint-*")
    content = bytearray(checkpoint.read_bytes())
    content[-3] ^= 1
    checkpoint.write_bytes(content)
    store = Store()
    assert store.recover(journals) == 1
    assert 0 < store.ended.total() < 35


@pytest.mark.parametrize("kind", ["segment", "checkpoint"])
def test_what_a_newer_turnback_wrote_is_left_alone(journals: Path, kind: str) -> None:
    world = JournalledWorld(journals)
    world.serve()
    world.be_killed()
    path = journals / world.boot / f"{kind}-00000001"
    content = path.read_bytes()
    path.write_bytes(MAGIC + (FORMAT + 1).to_bytes(2, "little") + content[10:])
    before = files(journals)
    finder = DeadBoots(journals)
    assert list(finder.find()) == []
    assert list(finder.find()) == []
    assert files(journals) == before


@pytest.mark.parametrize("content", [b"", b"x", b"TBjournl", bytes(64), b"garbage" * 100])
def test_files_that_are_no_segments_are_counted_or_skipped(journals: Path, content: bytes) -> None:
    world = JournalledWorld(journals)
    world.serve()
    world.be_killed()
    (journals / world.boot / "segment-00000007").write_bytes(content)
    store = Store()
    assert store.recover(journals) == any(content)
    assert store.ended == {("v1", Outcome.OK): 1}


def test_a_folder_that_cannot_be_read_keeps_nobody_else_waiting(journals: Path) -> None:
    world = JournalledWorld(journals)
    world.serve()
    world.be_killed()
    # Whoever it is, root may read everything; a folder in the place of a file it may not.
    (journals / ("0" * 32) / "lock").mkdir(parents=True)
    assert recovered(journals).ended == {("v1", Outcome.OK): 1}


def test_folders_that_are_no_boots_are_not_touched(journals: Path) -> None:
    for name in ("notes", ".half-made", "0" * 31):
        (journals / name).mkdir(parents=True)
        (journals / name / "lock").touch()
    assert list(DeadBoots(journals).find()) == []
    assert len(files(journals)) == 3


# ---------------------------------------------------------------------- disks that do not take it


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond half a kilobyte: what reserves more is refused, as by a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_without_room_counting_goes_on_in_memory(journals: Path) -> None:
    with full_disk():
        world = JournalledWorld(journals)
        assert world.recorder.since_start().journal_up is False
        world.serve()
        assert world.recorder.collect().rows[0].tally.outcomes == {Outcome.OK: 1}
        assert [name for name in files(journals) if "segment" in name] == []
    world.stop()


def test_a_disk_that_fills_up_stops_no_counting_and_what_is_reserved_is_used(journals: Path) -> None:
    world = JournalledWorld(journals, records=64)
    with full_disk():
        for _ in range(60):
            world.serve()
            world.tend()
        assert world.journal.is_up
        for _ in range(200):
            world.serve()
            world.tend()
            world.time.pass_(1.0)
        assert not world.journal.is_up
    world.time.pass_(10.0)
    world.tend()
    assert world.journal.is_up
    world.serve()
    world.be_killed()
    assert recovered(journals).ended == {("v1", Outcome.OK): 261}


def test_a_journal_that_found_no_room_is_tried_again_and_then_knows_everything(journals: Path) -> None:
    journals.write_text("a file where the folder belongs")
    world = JournalledWorld(journals)
    world.serve()
    world.tend()
    assert not world.journal.is_up
    journals.unlink()
    world.tend()
    assert not world.journal.is_up
    world.time.pass_(10.0)
    world.tend()
    assert world.journal.is_up
    world.serve()
    world.be_killed()
    assert recovered(journals).ended == {("v1", Outcome.OK): 2}


def test_a_folder_that_was_deleted_under_a_living_process_is_made_anew(journals: Path) -> None:
    world = JournalledWorld(journals, records=16)
    world.serve()
    shutil.rmtree(journals)
    for _ in range(50):
        world.serve()
        world.tend()
        world.time.pass_(1.0)
    assert world.journal.is_up
    world.be_killed()
    assert recovered(journals).ended.total() == 51


def test_space_is_reserved_before_it_is_used(journals: Path) -> None:
    world = JournalledWorld(journals, records=1_000)
    found = segment_path(journals / world.boot, 1).stat()
    assert found.st_blocks * 512 >= 1_000 * RECORD
    world.stop()
