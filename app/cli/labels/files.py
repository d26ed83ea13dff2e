"""Files of labels: CSV with a head, or one JSON object a line; read record by record, each with its place.

Rule: a record that cannot be a label is told with its line and left out; the records around it are read.
"""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from app.cli.output import Refused
from app.cli.verbs import ExitCode
from app.errors import InvalidInput
from app.strict_json import strict_loads
from app.terminal.text import plain

Item: TypeAlias = Mapping[str, Any]  # as the feedback API takes it

COLUMNS = frozenset(
    {"receipt", "request_id", "client_key", "model", "label", "value", "metric", "observed_at", "supersedes"}
)
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file.

    Attributes:
        line: Its last line, from 1.
        item: Its label as the API takes it; None when it is invalid.
        why: The reason why it is invalid; empty when it is valid.
    """

    line: int
    item: Item | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file, up to which it has been read.

    Attributes:
        offset: In bytes.
        line: Lines before it.
        digest: SHA-256 of the bytes before it, in hexadecimal.
    """

    offset: int
    line: int
    digest: str


class LabelFile:
    """An open file of labels."""

    def __init__(self, path: Path, file: BinaryIO, model: str | None) -> None:
        """Read the head of a CSV file.

        Args:
            path: For its ending and for sentences.
            file: Open at its beginning.
            model: Whose predictions those records mean that name one by an id and say no model.

        Raises:
            Refused: It is not a file of labels.
        """
        self._path = path
        self._file = file
        self._model = model
        self._digest = sha256()
        self._offset = self._line = 0
        self._read = self._reader()

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._offset

    @property
    def place(self) -> Place:
        """The place behind the last record that was read."""
        return Place(self._offset, self._line, self._digest.hexdigest())

    def go_on_at(self, place: Place) -> bool:
        """Skip what was read before; False if the file is another one by now and nothing can be skipped."""
        while self._offset < place.offset:
            block = self._file.read(min(_BLOCK, place.offset - self._offset))
            if not block:
                break
            self._took(block)
        self._line = place.line
        return self.place == place

    def records(self) -> Iterator[Record]:
        """The records that have not been read yet. Raises: Refused: the file is not text."""
        return self._read()

    def _reader(self) -> Callable[[], Iterator[Record]]:
        match self._path.suffix.lower():
            case ".csv":
                rows = csv.reader(self._lines(), strict=True)
                head = self._head(rows)
                return lambda: self._csv_records(rows, head)
            case ".ndjson" | ".jsonl":
                return self._json_records
            case _:
                raise self._refused("is neither .csv nor .ndjson")

    def _head(self, rows: Iterator[list[str]]) -> list[str]:
        try:
            head = [name.strip() for name in next(rows, [])]
        except csv.Error as problem:
            raise self._refused(f"is invalid CSV: {problem}") from None
        unknown = [name for name in head if name not in COLUMNS]
        if unknown or len(set(head)) != len(head):
            wrong = f"the column {plain(unknown[0])} is unknown" if unknown else "a column stands there twice"
            raise self._refused(f"has an invalid head: {wrong}; known are {', '.join(sorted(COLUMNS))}")
        if not {"label", "value"} & set(head) or not {"receipt", "request_id", "client_key"} & set(head):
            raise self._refused("needs a column label or value, and one of receipt, request_id and client_key")
        return head

    def _csv_records(self, rows: Iterator[list[str]], head: list[str]) -> Iterator[Record]:
        while True:
            try:
                row = next(rows, None)
            except csv.Error as problem:
                raise self._refused(f"is invalid CSV at line {self._line}: {problem}") from None
            if row is None:
                return
            if row:
                yield self._csv_record(head, row)

    def _csv_record(self, head: list[str], row: list[str]) -> Record:
        if len(row) != len(head):
            return Record(self._line, None, f"{len(row)} cells, and the head has {len(head)}")
        said = {name: cell.strip() for name, cell in zip(head, row, strict=True) if cell.strip()}
        try:
            item = {name: _READ.get(name, str)(cell) for name, cell in said.items()}
        except ValueError as problem:
            return Record(self._line, None, str(problem))
        return Record(self._line, self._completed(item))

    def _json_records(self) -> Iterator[Record]:
        for text in self._lines():
            if not text.strip():
                continue
            yield self._json_record(text)

    def _json_record(self, text: str) -> Record:
        try:
            # As the gateway reads it, which would refuse all other records with this one.
            item = strict_loads(text.rstrip().encode(), "line")
        except InvalidInput as bad:
            return Record(self._line, None, bad.why)
        if not isinstance(item, dict):
            return Record(self._line, None, "not a JSON object")
        return Record(self._line, self._completed(item))

    def _completed(self, item: Item) -> Item:
        """The item with the model that the command named, where it is needed and missing."""
        if self._model is None or "receipt" in item or "model" in item:
            return item
        return {**item, "model": self._model}

    def _lines(self) -> Iterator[str]:
        for line in iter(self._file.readline, b""):
            try:
                text = line.decode("utf-8-sig" if self._offset == 0 else "utf-8")
            except UnicodeDecodeError:
                raise self._refused(f"is not UTF-8 in line {self._line + 1}") from None
            self._took(line)
            self._line += 1
            yield text

    def _took(self, block: bytes) -> None:
        self._digest.update(block)
        self._offset += len(block)

    def _refused(self, why: str) -> Refused:
        return Refused(ExitCode.USAGE, f"{plain(self._path)} {why}.")


def _label(cell: str) -> object:
    """A number, true or false where it is one in JSON, otherwise text. Raises: ValueError: a number, not finite."""
    if _is_no_finite_number(cell):
        raise ValueError("the cell is a number that is not finite")
    try:
        read = json.loads(cell)
    except ValueError:
        return cell
    return read if isinstance(read, int | float) else cell


def _is_no_finite_number(cell: str) -> bool:
    """Whether whoever wrote it meant NaN or an infinity, however that is spelt; no class is called so."""
    try:
        return not math.isfinite(float(cell))
    except ValueError:
        return False


def _value(cell: str) -> object:
    read = _label(cell)
    if isinstance(read, str):
        raise ValueError("the value is not a number")  # noqa: TRY004 -- the text is, not the type
    return read


def _revision(cell: str) -> int:
    if not cell.isdecimal():
        raise ValueError("supersedes is not a whole number")
    return int(cell)


_READ: Mapping[str, Callable[[str], object]] = {"label": _label, "value": _value, "supersedes": _revision}
