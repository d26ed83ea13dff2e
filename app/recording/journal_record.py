"""The journal's 32-byte records and its segments' header: values to bytes and back.

Rule: little-endian, fixed layout, a crc32 over each; zeros mean that nothing was written there.
What a number stands for never changes within one FORMAT.

    header (64)  magic 8 · format u16 · 2 unused · segment u32 · boot 16 · 28 unused · crc32
    ended (32)   kind u8 · outcome u8 · latency bin u16 · arm u32 · second u32 · unit i64 · salted_at i64 · crc32
    excluded     the same, with zeros where it has nothing to say
    counted      the same; `outcome` is the counter's position, `unit` the amount
    opened       the same; the row was handed out before anything of it had ended
    arm (32)     kind u8 · part u8 · parts u16 · arm u32 · 20 bytes of its name · crc32
"""

import sys
from collections import Counter as Multiset
from collections.abc import Iterable, Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812 -- the standard library's lower-case class
from typing import Final
from uuid import UUID
from zlib import crc32

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Counter, TallyKey, UnitRow
from app.recording.tally_row import OUTCOMES, Cell

FORMAT: Final = 1
MAGIC: Final = b"TBjournl"
HEADER: Final = 64
RECORD: Final = 32
BODY: Final = 28
ENDED, EXCLUDED, COUNTED, OPENED, ARM = 1, 2, 3, 4, 5
COUNTERS: Final = tuple(Counter)
COUNTER_AT: Final = {counter: position for position, counter in enumerate(COUNTERS)}

pack_body: Final = Struct("<BBHIIqq").pack
_BODY: Final = Struct("<BBHIIqqI")
_HEADER: Final = Struct("<8sHxxI16s28xI")
_FORMAT: Final = Struct("<8sH")
_ARM: Final = Struct("<BBHI20s")
_TEXT: Final = 20
_CRC: Final = Struct("<I")
_NOTHING: Final = bytes(RECORD)
_DETAILS: Final = {ENDED: len(OUTCOMES), EXCLUDED: 1, COUNTED: len(COUNTERS), OPENED: 1}

ArmName = tuple[ModelName, int, VersionName]


class Unreadable(Exception):
    """These bytes are no segment or checkpoint of ours, or not any more."""


class NewerFormat(Exception):
    """A later version of Turnback wrote this; only that one may read and delete it."""


def header(boot: str, segment: int) -> bytes:
    """The first HEADER bytes of a segment."""
    packed = _HEADER.pack(MAGIC, FORMAT, segment, UUID(boot).bytes, 0)[:-4]
    return packed + _CRC.pack(crc32(packed))


def read_header(start: bytes) -> tuple[str, int]:
    """Boot and segment number. Raises: NewerFormat, Unreadable."""
    check_format(start)
    try:
        _, _, segment, boot, checksum = _HEADER.unpack(start[:HEADER])
    except StructError:
        raise Unreadable from None
    if checksum != crc32(start[: HEADER - 4]):
        raise Unreadable
    return UUID(bytes=boot).hex, segment


def check_format(start: bytes) -> None:
    """Look at magic and format, which stand first in every format. Raises: NewerFormat, Unreadable."""
    if len(start) < _FORMAT.size:
        raise Unreadable
    magic, version = _FORMAT.unpack_from(start)
    if magic != MAGIC:
        raise Unreadable
    if version > FORMAT:
        raise NewerFormat


def arm_records(number: int, arm: ArmName) -> Iterator[bytes]:
    """The records, without checksums, that say which arm a number stands for."""
    model, generation, version = arm
    text = f"{generation}\n{model}\n{version}".encode()
    parts = [text[at : at + _TEXT] for at in range(0, len(text), _TEXT)]
    for part, piece in enumerate(parts):
        yield _ARM.pack(ARM, part, len(parts), number, piece)


class Replay:
    """Adds up what segments say, on top of a checkpoint.

    Attributes:
        cells: Rows by key; an exchange without an end is not in them.
        units: First exchanges by unit, the first one found.
        bad_records: How many made no sense and were left out.
    """

    def __init__(self, cells: Iterable[Cell] = (), units: Iterable[UnitRow] = ()) -> None:
        self.cells = {cell.key: cell for cell in cells}
        self.units = {(unit.model, unit.salted_at, unit.unit): unit for unit in units}
        self.bad_records = 0

    def add(self, records: bytes) -> None:
        """Take in all records of one segment, which is all there is to its arms' numbers."""
        whole = len(records) // RECORD * RECORD
        self.bad_records += any(records[whole:])
        last = len(records[:whole].rstrip(b"\0"))
        # Many exchanges end alike: each distinct record is read once.
        found = Multiset(records[at : at + RECORD] for at in range(0, last, RECORD))
        self.bad_records += found.pop(_NOTHING, 0)
        sound = {record: times for record, times in found.items() if crc32(record[:BODY]) == _crc_of(record)}
        self.bad_records += found.total() - sum(sound.values())
        arms = _arms(record for record in sound if record[0] == ARM)
        for record, times in sound.items():
            if record[0] != ARM and not self._count(record, times, arms):
                self.bad_records += times

    def _count(self, record: bytes, times: int, arms: dict[int, ArmName]) -> bool:
        """Whether the record made sense."""
        kind, detail, index, number, second, unit, salted_at, _ = _BODY.unpack(record)
        arm = arms.get(number)
        if arm is None or detail >= _DETAILS.get(kind, 0):
            return False
        model, generation, version = arm
        key = TallyKey(second, model, generation, version)
        cell = self.cells.setdefault(key, Cell(key))
        if kind == EXCLUDED:
            cell.excluded += times
        elif kind == COUNTED:
            cell.counted += times
            cell.counters[COUNTERS[detail]] = cell.counters.get(COUNTERS[detail], 0) + unit * times
        elif kind == ENDED:
            cell.exchanges += times
            cell.outcomes[detail] += times
            cell.bins[index] = cell.bins.get(index, 0) + times
            if salted_at:
                row = UnitRow(model, salted_at, unit, second, generation, version, OUTCOMES[detail], index)
                self.units.setdefault((model, salted_at, unit), row)
        return True


def _crc_of(record: bytes) -> int:
    # Written as a machine word; a journal never leaves its machine.
    return int.from_bytes(record[BODY:], sys.byteorder)


def _arms(records: Iterable[bytes]) -> dict[int, ArmName]:
    """What each number stands for, of those whose every part is there."""
    parts: dict[int, dict[int, bytes]] = {}
    wanted: dict[int, int] = {}
    for record in records:
        _, part, count, number, text = _ARM.unpack(record[:BODY])
        parts.setdefault(number, {})[part] = text
        wanted[number] = count
    arms: dict[int, ArmName] = {}
    for number, found in parts.items():
        if len(found) == wanted[number]:
            text = b"".join(found[part] for part in sorted(found)).rstrip(b"\0").decode(errors="replace")
            generation, model, version = text.split("\n")
            arms[number] = (ModelName(model), int(generation), VersionName(version))
    return arms
