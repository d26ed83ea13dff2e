"""What dead processes left in their journals, as rows to write in their name.

Rule: a dead boot's folder is read under its lock and deleted only when its rows are in Postgres;
what makes no sense is counted and left out, and what a newer Turnback wrote is left alone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from app.domain.evidence.tally import TallyRow, UnitRow
from app.recording import checkpoint, journal_record
from app.recording.journal_files import BootFolder
from app.recording.journal_record import HEADER, NewerFormat, Replay, Unreadable

log = structlog.get_logger()


class DeadBoot:
    """All that one dead process counted and may not have written.

    Attributes:
        boot: Its UUID, hexadecimal.
        rows: With as many draws as ends: what was never answered is not counted.
        units: First exchanges of sticky callers.
        bad_records: Records, segments and checkpoints that could not be read.
    """

    def __init__(self, folder: BootFolder, replay: Replay) -> None:
        self._folder = folder
        self.boot = folder.path.name
        self.rows: tuple[TallyRow, ...] = tuple(cell.recovered_row() for cell in replay.cells.values())
        self.units: tuple[UnitRow, ...] = tuple(replay.units.values())
        self.bad_records = replay.bad_records

    def forget(self) -> None:
        """All of it is in Postgres: delete the folder."""
        self._folder.delete()

    def let_go(self) -> None:
        """Leave it to the next one who looks."""
        self._folder.let_go()


class DeadBoots:
    """Finds the journals of dead processes under one folder."""

    def __init__(self, journals: Path) -> None:
        self._journals = journals
        self._left_alone: set[str] = set()

    def find(self) -> Iterator[DeadBoot]:
        """One after the other; each must be told `forget` or `let_go`."""
        if not self._journals.is_dir():
            return
        for path in sorted(self._journals.iterdir()):
            dead = self._read(path) if _is_boot(path) else None
            if dead is not None:
                yield dead

    def _read(self, path: Path) -> DeadBoot | None:
        """What is in a folder; None when it is somebody else's or cannot be read."""
        folder = None
        try:
            folder = BootFolder.take_over(path)
            return None if folder is None else DeadBoot(folder, replayed(folder))
        except (NewerFormat, OSError) as why:
            if folder is not None:
                folder.let_go()
            self._leave_alone(path, why)
            return None

    def _leave_alone(self, path: Path, why: Exception) -> None:
        if path.name not in self._left_alone:
            self._left_alone.add(path.name)
            log.warning("journal.left_alone", folder=str(path), why=str(why) or type(why).__name__)


def replayed(folder: BootFolder) -> Replay:
    """The last checkpoint and the segments since. Raises: OSError, NewerFormat."""
    first, replay = _last_checkpoint(folder)
    for number, path in folder.numbered("segment").items():
        if number < first:
            continue
        content = path.read_bytes()
        try:
            boot, of = journal_record.read_header(content)
        except Unreadable:
            replay.bad_records += any(content)
            continue
        if (boot, of) == (UUID(folder.path.name).hex, number):
            replay.add(content[HEADER:])
        else:
            replay.bad_records += 1
    return replay


def _last_checkpoint(folder: BootFolder) -> tuple[int, Replay]:
    """The newest one that can be read, and the number of the segment it began with."""
    bad = 0
    found: Final = reversed(folder.numbered("checkpoint").items())
    for number, path in found:
        try:
            known = checkpoint.read(path)
        except Unreadable:
            bad += 1
            continue
        replay = Replay(known.cells, known.units)
        replay.bad_records = bad
        return number, replay
    replay = Replay()
    replay.bad_records = bad
    return 0, replay


def _is_boot(path: Path) -> bool:
    try:
        return UUID(path.name).hex == path.name
    except ValueError:
        return False
