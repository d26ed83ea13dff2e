"""What is learned of what comes by, within a bound.

Rule: there is one way to stay within it: when all places are taken, everything is forgotten and learned anew.
So whoever sends ever new things makes the others read again, and never keeps them from being known.
"""

from typing import Final, Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class Learned(Generic[_K, _V]):  # ADR 0157
    """Answers by question.

    Attributes:
        known: To be looked into, and written only by `keep`.
    """

    __slots__ = ("_most", "known")

    def __init__(self, most: int) -> None:
        """Args: most: So many are known at once."""
        self._most: Final = most
        self.known: Final[dict[_K, _V]] = {}

    def keep(self, key: _K, value: _V) -> None:
        """Know this from now on."""
        if len(self.known) >= self._most:
            self.known.clear()
        self.known[key] = value
