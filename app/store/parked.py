"""Labels that wait for their exchange to be written, called by a client's name for it.

Rule: a label is parked or joined in one transaction, never both; whoever sweeps first joins it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from psycopg.types.json import Jsonb
from sqlalchemy import Row, text

from app.domain.catalog.models import ModelName
from app.domain.evidence.labels import Attributed, Given, Label, Named, NamedBy, Result, Settled
from app.store import answers, labels
from app.store.answers import Answered, Name
from app.store.codec import to_json
from app.store.copying import copy_rows
from app.store.database import Transaction
from app.store.settling import New, settle

_COLUMNS: Final = {
    "model": "text",
    "named_by": "text",
    "handle": "text",
    "metric": "text",
    "source": "text",
    "revision": "int4",
    "label": "jsonb",
    "observed_at": "timestamptz",
    "received_at": "timestamptz",
}
# An answer's row comes within seconds of its end.
ORPHAN_S: Final = 600.0
# Labels of one source: whoever invents names must not fill the disk, nor keep the sweep from what can be joined.
WAITING_MAX: Final = 100_000
FULL: Final = "too many labels of this source wait for their exchanges; send it again later, or with its receipt"

_NAMES: Final = ", ".join(_COLUMNS)
_KEY: Final = "model, named_by, handle, metric, source"

_INSERT = text(
    f"INSERT INTO parked_labels ({_NAMES}) SELECT {_NAMES} FROM pg_temp.new_parked"  # noqa: S608 -- this module's constants
    f" ORDER BY {_KEY}, revision ON CONFLICT DO NOTHING RETURNING {_KEY}, revision"
)

_READ = text(
    f"""
    SELECT wanted.at, p.revision, p.label
    FROM unnest(
        CAST(:models AS text[]), CAST(:kinds AS text[]), CAST(:handles AS text[]), CAST(:metrics AS text[]),
        CAST(:sources AS text[])
    ) WITH ORDINALITY AS wanted({_KEY}, at)
    JOIN parked_labels p USING ({_KEY})
    ORDER BY wanted.at, p.revision
    """  # noqa: S608 -- this module's constants
)

_OLD = text(
    f"""
    SELECT {_NAMES} FROM unnest(
        CAST(:models AS text[]), CAST(:kinds AS text[]), CAST(:handles AS text[]), CAST(:metrics AS text[]),
        CAST(:sources AS text[])
    ) AS wanted({_KEY})
    JOIN parked_labels p USING ({_KEY})
    WHERE p.received_at < clock_timestamp() - make_interval(secs => :age_s)
    """  # noqa: S608 -- this module's constants
)

_TAKE = text(
    f"""
    DELETE FROM parked_labels WHERE (model, named_by, handle) IN (
        SELECT * FROM unnest(CAST(:models AS text[]), CAST(:kinds AS text[]), CAST(:handles AS text[]))
    )
    RETURNING {_NAMES}
    """  # noqa: S608 -- this module's constants
)

# Whoever is sweeping a row is left to it.
_PAGE = text(
    f"""
    SELECT {_NAMES} FROM parked_labels
    WHERE received_at >= :since AND ({_KEY}, revision) > (:model, :named_by, :handle, :metric, :source, :revision)
    ORDER BY {_KEY}, revision LIMIT :most FOR UPDATE SKIP LOCKED
    """  # noqa: S608 -- this module's constants
)

_DELETE = text(
    f"""
    DELETE FROM parked_labels WHERE ({_KEY}, revision) IN (
        SELECT * FROM unnest(
            CAST(:models AS text[]), CAST(:kinds AS text[]), CAST(:handles AS text[]), CAST(:metrics AS text[]),
            CAST(:sources AS text[]), CAST(:revisions AS integer[])
        )
    )
    """  # noqa: S608 -- this module's constants
)

_FORGET = text(
    """
    DELETE FROM parked_labels WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM parked_labels
        WHERE received_at < :before AND source = coalesce(CAST(:source AS text), source)
        LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    RETURNING model
    """
)

_WAITING = text("SELECT count(*) FROM (SELECT FROM parked_labels WHERE source = :source LIMIT :most) waiting")

_CROWDED = text("SELECT source FROM parked_labels GROUP BY source HAVING count(*) >= :most")


class Key(NamedTuple):
    """Whose word about what, by the client's name for it."""

    model: ModelName
    named_by: NamedBy
    handle: str
    metric: str
    source: str


class Place(NamedTuple):
    """How far a sweep has come."""

    key: Key
    revision: int


START: Final = Place(Key(ModelName(""), NamedBy.CLIENT_KEY, "", "", ""), 0)


class Swept(NamedTuple):
    """What one page of a sweep did.

    Attributes:
        joined: Labels whose exchange was there, and what each counted as.
        next: Where the next page begins; None after the last.
    """

    joined: Sequence[tuple[Attributed, Settled]]
    next: Place | None


async def park(tx: Transaction, items: Sequence[Named], room: int) -> list[Settled]:
    """Keep labels until their exchange is written; what each counts as until then, in their order.

    Args:
        tx: All of it.
        items: By names that no exchange has yet.
        room: How many more may wait.
    """
    admitted = await _admitted(tx, items, room) if room < len(items) else range(len(items))
    some = [items[at] for at in admitted]
    settled = await settle(
        some, key=_key, label=lambda item: item.label, read=partial(_read, tx), write=partial(_write, tx)
    )
    orphans = await _waiting_long(tx, {_key(item) for item in some})
    verdicts = [Settled(Result.INVALID, None, FULL)] * len(items)
    for at, verdict in zip(admitted, settled, strict=True):
        verdicts[at] = _while_parked(verdict, is_orphan=_key(items[at]) in orphans)
    return verdicts


async def _admitted(tx: Transaction, items: Sequence[Named], room: int) -> Sequence[int]:
    """Which of them need no room, as they wait already, or find some."""
    there = await _read(tx, {_key(item) for item in items})
    needing = [at for at, item in enumerate(items) if item.label.supersedes is not None or _key(item) not in there]
    refused = set(needing[max(0, room) :])
    return [at for at in range(len(items)) if at not in refused]


async def room(tx: Transaction, source: str) -> int:
    """How many more labels of that source may wait."""
    return WAITING_MAX - int(await tx.scalar(_WAITING, {"source": source, "most": WAITING_MAX}) or 0)


def _while_parked(verdict: Settled, *, is_orphan: bool) -> Settled:
    if verdict.result is Result.JOINED:
        return verdict._replace(result=Result.PENDING)
    if verdict.result is Result.DUPLICATE and is_orphan:
        return Settled(Result.ORPHAN, None, "no exchange of that name was written for ten minutes")
    return verdict


async def _waiting_long(tx: Transaction, keys: Collection[Key]) -> Collection[Key]:
    wanted = _arrays(list(keys))
    return {_place(row).key for row in await tx.execute(_OLD, {**wanted, "age_s": ORPHAN_S})}


async def sweep(tx: Transaction, after: Place, since: datetime, *, most: int) -> Swept:
    """Join what is parked and whose exchange is there by now.

    Args:
        tx: All of it.
        after: Where the page before ended.
        since: Look only at those received since.
        most: Rows of one page.
    """
    start = {**after.key._asdict(), "revision": after.revision, "since": since, "most": most}
    page = [(_place(row), row) for row in await tx.execute(_PAGE, start)]
    found = await answers.find(tx, [_name(place.key) for place, _ in page])
    there: list[tuple[Place, Attributed]] = []
    for place, row in page:
        answered = found.get(_name(place.key))
        if answered is not None:
            there.append((place, _attributed(row, answered)))
    # Who called an exchange by two names said the later one later.
    there.sort(key=lambda pair: pair[1].label.received_at)
    settled = await labels.add(tx, [item for _, item in there]) if there else []
    await _delete(tx, [place for place, _ in there])
    last = page[-1][0] if len(page) == most else None
    return Swept([(item, verdict) for (_, item), verdict in zip(there, settled, strict=True)], last)


async def take(tx: Transaction, found: Mapping[Name, Answered]) -> list[Attributed]:
    """What is parked under those names, whose exchanges are there by now; it is parked no longer."""
    names = list(found)
    wanted = {
        "models": [name.model for name in names],
        "kinds": [name.named_by for name in names],
        "handles": [name.handle for name in names],
    }
    rows = list(await tx.execute(_TAKE, wanted)) if names else []
    return [_attributed(row, found[_name(_place(row).key)]) for row in sorted(rows, key=_turn)]


async def forget(tx: Transaction, before: datetime, *, most: int, source: str | None = None) -> tuple[ModelName, ...]:
    """Delete what was received before then, of all sources or one, some at a time; each one's model."""
    asked = {"before": before, "source": source, "most": most}
    return tuple(map(ModelName, await tx.scalars(_FORGET, asked)))


async def crowded(tx: Transaction) -> tuple[str, ...]:
    """Sources of which no more labels may wait."""
    return tuple(await tx.scalars(_CROWDED, {"most": WAITING_MAX}))


def _attributed(row: Row[Any], answered: Answered) -> Attributed:
    supersedes = None if row.revision == 1 else row.revision - 1
    label = Label(row.metric, row.source, row.label, row.observed_at, row.received_at, supersedes)
    return Attributed(answered.exchange, label, answered.slices)


def _turn(row: Row[Any]) -> tuple[datetime, int]:
    return row.received_at, row.revision


def _key(item: Named) -> Key:
    return Key(item.model, item.named_by, item.handle, item.label.metric, item.label.source)


def _name(key: Key) -> Name:
    return Name(key.model, key.named_by, key.handle)


async def _read(tx: Transaction, keys: Collection[Key]) -> Mapping[Key, Sequence[Given]]:
    wanted = list(keys)
    there: dict[Key, list[Given]] = {}
    for row in await tx.execute(_READ, _arrays(wanted)):
        there.setdefault(wanted[row.at - 1], []).append(row.label)
    return there


async def _write(tx: Transaction, new: Sequence[New[Named]]) -> Collection[tuple[Key, int]]:
    await copy_rows(tx, "new_parked", _COLUMNS, map(_columns, new))
    return {(place.key, place.revision) for place in map(_place, await tx.execute(_INSERT))}


def _place(row: Row[Any]) -> Place:
    return Place(Key(ModelName(row.model), NamedBy(row.named_by), row.handle, row.metric, row.source), row.revision)


async def _delete(tx: Transaction, places: Sequence[Place]) -> None:
    if places:
        keys = _arrays([place.key for place in places])
        await tx.execute(_DELETE, {**keys, "revisions": [place.revision for place in places]})


def _arrays(keys: Sequence[Key]) -> dict[str, list[str]]:
    return {
        "models": [key.model for key in keys],
        "kinds": [key.named_by for key in keys],
        "handles": [key.handle for key in keys],
        "metrics": [key.metric for key in keys],
        "sources": [key.source for key in keys],
    }


def _columns(new: New[Named]) -> tuple[object, ...]:
    item = new.item
    return (
        item.model,
        item.named_by.value,
        item.handle,
        item.label.metric,
        item.label.source,
        new.revision,
        Jsonb(item.label.given, dumps=to_json),
        item.label.observed_at,
        item.label.received_at,
    )
