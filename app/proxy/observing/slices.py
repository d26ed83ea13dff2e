"""Which slices a request belongs to: by its fields, and by its body where that can be read.

Rule: of each key a bounded number of values is told apart, whatever clients send.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from app.domain.catalog.declarations import SliceKey
from app.domain.catalog.json_pointer import MISSING, JsonPointer, json_pointer
from app.domain.catalog.receipt import packed_slices
from app.domain.stats.histogram import OTHER
from app.errors import InvalidInput
from app.proxy.bounds.learned import Learned
from app.proxy.http1.framing import BLANKS
from app.proxy.observing.sanitize import plain

# The value of what a request does not say, or not so that it can be read.
UNKNOWN: Final = "unknown"
_MAX_PACKED: Final = 1_024
_NONE: Final[frozenset[str]] = frozenset()


class SliceReader:
    """Tells a model's slices; made once per process and routing table.

    Attributes:
        by_body: Whether some slice stands in the body.
        by_header: Whether some slice stands in a field.
    """

    __slots__ = ("_headers", "_known", "_most", "_packed", "_pointers", "_unsaid", "by_body", "by_header")

    def __init__(self, keys: Sequence[SliceKey], known: dict[str, set[str]]) -> None:
        """Compile what is declared.

        Args:
            keys: Of one model.
            known: The values told apart so far, by key; goes on growing here.
        """
        self._unsaid = {key.name: UNKNOWN for key in keys if key.header is not None}
        # By length, so that most lines are passed over without a copy in lower case.
        self._headers: dict[int, list[tuple[str, bytes]]] = {}
        for key in keys:
            if key.header is not None:
                self._headers.setdefault(len(key.header), []).append((key.name, key.header.lower().encode()))
        self._pointers = [(key.name, found) for key in keys if (found := pointer(key.pointer)) is not None]
        self._most = {key.name: key.values_max for key in keys}
        self._known = known
        self._packed: Learned[tuple[str, ...], bytes] = Learned(_MAX_PACKED)
        self.by_body = bool(self._pointers)
        self.by_header = bool(self._headers)

    def of_fields(self, lines: Sequence[bytes]) -> dict[str, str]:
        """The slices that a request's fields say; those of a receipt."""
        found = self._unsaid.copy()
        headers = self._headers
        for line in lines:
            end = line.find(b":")
            if end in headers:
                for name, header in headers[end]:
                    if line[:end].lower() == header:
                        found[name] = _plain(line[end + 1 :].strip(BLANKS).decode("utf-8", "replace"))
        return found

    def packed(self, lines: Sequence[bytes]) -> bytes:
        """The same as a receipt holds them; packed once for all requests that say the same."""
        found = self.of_fields(lines)
        values = tuple(found.values())
        packed = self._packed.known.get(values)
        if packed is None:
            packed = packed_slices(found)
            self._packed.keep(values, packed)
        return packed

    def of_body(self, document: object) -> dict[str, str]:
        """The slices that a request's body says; MISSING when it could not be read."""
        return {name: _value_at(at, document) for name, at in self._pointers}

    def bounded(self, slices: Mapping[str, str]) -> Mapping[str, str]:
        """The same, with `spread.OTHER` for values beyond those that are told apart."""
        known = self._known
        return {
            name: value if value in known.get(name, _NONE) or self._is_new(name, value) else OTHER
            for name, value in slices.items()
        }

    def _is_new(self, name: str, value: str) -> bool:
        """Whether there is room to tell one more value apart; if so, it is from now on."""
        known = self._known.setdefault(name, set())
        if len(known) >= self._most[name]:
            return False
        known.add(value)
        return True


def pointer(text: str | None) -> JsonPointer | None:
    """The pointer; None where there is none, or one that nobody can have registered."""
    try:
        return None if text is None else json_pointer(text)
    except InvalidInput:
        return None


def _value_at(at: JsonPointer, document: object) -> str:
    value = MISSING if document is MISSING else at.value_in(document)
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return _plain(str(value))
    # 1.0 is 1 to a client that has only one kind of number.
    return f"{value:.15g}" if isinstance(value, float) else UNKNOWN


def _plain(value: str) -> str:
    return plain(value) or UNKNOWN
