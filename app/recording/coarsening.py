"""Fewer, wider rows: what waits for Postgres is merged by the minute, then by the hour.

Rule: only decided rows that Postgres cannot have are merged, each into the first row of its arm in
the same step of time; no count is lost and none is moved to another arm or generation (ADR 0051).
"""

from collections.abc import Iterable
from typing import Final

from app.domain.evidence.tally import TallyKey
from app.recording.tally_row import Cell

STEPS_S: Final = (60, 3_600)


def is_mergeable(cell: Cell, second: int) -> bool:
    """Whether nothing can change this row any more and Postgres never saw it.

    Args:
        second: The one that draws are counted in now.
    """
    return not cell.handed_out and cell.second < second and cell.is_decided


def coarsened(cells: Iterable[Cell], second: int, most: int) -> dict[TallyKey, Cell]:
    """The same counts in fewer rows, as fine as `most` rows allow; perhaps in more than `most`."""
    by_key = {cell.key: cell for cell in cells}
    for step_s in STEPS_S:
        if len(by_key) <= most:
            break
        by_key = _merged(by_key.values(), second, step_s)
    return by_key


def _merged(cells: Iterable[Cell], second: int, step_s: int) -> dict[TallyKey, Cell]:
    merged: dict[TallyKey, Cell] = {}
    firsts: dict[tuple[object, ...], Cell] = {}
    for cell in sorted(cells, key=_second_of):
        key = cell.key
        if not is_mergeable(cell, second):
            merged[key] = cell
            continue
        place = (key.model, key.generation, key.version, key.second // step_s)
        first = firsts.get(place)
        if first is None:
            # A copy: a checkpoint that is still being written may hold the cell itself.
            first = firsts[place] = merged[key] = Cell(key, cell.number)
        first.add(cell)
    return merged


def _second_of(cell: Cell) -> int:
    return cell.second
