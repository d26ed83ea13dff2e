"""The memory that bodies may hold together: those that are collected, and copies until they were read.

Rule: whoever forgets a copy gives its room back, however it is forgotten.
"""

from typing import Final

from app.proxy.bounds.limits import MAX_BODY

# Request bodies up to here are held by the exchange anyway, and cost less than the account of them.
_UNACCOUNTED: Final = 4 * 1024


class CollectedBytes:
    """How many bytes of bodies the process holds whole, and may hold."""

    __slots__ = ("_limit", "held")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    def take(self, size: int) -> bool:
        """Hold so many more; False when there is no room for them."""
        if self.held + size > self._limit:
            return False
        self.held += size
        return True

    def give_back(self, size: int) -> None:
        self.held -= size


class Room:
    """The memory all copies of a process share.

    Attributes:
        left: Bytes that may still be held, beside the first piece of each answer and small requests.
    """

    __slots__ = ("left",)

    def __init__(self, left: int = 64 * 1024 * 1024) -> None:
        self.left = left

    def kept(self, body: bytes) -> "KeptBody | None":
        """Hold a request's body; None when it is too large, or there is no room for it."""
        size = len(body)
        if size <= _UNACCOUNTED:
            return KeptBody(self, body, 0)
        if size > MAX_BODY or size > self.left:
            return None
        self.left -= size
        return KeptBody(self, body, size)


class KeptBody:
    """A request's body that is read later; what it takes of the room was taken before.

    Attributes:
        data: The line end before the body, and the body as it goes on the wire.
    """

    __slots__ = ("_accounted", "_room", "data")

    def __init__(self, room: Room, data: bytes, accounted: int) -> None:
        self._room = room
        self._accounted = accounted
        self.data = data

    def __del__(self) -> None:
        self._room.left += self._accounted


class HeldPieces:
    """What is copied of one answer behind its first piece."""

    __slots__ = ("_room", "data")

    def __init__(self, room: Room) -> None:
        self._room = room
        self.data = bytearray()

    def __del__(self) -> None:
        self._room.left += len(self.data)

    def add(self, piece: bytes) -> None:
        self._room.left -= len(piece)
        self.data += piece
