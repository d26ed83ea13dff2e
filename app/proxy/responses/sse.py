"""Server-sent events, and lines of JSON, cut whole out of payloads that end anywhere (WHATWG HTML §9.2).

Rule: a stream is searched once, whatever its cutting, and no more of it is held than one event of
at most 64 KiB; of a longer one only the beginning is shown. Lines that end with CR alone are not
known: no model server sends them.
"""

from collections.abc import Iterator
from typing import Final

MAX_EVENT: Final = 64 * 1024
# Enough to tell what kind of event it is.
SHOWN_OF_LONGER: Final = 1024
EVENT_ENDS: Final = (b"\n\n", b"\n\r\n")
LINE_ENDS: Final = (b"\n",)
_BLANK: Final = b" "


class EventCutter:
    """Holds back the beginning of an event until its end has come.

    Attributes:
        ends: What ends an event: EVENT_ENDS or LINE_ENDS.
        held: The beginning of an event; empty when the last payload ended one.
    """

    __slots__ = ("_passing_over", "ends", "held")

    def __init__(self, ends: tuple[bytes, ...]) -> None:
        self.ends = ends
        self.held = bytearray()
        self._passing_over = False

    def cut(self, payload: bytes) -> bytes:
        """Every event that has ended with this payload, in one piece; mostly the payload itself."""
        held = self.held
        if not held and payload.endswith(self.ends):
            return payload
        # An end may have begun in the last two bytes held.
        searched = max(len(held) - 2, 0)
        held += payload
        end = _last_end(held, self.ends, searched)
        if end == len(held):
            whole = bytes(held)
            held.clear()
        else:
            whole = bytes(memoryview(held)[:end])
            del held[:end]
        if end and self._passing_over:
            self._passing_over = False
            whole = whole[_first_end(whole, self.ends) :]
        if len(held) > MAX_EVENT:
            whole += self._pass_over()
        return whole

    def _pass_over(self) -> bytes:
        """Give up the event held; its beginning, ended here, unless that was shown already."""
        shown = b"" if self._passing_over else bytes(self.held[:SHOWN_OF_LONGER]) + self.ends[0]
        self._passing_over = True
        del self.held[:-2]
        return shown

    def rest(self) -> bytes:
        """What came behind the last end, taken out of the cutter."""
        rest = b"" if self._passing_over else bytes(self.held)
        self.held.clear()
        return rest


def _last_end(held: bytearray, ends: tuple[bytes, ...], searched: int) -> int:
    """The position behind the last end of the first kind there is; 0 without any."""
    for end in ends:
        position = held.rfind(end, searched)
        if position >= 0:
            return position + len(end)
    return 0


def _first_end(whole: bytes, ends: tuple[bytes, ...]) -> int:
    """The position behind the first end."""
    found = [(whole.find(end), len(end)) for end in ends]
    return min(position + length for position, length in found if position >= 0)


def events(whole: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The type and the data of each event that has either; text without field names is none."""
    kind = b""
    data: list[bytes] = []
    for raw in (*whole.split(b"\n"), b""):
        line = raw.removesuffix(b"\r")
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(_BLANK))
        elif name == b"event":
            kind = value.removeprefix(_BLANK)
        elif not line and (kind or data):
            yield kind, b"\n".join(data)
            kind = b""
            data = []
