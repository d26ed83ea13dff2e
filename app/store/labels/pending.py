"""Labels that wait for their exchange to be written, called by another name than its receipt.

Rule: a label is parked or joined in one transaction, never both; whoever sweeps first joins it. A name that
clients choose is believed only once every exchange before its label has had time to be written: until then
it may be another client's as well.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from psycopg.types.json import Jsonb
from sqlalchemy import Row, text

from app.domain.catalog.models import ModelName
from app.domain.evidence.labels import ANONYMOUS, Attributed, Label, Named, NamedBy, Rank, Result, Said, Settled
from app.store.labels import answers, labels
from app.store.labels.answers import Answered, Name
from app.store.labels.revision_writer import New, settle
from app.store.pg.codec import to_json
from app.store.pg.copying import copy_rows
from app.store.pg.database import Transaction

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
# After so long the rows of all exchanges before a label are written, where Postgres is there.
SURE_AFTER: Final = timedelta(seconds=3)
FULL: Final = "too many labels of this source wait for their exchanges; send it again later, or with its receipt"
AMBIGUOUS: Final = Settled(Result.INVALID, None, "several exchanges have that name; only a receipt says which is meant")
UNCORRECTED: Final = Settled(
    Result.INVALID, None, "without a key a label is corrected only after it was joined with its exchange"
)

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
    AND (named_by = 'exchange' OR received_at <= :sure_until)
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

# Whoever is sweeping a row has found its exchange, or will leave it for the next time.
_GIVE_WAY = text(
    """
    DELETE FROM parked_labels WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM parked_labels WHERE source = :source
        ORDER BY received_at LIMIT :most FOR UPDATE SKIP LOCKED
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
        settled: Labels that wait no longer, and what each counted as.
        next: Where the next page begins; None after the last.
    """

    settled: Sequence[tuple[Attributed | Named, Settled]]
    next: Place | None


async def park(tx: Transaction, items: Sequence[Named], room: int) -> list[Settled]:
    """Keep labels until their exchange is written; what each counts as until then, in their order.

    Args:
        tx: All of it.
        items: By names that no exchange has yet.
        room: How many more may wait.
    """
    verdicts = [
        UNCORRECTED if _is_anonymous_correction(item) else Settled(Result.INVALID, None, FULL) for item in items
    ]
    admitted = [at for at, verdict in enumerate(verdicts) if verdict is not UNCORRECTED]
    if room < len(admitted):
        admitted = await _admitted(tx, items, admitted, room)
    some = [items[at] for at in admitted]
    settled = await settle(some, key=_key, read=partial(_read, tx), write=partial(_write, tx))
    orphans = await _waiting_long(tx, {_key(item) for item in some})
    for at, verdict in zip(admitted, settled, strict=True):
        verdicts[at] = _while_parked(verdict, is_orphan=_key(items[at]) in orphans)
    return verdicts


def _is_anonymous_correction(item: Named) -> bool:
    """Whether it would take one more place for an exchange that has one: who has no key gets one each."""
    return item.label.source == ANONYMOUS and item.label.supersedes is not None


async def _admitted(tx: Transaction, items: Sequence[Named], asked: Sequence[int], room: int) -> list[int]:
    """Which of them need no room, as they wait already, or find some."""
    there = await _read(tx, {_key(items[at]) for at in asked})
    needing = [at for at in asked if items[at].label.supersedes is not None or _key(items[at]) not in there]
    refused = set(needing[max(0, room) :])
    return [at for at in asked if at not in refused]


async def sure(tx: Transaction, items: Sequence[Named], now: datetime) -> list[bool]:
    """Whether the exchange that has each one's name by now is the one that is meant.

    A correction is about the exchange of the label that it corrects, unless that one waits itself.
    """
    corrections = {_key(item) for item in items if item.label.supersedes is not None}
    waiting = set(await _read(tx, corrections)) if corrections else set()
    told = []
    for item in items:
        corrects_joined = item.label.supersedes is not None and _key(item) not in waiting
        told.append(corrects_joined or _is_sure(item.named_by, item.label.received_at, now))
        if not told[-1]:
            waiting.add(_key(item))
    return told


def _is_sure(named_by: NamedBy, received_at: datetime, now: datetime) -> bool:
    return not named_by.is_clients or received_at <= now - SURE_AFTER


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


async def sweep(tx: Transaction, after: Place, since: datetime, now: datetime, *, most: int) -> Swept:
    """Join what is parked and whose exchange is there by now.

    Args:
        tx: All of it.
        after: Where the page before ended.
        since: Look only at those received since.
        now: Database time.
        most: Rows of one page.
    """
    start = {**after.key._asdict(), "revision": after.revision, "since": since, "most": most}
    page = [(_place(row), row) for row in await tx.execute(_PAGE, start)]
    looked_at = [(place, row) for place, row in page if _is_sure(place.key.named_by, row.received_at, now)]
    found = await answers.find(tx, [_name(place.key) for place, _ in looked_at])
    there: list[tuple[Place, Attributed]] = []
    dropped: list[tuple[Place, Named]] = []
    for place, row in looked_at:
        answered = found.get(_name(place.key))
        if answered is not None:
            there.append((place, _attributed(row, answered)))
        elif _name(place.key) in found:
            dropped.append((place, _named(row)))
    # Who called an exchange by two names said the later one later.
    there.sort(key=lambda pair: pair[1].label.received_at)
    settled = await labels.add(tx, [item for _, item in there]) if there else []
    await _delete(tx, [place for place, _ in (*there, *dropped)])
    last = page[-1][0] if len(page) == most else None
    joined = [(item, verdict) for (_, item), verdict in zip(there, settled, strict=True)]
    return Swept([*joined, *((item, AMBIGUOUS) for _, item in dropped)], last)


async def take(tx: Transaction, found: Mapping[Name, Answered], now: datetime) -> list[Attributed]:
    """What is parked under those names, and surely about these exchanges; it is parked no longer."""
    names = list(found)
    wanted = {
        "models": [name.model for name in names],
        "kinds": [name.named_by for name in names],
        "handles": [name.handle for name in names],
        "sure_until": now - SURE_AFTER,
    }
    rows = list(await tx.execute(_TAKE, wanted)) if names else []
    return [_attributed(row, found[_name(_place(row).key)]) for row in sorted(rows, key=_turn)]


async def forget(tx: Transaction, before: datetime, *, most: int, source: str | None = None) -> tuple[ModelName, ...]:
    """Delete what was received before then, of all sources or one, some at a time; each one's model."""
    asked = {"before": before, "source": source, "most": most}
    return tuple(map(ModelName, await tx.scalars(_FORGET, asked)))


async def give_way(tx: Transaction, source: str, *, most: int) -> tuple[ModelName, ...]:
    """Delete so many labels of a source, those that have waited longest; each one's model."""
    return tuple(map(ModelName, await tx.scalars(_GIVE_WAY, {"source": source, "most": most})))


async def crowded(tx: Transaction) -> tuple[str, ...]:
    """Sources of which no more labels may wait."""
    return tuple(await tx.scalars(_CROWDED, {"most": WAITING_MAX}))


def _attributed(row: Row[Any], answered: Answered) -> Attributed:
    return Attributed(answered.exchange, _label(row), answered.slices, by_receipt=False)


def _named(row: Row[Any]) -> Named:
    return Named(ModelName(row.model), NamedBy(row.named_by), row.handle, _label(row))


def _label(row: Row[Any]) -> Label:
    supersedes = None if row.revision == 1 else row.revision - 1
    return Label(row.metric, row.source, row.label, row.observed_at, row.received_at, supersedes)


def _turn(row: Row[Any]) -> tuple[datetime, int]:
    return row.received_at, row.revision


def _key(item: Named) -> Key:
    return Key(item.model, item.named_by, item.handle, item.label.metric, item.label.source)


def _name(key: Key) -> Name:
    return Name(key.model, key.named_by, key.handle)


async def _read(tx: Transaction, keys: Collection[Key]) -> Mapping[Key, Sequence[Said]]:
    wanted = list(keys)
    there: dict[Key, list[Said]] = {}
    for row in await tx.execute(_READ, _arrays(wanted)):
        key = wanted[row.at - 1]
        there.setdefault(key, []).append(Said(row.label, Rank.of(key.source, by_receipt=False)))
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
