"""Batches of labels on this machine's disk while Postgres is away.

Rule: `append` returns when a batch is on the disk and not before; a file belongs to who holds its
lock, so what a dead process left is taken over, and what a live one writes is not (ADR 0094).
"""

import fcntl
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from app import private
from app.errors import SpoolFull
from app.feedback.items import Checked
from app.feedback.spooled import batches, record

BYTES_MAX: Final = 256 * 1024 * 1024
_SUFFIX: Final = ".spool"

log = structlog.get_logger()


class SpoolFile:
    """One locked file of batches.

    Attributes:
        size: Bytes that hold whole batches.
        sizes: Those that this process has written, by source.
        labels: How many are in them.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.size = 0
        self.sizes: Counter[str] = Counter()
        self.labels = 0

    @classmethod
    def create(cls, path: Path) -> "SpoolFile":
        """A new one; its name is on the disk too. Raises: OSError."""
        private.make_folder(path.parent)
        made = cls(path, private.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        fcntl.flock(made._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return made

    @classmethod
    def take_over(cls, path: Path) -> "SpoolFile | None":
        """What a dead process left; None while its process lives, or when somebody else was quicker."""
        try:
            taken = cls(path, private.open_file(path, os.O_RDWR))
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(taken._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_there = path.stat().st_ino == os.fstat(taken._descriptor).st_ino
        except (BlockingIOError, FileNotFoundError):
            is_there = False
        if not is_there:
            taken.let_go()
            return None
        taken.size = os.fstat(taken._descriptor).st_size
        taken.labels = sum(map(len, taken.batches()))
        return taken

    def append(self, written: bytes, labels: int) -> None:
        """Put a record behind the others. Raises: OSError: nothing was added."""
        try:
            at = 0
            while at < len(written):
                at += os.pwrite(self._descriptor, written[at:], self.size + at)
            os.fdatasync(self._descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(written)
        self.labels += labels

    def batches(self) -> Iterator[list[Checked]]:
        """All that is whole, in the order of its coming."""
        return batches(os.pread(self._descriptor, self.size, 0))

    def delete(self) -> None:
        """It is all in Postgres."""
        with suppress(FileNotFoundError):
            self._path.unlink()
        self.let_go()

    def put_aside(self) -> None:
        """Keep it for a person: nobody reads it any more."""
        self._path.rename(self._path.with_suffix(".refused"))
        self.let_go()

    def let_go(self) -> None:
        os.close(self._descriptor)


class Spool:
    """One process' files, and those of dead ones; the oldest first. Everything blocks."""

    def __init__(self, folder: Path, boot: str, *, bytes_max: int = BYTES_MAX, sources: int = 1) -> None:
        """Args: folder: of all processes of this machine; bytes_max: in all files of this one, in equal parts."""
        self._folder = folder
        self._boot = boot
        self._bytes_max = bytes_max
        self._share = bytes_max // sources
        self._number = 0
        self._filling: SpoolFile | None = None
        self._waiting: list[SpoolFile] = []

    @property
    def labels(self) -> int:
        """How many wait."""
        return sum(each.labels for each in self._files)

    @property
    def is_empty(self) -> bool:
        return not self._files

    def append(self, batch: Sequence[Checked], source: str) -> None:
        """Keep a batch of a source. Raises: SpoolFull: it is not kept."""
        written = record(batch)
        if sum(each.size for each in self._files) + len(written) > self._bytes_max:
            raise SpoolFull("the spool is full")
        if sum(each.sizes[source] for each in self._files) + len(written) > self._share:
            raise SpoolFull("this source's part of the spool is full")
        try:
            if self._filling is None:
                self._number += 1
                self._filling = SpoolFile.create(self._folder / f"{self._boot}-{self._number:08}{_SUFFIX}")
            self._filling.append(written, len(batch))
            self._filling.sizes[source] += len(written)
        except OSError as failed:
            log.warning("feedback.not_spooled", why=str(failed))
            raise SpoolFull("the spool cannot be written") from failed

    def take_over(self) -> None:
        """Find what dead processes left, the oldest first."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}"), key=_age):
            left = None if path.name.startswith(self._boot) else SpoolFile.take_over(path)
            if left is not None:
                log.warning("feedback.spool_taken_over", labels=left.labels)
                self._waiting.append(left)

    def oldest(self) -> SpoolFile | None:
        """The file to write to Postgres next; nothing is added to it any more."""
        if not self._waiting and self._filling is not None:
            self._waiting.append(self._filling)
            self._filling = None
        return self._waiting[0] if self._waiting else None

    def done(self, file: SpoolFile) -> None:
        """It is in Postgres."""
        self._waiting.remove(file)
        file.delete()

    def refuse(self, file: SpoolFile) -> None:
        """Postgres takes it never."""
        self._waiting.remove(file)
        file.put_aside()

    def close(self) -> None:
        """Leave what waits to whoever comes next."""
        for file in self._files:
            file.let_go()
        self._waiting, self._filling = [], None

    @property
    def _files(self) -> list[SpoolFile]:
        return [*self._waiting, *([] if self._filling is None else [self._filling])]


def _age(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_mtime_ns, path.name
    except FileNotFoundError:
        return 0, path.name
