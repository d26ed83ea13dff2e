"""Labels in Postgres, in the second of the draw of what they are about, every revision kept.

Rule: the first that comes is revision 1 and costs one statement; whatever else comes is settled
beside what is there.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import text

from app.domain.labelling import Attributed, Given, Result, Settled
from app.store.codec import to_json
from app.store.copying import copy_rows
from app.store.database import Transaction
from app.store.settling import New, settle

_COLUMNS: Final = {
    "exchange": "uuid",
    "metric": "text",
    "source": "text",
    "revision": "int4",
    "second": "int8",
    "model": "text",
    "version": "text",
    "generation": "int8",
    "label": "jsonb",
    "slices": "jsonb",
    "observed_at": "timestamptz",
    "received_at": "timestamptz",
}
_NAMES: Final = ", ".join(_COLUMNS)


_INSERT = text(
    f"INSERT INTO labels ({_NAMES}) SELECT {_NAMES} FROM pg_temp.new_labels"  # noqa: S608 -- this module's constants
    " ORDER BY exchange, metric, source, revision ON CONFLICT DO NOTHING"
    " RETURNING exchange, second, metric, source, revision"
)

# One statement per label, so that only the partition of its second is asked.
_READ = text(
    """
    SELECT wanted.at, l.revision, l.label
    FROM unnest(
        CAST(:exchanges AS uuid[]), CAST(:metrics AS text[]), CAST(:sources AS text[]), CAST(:seconds AS bigint[])
    ) WITH ORDINALITY AS wanted(exchange, metric, source, second, at)
    CROSS JOIN LATERAL (
        SELECT revision, label FROM labels
        WHERE exchange = wanted.exchange AND metric = wanted.metric AND source = wanted.source
          AND second = wanted.second
        OFFSET 0
    ) l
    ORDER BY wanted.at, l.revision
    """
)

_OF_EXCHANGE = text(
    """
    SELECT metric, source, revision, label, observed_at, received_at FROM labels
    WHERE exchange = :exchange AND second = :second ORDER BY metric, source, revision
    """
)


class Key(NamedTuple):
    """Whose word about what."""

    exchange: str
    second: int
    metric: str
    source: str


class KeptLabel(NamedTuple):
    """One revision as it is kept."""

    metric: str
    source: str
    revision: int
    label: Given
    observed_at: datetime | None
    received_at: datetime


async def add(tx: Transaction, items: Sequence[Attributed]) -> list[Settled]:
    """Write labels; what each counts as, in their order."""
    firsts = _first_words(items)
    written = await _write(tx, [New(items[at], 1) for at in firsts]) if firsts else set()
    verdicts = {at: Settled(Result.JOINED, 1) for at in firsts if (_key(items[at]), 1) in written}
    others = [at for at in range(len(items)) if at not in verdicts]
    if others:
        rest = [items[at] for at in others]
        revised = await settle(
            rest, key=_key, label=lambda item: item.label, read=partial(_read, tx), write=partial(_write, tx)
        )
        verdicts.update(zip(others, revised, strict=True))
    return [verdicts[at] for at in range(len(items))]


async def of_exchange(tx: Transaction, exchange: str, second: int) -> tuple[KeptLabel, ...]:
    """All labels of one exchange."""
    found = await tx.execute(_OF_EXCHANGE, {"exchange": UUID(exchange), "second": second})
    return tuple(KeptLabel(*row) for row in found)


def _first_words(items: Sequence[Attributed]) -> list[int]:
    """Where a key is named first, and not to replace something."""
    places: dict[Key, int] = {}
    for at, item in enumerate(items):
        places.setdefault(_key(item), at)
    return [at for at in places.values() if items[at].label.supersedes is None]


def _key(item: Attributed) -> Key:
    exchange, label = item.exchange, item.label
    return Key(exchange.id, exchange.second, label.metric, label.source)


async def _read(tx: Transaction, keys: Collection[Key]) -> Mapping[Key, Sequence[Given]]:
    wanted = list(keys)
    columns: dict[str, Any] = {
        "exchanges": [UUID(key.exchange) for key in wanted],
        "metrics": [key.metric for key in wanted],
        "sources": [key.source for key in wanted],
        "seconds": [key.second for key in wanted],
    }
    there: dict[Key, list[Given]] = {}
    for row in await tx.execute(_READ, columns):
        there.setdefault(wanted[row.at - 1], []).append(row.label)
    return there


async def _write(tx: Transaction, new: Sequence[New[Attributed]]) -> Collection[tuple[Key, int]]:
    await copy_rows(tx, "new_labels", _COLUMNS, map(_columns, new))
    return {
        (Key(row.exchange.hex, row.second, row.metric, row.source), row.revision) for row in await tx.execute(_INSERT)
    }


def _columns(new: New[Attributed]) -> tuple[object, ...]:
    exchange, label = new.item.exchange, new.item.label
    return (
        UUID(exchange.id),
        label.metric,
        label.source,
        new.revision,
        exchange.second,
        exchange.model,
        exchange.version,
        exchange.generation,
        Jsonb(label.given, dumps=to_json),
        Jsonb(new.item.slices, dumps=to_json),
        label.observed_at,
        label.received_at,
    )
