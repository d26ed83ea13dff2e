"""Heads that llhttp has accepted, and what they say: most callers and servers repeat themselves.

Rule: a head is kept when it comes for the second time, so that one that never comes again, like any with an id of
its own, costs no more than its hash (ADR 0014).
"""

from typing import Final, Generic, TypeVar

from app.proxy.bounds.learned import Learned

MAX_REMEMBERED: Final = 512
MAX_REMEMBERED_HEAD: Final = 1024

_Head = TypeVar("_Head")


class HeadCache(Generic[_Head]):
    """Heads of one kind.

    Attributes:
        known: Those that came at least twice.
    """

    __slots__ = ("_heads", "_once", "known")

    def __init__(self) -> None:
        self._heads: Learned[bytes, _Head] = Learned(MAX_REMEMBERED)
        self._once: Learned[int, None] = Learned(MAX_REMEMBERED)
        self.known = self._heads.known

    def offer(self, head: bytes, says: _Head) -> None:
        """Keep an accepted head when it came before."""
        if self.came_before(head):
            self._heads.keep(head, says)

    def came_before(self, head: bytes) -> bool:
        """Whether it was asked for before; False also for one that is too long to be kept."""
        if len(head) > MAX_REMEMBERED_HEAD:
            return False
        name = hash(head)
        if name in self._once.known:
            return True
        self._once.keep(name, None)
        return False

    def keep(self, head: bytes, says: _Head) -> None:
        """Keep a head that came before."""
        self._heads.keep(head, says)
