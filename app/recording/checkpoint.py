"""A checkpoint: all that a journal knew when a segment began, in a file with a checksum.

Rule: it holds ended exchanges only, as those still open get their records later; and it is whole or
it does not exist: written aside, synced, then renamed.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from app import private
from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Counter, Outcome, TallyKey, UnitRow
from app.recording.journal_record import FORMAT, MAGIC, Unreadable, check_format
from app.recording.tally_row import OUTCOMES, Cell

_START: Final = MAGIC + FORMAT.to_bytes(2, "little")
_DIGEST: Final = 32


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Absolute counts at one instant.

    Attributes:
        cells: Rows that change no more, or copies of what had ended of the others.
        units: First exchanges that Postgres is not known to have.
    """

    cells: tuple[Cell, ...] = ()
    units: tuple[UnitRow, ...] = ()

    def lines(self) -> Iterator[bytes]:
        """The file's lines, one row each, so that whoever writes it can pause between them."""
        for cell in self.cells:
            yield orjson.dumps(_from_cell(cell), option=orjson.OPT_APPEND_NEWLINE)
        for unit in self.units:
            yield orjson.dumps(_from_unit(unit), option=orjson.OPT_APPEND_NEWLINE)


def write(path: Path, lines: bytes) -> None:
    """Put the file in place, durably. Raises: OSError."""
    aside = path.with_suffix(".tmp")
    try:
        with os.fdopen(private.open_file(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(_START + sha256(lines).digest() + lines)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        sync_folder(path.parent)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def read(path: Path) -> Checkpoint:
    """What `write` wrote. Raises: OSError, NewerFormat, Unreadable."""
    content = path.read_bytes()
    check_format(content)
    digest, lines = content[len(_START) : len(_START) + _DIGEST], content[len(_START) + _DIGEST :]
    if sha256(lines).digest() != digest:
        raise Unreadable
    rows = [orjson.loads(line) for line in lines.splitlines()]
    return Checkpoint(
        tuple(_to_cell(*row) for kind, *row in rows if kind == "cell"),
        tuple(_to_unit(*row) for kind, *row in rows if kind == "unit"),
    )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises: OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _from_cell(cell: Cell) -> list[Any]:
    key = cell.key
    outcomes = {outcome.value: count for outcome, count in zip(OUTCOMES, cell.outcomes, strict=True) if count}
    counters = {counter.value: count for counter, count in cell.counters.items()}
    bins = list(cell.bins.items())
    arm = [key.second, key.model, key.generation, key.version]
    return ["cell", *arm, outcomes, cell.excluded, bins, counters, cell.counted]


def _to_cell(
    second: int,
    model: str,
    generation: int,
    version: str,
    outcomes: dict[str, int],
    excluded: int,
    bins: Iterable[tuple[int, int]],
    counters: dict[str, int],
    counted: int,
) -> Cell:
    cell = Cell(TallyKey(second, ModelName(model), generation, VersionName(version)))
    cell.outcomes = [outcomes.get(outcome.value, 0) for outcome in OUTCOMES]
    cell.exchanges = cell.ended
    cell.excluded = excluded
    cell.bins = dict(bins)
    cell.counters = {Counter(name): count for name, count in counters.items()}
    cell.counted = counted
    return cell


def _from_unit(unit: UnitRow) -> list[Any]:
    arm = [unit.second, unit.generation, unit.version]
    return ["unit", unit.model, unit.salted_at, unit.unit, *arm, unit.outcome.value, unit.latency_bin]


def _to_unit(
    model: str, salted_at: int, unit: int, second: int, generation: int, version: str, outcome: str, latency_bin: int
) -> UnitRow:
    arm = (second, generation, VersionName(version))
    return UnitRow(ModelName(model), salted_at, unit, *arm, Outcome(outcome), latency_bin)
