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

from app.domain.catalog.models import ModelName
from app.domain.evidence.labels import ANONYMOUS, Attributed, Given, Rank, Result, Said, Settled
from app.store.labels.revision_writer import New, settle
from app.store.pg.codec import to_json
from app.store.pg.copying import copy_rows
from app.store.pg.database import Transaction

# What a label says, to be compared: 1 is 1.0 as jsonb, and one source's true is another one's 1.
MEANT: Final = (
    "CASE jsonb_typeof(label) WHEN 'boolean' THEN to_jsonb(CAST(CAST(label AS boolean) AS int)) ELSE label END"
)

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
    "by_receipt": "bool",
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
    SELECT wanted.at, l.revision, l.label, l.by_receipt
    FROM unnest(
        CAST(:exchanges AS uuid[]), CAST(:metrics AS text[]), CAST(:sources AS text[]), CAST(:seconds AS bigint[])
    ) WITH ORDINALITY AS wanted(exchange, metric, source, second, at)
    CROSS JOIN LATERAL (
        SELECT revision, label, by_receipt FROM labels
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
    WHERE exchange = :exchange AND second = :second AND source = ANY(:sources) ORDER BY metric, source, revision
    """
)


# A receipt without a coin is labelled too; it is no part of what was drawn.
_COUNTED = text(
    """
    SELECT metric, source, version, count(*) FILTER (WHERE revision = 1) AS labels,
           count(*) FILTER (WHERE revision > 1) AS corrections
    FROM labels WHERE model = :model AND second >= :since GROUP BY metric, source, version
    ORDER BY metric, version, source
    """
)

_COVERED = text(
    """
    WITH first_words AS (
        SELECT metric, version, exchange, min(extract(epoch FROM received_at) - second) AS lag_s
        FROM labels WHERE model = :model AND second >= :since AND generation > 0 AND revision = 1
        GROUP BY metric, version, exchange
    )
    SELECT metric, version, count(*) AS labelled,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY lag_s) AS median_s,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY lag_s) AS p95_s
    FROM first_words GROUP BY metric, version ORDER BY metric, version
    """
)

_DRAWN = text(
    """
    SELECT version, sum(exchanges)::bigint AS drawn FROM tallies
    WHERE model = :model AND second >= :since AND generation > 0 GROUP BY version
    """
)

_WAITING = text("SELECT count(*) FROM parked_labels WHERE model = :model")


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


class Counted(NamedTuple):
    """Labels of one source about one version: exchanges it labelled, and how often it changed its mind."""

    metric: str
    source: str
    version: str
    labels: int
    corrections: int


class Covered(NamedTuple):
    """How much of one version is labelled, and how soon.

    Attributes:
        drawn: Exchanges that a coin gave it.
        labelled: Of those, by whoever.
        median_s, p95_s: From the draw to the first label's arrival.
    """

    metric: str
    version: str
    drawn: int
    labelled: int
    median_s: float
    p95_s: float


class Stats(NamedTuple):
    """A model's labels.

    Attributes:
        waiting: Labels whose exchange is still to be written.
    """

    counted: tuple[Counted, ...]
    covered: tuple[Covered, ...]
    waiting: int


async def stats(tx: Transaction, model: ModelName, since: int) -> Stats:
    """Of exchanges drawn from the unix second `since` on."""
    span = {"model": model, "since": since}
    drawn = {row.version: row.drawn for row in await tx.execute(_DRAWN, span)}
    counted = tuple(Counted(*row) for row in await tx.execute(_COUNTED, span))
    covered = tuple(
        Covered(
            row.metric,
            row.version,
            drawn.get(row.version, 0),
            row.labelled,
            float(row.median_s),
            float(row.p95_s),
        )
        for row in await tx.execute(_COVERED, span)
    )
    return Stats(counted, covered, int(await tx.scalar(_WAITING, {"model": model}) or 0))


async def add(tx: Transaction, items: Sequence[Attributed]) -> list[Settled]:
    """Write labels; what each counts as, in their order."""
    firsts = _first_words(items)
    written = await _write(tx, [New(items[at], 1) for at in firsts]) if firsts else set()
    verdicts = {at: Settled(Result.JOINED, 1) for at in firsts if (_key(items[at]), 1) in written}
    others = [at for at in range(len(items)) if at not in verdicts]
    if others:
        rest = [items[at] for at in others]
        revised = await settle(rest, key=_key, read=partial(_read, tx), write=partial(_write, tx))
        verdicts.update(zip(others, revised, strict=True))
    return [verdicts[at] for at in range(len(items))]


async def of_exchange(tx: Transaction, exchange: str, second: int, source: str) -> tuple[KeptLabel, ...]:
    """One exchange's labels that this source may see: its own, and those that came without a key."""
    asked = {"exchange": UUID(exchange), "second": second, "sources": [source, ANONYMOUS]}
    found = await tx.execute(_OF_EXCHANGE, asked)
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


async def _read(tx: Transaction, keys: Collection[Key]) -> Mapping[Key, Sequence[Said]]:
    wanted = list(keys)
    columns: dict[str, Any] = {
        "exchanges": [UUID(key.exchange) for key in wanted],
        "metrics": [key.metric for key in wanted],
        "sources": [key.source for key in wanted],
        "seconds": [key.second for key in wanted],
    }
    there: dict[Key, list[Said]] = {}
    for row in await tx.execute(_READ, columns):
        key = wanted[row.at - 1]
        there.setdefault(key, []).append(Said(row.label, Rank.of(key.source, by_receipt=row.by_receipt)))
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
        new.item.by_receipt,
    )
