"""A journal's files: one folder per boot, locked while it lives, with segments and checkpoints.

Rule: a segment's space is reserved before it is mapped, so that a full disk cannot fault a write.
Whoever holds the lock of a folder owns every file in it.
"""

import fcntl
import mmap
import os
import re
import shutil
from pathlib import Path
from typing import Final

from app import private
from app.recording.journal_record import HEADER, RECORD, header

SEGMENT_RECORDS: Final = 8 * 1024 * 1024 // RECORD - HEADER // RECORD
LOCK: Final = "lock"
_NUMBERED: Final = re.compile(r"(segment|checkpoint)-(\d{8})")


class Segment:
    """One mapped file that records are written to.

    Attributes:
        number: Its place among the boot's segments, from 1.
        memory: The whole file.
        words: The same as unsigned 32-bit words, in the machine's order.
        end: Where its last record ends, in bytes.
    """

    __slots__ = ("_descriptor", "_map", "end", "memory", "number", "words")

    def __init__(self, folder: Path, boot: str, number: int, records: int) -> None:
        """Make the file, with its space reserved. Raises: OSError: there is no room or no right."""
        self.number = number
        self.end = HEADER + records * RECORD
        path = segment_path(folder, number)
        self._descriptor = private.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            os.posix_fallocate(self._descriptor, 0, self.end)
            self._map = mmap.mmap(self._descriptor, self.end)
        except OSError:
            os.close(self._descriptor)
            path.unlink()
            raise
        self.memory = memoryview(self._map)
        self.words = self.memory.cast("I")
        self.memory[:HEADER] = header(boot, number)

    def sync(self) -> None:
        """Wait until what was written is on the disk. Raises: OSError."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        self.words.release()
        self.memory.release()
        self._map.close()
        os.close(self._descriptor)


class BootFolder:
    """The locked folder of one boot.

    Attributes:
        path: Its name is the boot.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, journals: Path, boot: str) -> "BootFolder":
        """A new one; nobody ever sees it without its lock held. Raises: OSError."""
        private.make_folder(journals)
        unlocked = journals / f".{boot}"
        private.make_folder(unlocked)
        lock = private.open_file(unlocked / LOCK, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path = unlocked.rename(journals / boot)
        except OSError:
            os.close(lock)
            raise
        return cls(path, lock)

    @classmethod
    def take_over(cls, path: Path) -> "BootFolder | None":
        """The folder of a boot that is dead; None while it lives or somebody else takes it over. Raises: OSError."""
        try:
            private.check_folder(path)
            lock = private.open_file(path / LOCK, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        folder = cls(path, lock)
        if not (path / LOCK).exists():
            # Whoever held the lock before has dealt with it.
            folder.let_go()
            return None
        return folder

    def numbered(self, kind: str) -> dict[int, Path]:
        """Files of a kind, `segment` or `checkpoint`, by number, ascending."""
        found = (_NUMBERED.fullmatch(path.name) for path in self.path.iterdir())
        numbers = sorted(int(match[2]) for match in found if match and match[1] == kind)
        return {number: self.path / f"{kind}-{number:08}" for number in numbers}

    def delete_before(self, number: int) -> None:
        """Delete what a checkpoint of this number has made superfluous."""
        for kind in ("segment", "checkpoint"):
            for each, path in self.numbered(kind).items():
                if each < number:
                    path.unlink()

    def empty(self) -> None:
        """Delete every segment and checkpoint, the oldest checkpoint last, so that no replay starts in the middle."""
        for path in (*self.numbered("segment").values(), *reversed(self.numbered("checkpoint").values())):
            path.unlink()

    def delete(self) -> None:
        """Delete the folder, then let go of it; what cannot be deleted is written once more, which changes nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.let_go()

    def let_go(self) -> None:
        os.close(self._lock)


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"segment-{number:08}"


def checkpoint_path(folder: Path, number: int) -> Path:
    """Of what was known when the segment of the same number began."""
    return folder / f"checkpoint-{number:08}"
