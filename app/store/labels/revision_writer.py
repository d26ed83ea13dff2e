"""Revisions of labels, written one after the other whoever else writes them at the same time.

Rule: what a label counts as is decided by the domain on what is there; a row that somebody else
wrote first is seen at the next look, so that every label is settled after at most two (ADR 0093).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from app.domain.evidence.labels import Label, Rank, Result, Said, Settled, settled


class Item(Protocol):
    """A label, and how much it counts."""

    @property
    def label(self) -> Label: ...
    @property
    def rank(self) -> Rank: ...


_Item = TypeVar("_Item", bound=Item)
_Key = TypeVar("_Key")


class New(NamedTuple, Generic[_Item]):
    """An item that is a revision, if nobody was quicker."""

    item: _Item
    revision: int


Read: TypeAlias = Callable[[Collection[_Key]], Awaitable[Mapping[_Key, Sequence[Said]]]]
"""Each key's revisions 1, 2, …; keys without any may be missing."""
Write: TypeAlias = Callable[[Sequence[New[_Item]]], Awaitable[Collection[tuple[_Key, int]]]]
"""The revisions that were written and not there before."""


async def settle(
    items: Sequence[_Item],
    *,
    key: Callable[[_Item], _Key],
    read: Read[_Key],
    write: Write[_Item, _Key],
) -> list[Settled]:
    """Write what is new among the items, in their order; what each counts as."""
    verdicts: dict[int, Settled] = {}
    left = list(range(len(items)))
    while left:
        there = {each: list(given) for each, given in (await read({key(items[at]) for at in left})).items()}
        new: dict[int, New[_Item]] = {}
        for at in left:
            revisions = there.setdefault(key(items[at]), [])
            verdicts[at] = verdict = settled(items[at].label, items[at].rank, revisions)
            if verdict.result is Result.JOINED and verdict.revision is not None:
                revisions.append(Said(items[at].label.given, items[at].rank))
                new[at] = New(items[at], verdict.revision)
        written = await write(list(new.values())) if new else ()
        lost = {key(each.item) for each in new.values() if (key(each.item), each.revision) not in written}
        won = {at for at, each in new.items() if (key(each.item), each.revision) in written}
        left = [at for at in left if key(items[at]) in lost and at not in won]
    return [verdicts[at] for at in range(len(items))]
