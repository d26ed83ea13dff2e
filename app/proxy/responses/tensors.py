"""Tensors of the Open Inference Protocol, as JSON or as bytes behind it, and what they predict.

Source: kserve/open-inference-protocol, "Inference REST API"; Triton's binary tensor data and
classification extensions.
"""

import re
import struct
from collections.abc import Sequence
from math import isfinite
from typing import Any, Final

from app.proxy.responses.decoding import Unexpected
from app.proxy.responses.reading import Prediction
from app.proxy.responses.values import MAX_VALUES, Values, are_shares, as_number, leaves

_FLOATS: Final = frozenset(("FP16", "BF16", "FP32", "FP64"))
_BYTES: Final = "BYTES"
# struct's codes; BF16 is widened to an FP32, of which it is the upper half.
_CODES: Final = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "BF16": "f",
    "FP32": "f",
    "FP64": "d",
}
_SIZES: Final = {name: struct.calcsize("<" + code) for name, code in _CODES.items()} | {"BF16": 2}
_DATATYPES: Final = frozenset((*_CODES, _BYTES))
_CLASSIFIED: Final = re.compile(r"(-?[0-9.]+(?:e[+-]?[0-9]+)?|-?inf|-?nan):([0-9]+)(?::(.*))?", re.DOTALL)
_SCORES: Final = frozenset(("score", "scores", "probability", "confidence"))
_MAX_RANK: Final = 32


class Tensor:
    """One output.

    Attributes:
        is_float: Whether its datatype is a floating-point one.
        rows: The first dimension of its shape, 1 without one.
        count: How many elements it has.
        numbers, strings: The first 1,000 elements in row-major order; strings of BYTES, else numbers.
        is_nonfinite: Whether a NaN, an infinity or a null is among all elements.
    """

    __slots__ = ("count", "datatype", "is_float", "is_nonfinite", "name", "numbers", "rows", "strings")

    def __init__(self, output: object, raw: "RawTensors") -> None:
        """Check an output and take its elements. Raises: Unexpected."""
        if not isinstance(output, dict):
            raise Unexpected
        datatype = output.get("datatype")
        if not isinstance(datatype, str) or datatype not in _DATATYPES:
            raise Unexpected
        self.datatype = datatype
        self.is_float = datatype in _FLOATS
        self.name = output.get("name")
        self.rows, self.count = _sized(output.get("shape"))
        self.numbers: Sequence[float] = ()
        self.strings: Sequence[str] = ()
        self.is_nonfinite = False
        parameters = output.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            self._take_json(output.get("data"))
        else:
            self._take_bytes(raw.take(size))

    @property
    def elements(self) -> Sequence[Prediction]:
        return self.strings or self.numbers

    def _take_json(self, data: object) -> None:
        """Take elements in a flat or a nested list."""
        if not isinstance(data, list):
            raise Unexpected
        nested = bool(data) and isinstance(data[0], list)
        flat: list[Any] = list(leaves(data, self.count + 1)) if nested else data
        if len(flat) != self.count:
            raise Unexpected
        if self.datatype == _BYTES:
            self.strings = [each if isinstance(each, str) else str(each) for each in flat[:MAX_VALUES]]
            return
        try:
            self._take_numbers(list(map(float, flat[:MAX_VALUES])), sum(flat))
        except (TypeError, ValueError, OverflowError):
            self._take_odd_numbers(flat)

    def _take_odd_numbers(self, flat: Sequence[object]) -> None:
        """Take numbers among which is a null, or an integer too large for a float."""
        numbers = [as_number(each) for each in flat]
        known = [number for number in numbers if number is not None]
        if len(known) < len(numbers):
            raise Unexpected
        self._take_numbers(known[:MAX_VALUES], sum(known))

    def _take_bytes(self, data: bytes) -> None:
        if self.datatype == _BYTES:
            self.strings = _strings(data, self.count)
            return
        if self.count * _SIZES[self.datatype] != len(data):
            raise Unexpected
        if self.datatype == "BF16":
            data = _widened(data)
        # Only of floats every element has to be seen.
        seen = self.count if self.is_float else min(self.count, MAX_VALUES)
        elements = struct.unpack_from(f"<{seen}{_CODES[self.datatype]}", data)
        self._take_numbers(list(map(float, elements[:MAX_VALUES])), sum(elements))

    def _take_numbers(self, numbers: Sequence[float], total: float) -> None:
        """Take the first numbers, and the sum of all: finite if each is, unless they are too large to mean anything."""
        self.numbers = numbers
        self.is_nonfinite = not isfinite(total)


class RawTensors:
    """The bytes behind a JSON header, taken tensor by tensor in the header's order."""

    __slots__ = ("_data", "_taken")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._taken = 0

    def take(self, size: object) -> bytes:
        """The next so many bytes. Raises: Unexpected."""
        start = self._taken
        if type(size) is not int or not 0 <= size <= len(self._data) - start:
            raise Unexpected
        self._taken = start + size
        return self._data[start : self._taken]


def predict(outputs: object, raw: RawTensors, values: Values) -> None:
    """Collect what outputs predict: a label per row, else a number per row, else all there is. Raises: Unexpected."""
    if not isinstance(outputs, list):
        raise Unexpected
    tensors = [tensor for tensor in [Tensor(output, raw) for output in outputs] if tensor.count]
    for tensor in tensors:
        if tensor.is_nonfinite:
            values.is_nonfinite = True
        if not tensor.is_float and not values.predictions:
            _take_labels(tensor, values)
    for tensor in tensors:
        if tensor.is_float:
            _take_floats(tensor, values)
    if not values.predictions and tensors:
        values.predictions += tensors[0].elements


def _sized(shape: object) -> tuple[int, int]:
    """How many rows and how many elements a shape has. Raises: Unexpected."""
    if not isinstance(shape, list) or len(shape) > _MAX_RANK:
        raise Unexpected
    count = 1
    for size in shape:
        if type(size) is not int or size < 0:
            raise Unexpected
        count *= size
    return (shape[0] if shape else 1), count


def _take_labels(tensor: Tensor, values: Values) -> None:
    """Collect labels: those of Triton's classification, best first in each row, or one per row as it stands."""
    if tensor.strings and _CLASSIFIED.fullmatch(tensor.strings[0]):
        classified = [_CLASSIFIED.fullmatch(each) for each in tensor.strings[:: tensor.count // tensor.rows]]
        if all(classified):
            values.predictions += [match[3] or match[2] for match in classified if match]
            values.score([_as_float(match[1]) for match in classified if match])
            return
    if tensor.count == tensor.rows:
        values.predictions += tensor.elements


def _take_floats(tensor: Tensor, values: Values) -> None:
    """Collect the classes' probabilities, or one number per row: a score where something else is predicted."""
    width = tensor.count // tensor.rows
    if width > 1:
        whole = len(tensor.numbers) // width * width
        rows = [tensor.numbers[start : start + width] for start in range(0, whole, width)]
        if rows and not values.scores and all(map(are_shares, rows)):
            predicts = not values.predictions
            for row in rows:
                values.choose(row, predicts=predicts)
    elif values.predictions or tensor.name in _SCORES:
        values.scores += tensor.numbers if not values.scores else ()
    else:
        values.predictions += tensor.numbers


def _as_float(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _strings(data: bytes, count: int) -> Sequence[str]:
    """The first strings of a BYTES tensor: each a little-endian length of four bytes, and as many bytes."""
    strings: list[str] = []
    position = 0
    for _ in range(min(count, MAX_VALUES)):
        start = position + 4
        position = start + int.from_bytes(data[position:start], "little")
        if position > len(data) or start > len(data):
            raise Unexpected
        strings.append(str(data[start:position], "utf-8", "replace"))
    if count <= MAX_VALUES and position != len(data):
        raise Unexpected
    return strings


def _widened(data: bytes) -> bytes:
    """BF16 numbers as FP32."""
    wide = bytearray(2 * len(data))
    wide[2::4] = data[::2]
    wide[3::4] = data[1::2]
    return bytes(wide)
