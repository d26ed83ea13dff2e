"""Answers in Postgres: one row per exchange that may be labelled, found by the client's name for it, or recalled.

Rule: a row never changes; one that is written again, because nobody knew whether it was committed, changes nothing.
An exchange's own id is looked up first, and a name that two clients chose leads to neither.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import text

from app.domain.catalog.exchange_id import is_id
from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.labels import Exchange, NamedBy
from app.domain.evidence.observed import AnsweredRow
from app.store.pg.codec import to_json
from app.store.pg.copying import copy_rows
from app.store.pg.database import Transaction

_COLUMNS: Final = {
    "exchange": "uuid",
    "second": "int8",
    "model": "text",
    "version": "text",
    "generation": "int8",
    "sampled": "bool",
    "request_id": "text",
    "client_key": "text",
    "status": "int2",
    "predictions": "jsonb",
    "scores": "jsonb",
    "slices": "jsonb",
}
_NAMES: Final = ", ".join(_COLUMNS)
_ADD = text(
    f"INSERT INTO answers ({_NAMES}) SELECT {_NAMES} FROM pg_temp.new_answers"  # noqa: S608 -- this module's constants
    " ORDER BY exchange ON CONFLICT DO NOTHING"
)

# The second of two says that there are two; how many more does not matter. An exchange's model is looked at
# behind the limit: before it, a day without statistics would be searched by all rows of the model.
_FIND = {
    named_by: text(
        f"""
        SELECT wanted.at, a.exchange, a.second, a.model, a.version, a.generation, a.slices
        FROM unnest(CAST(:models AS text[]), CAST(:handles AS text[])) WITH ORDINALITY AS wanted(model, handle, at)
        CROSS JOIN LATERAL (SELECT * FROM answers WHERE {matches} LIMIT 2) a WHERE a.model = wanted.model
        """  # noqa: S608 -- this module's constants
    )
    for named_by, matches in {
        NamedBy.EXCHANGE: "exchange = CAST(wanted.handle AS uuid)",
        NamedBy.REQUEST_ID: "model = wanted.model AND request_id = wanted.handle"
        " AND request_id <> replace(CAST(exchange AS text), '-', '')",
        NamedBy.CLIENT_KEY: "model = wanted.model AND client_key = wanted.handle",
    }.items()
}


class Name(NamedTuple):
    """What a client calls an exchange."""

    model: ModelName
    named_by: NamedBy
    handle: str


class Answered(NamedTuple):
    """An exchange that has a row, and its slices."""

    exchange: Exchange
    slices: dict[str, str]


async def find(tx: Transaction, names: Iterable[Name]) -> Mapping[Name, Answered | None]:
    """The exchanges of those names that have a row; None for a name that several have."""
    by_kind: dict[NamedBy, list[Name]] = {}
    for name in set(names):
        by_kind.setdefault(name.named_by, []).append(name)
    # Ids of another secret, or of an older release, are not known as ours, and are exchanges' own all the same.
    ids = [name for name in by_kind.get(NamedBy.REQUEST_ID, ()) if is_id(name.handle)]
    found = dict(await _find(tx, NamedBy.EXCHANGE, ids)) if ids else {}
    for named_by, of_kind in by_kind.items():
        left = [name for name in of_kind if name not in found]
        found |= await _find(tx, named_by, left) if left else {}
    return found


async def _find(tx: Transaction, named_by: NamedBy, names: Sequence[Name]) -> Mapping[Name, Answered | None]:
    wanted = {"models": [name.model for name in names], "handles": [name.handle for name in names]}
    found: dict[Name, Answered | None] = {}
    for row in await tx.execute(_FIND[named_by], wanted):
        name = names[row.at - 1]
        known = Exchange(row.exchange.hex, row.second, ModelName(row.model), VersionName(row.version), row.generation)
        found[name] = None if name in found else Answered(known, row.slices)
    return found


async def add(tx: Transaction, rows: Iterable[AnsweredRow]) -> None:
    """Write rows; those that are there already stay as they are."""
    columns = [_columns(row) for row in rows]
    if columns:
        await copy_rows(tx, "new_answers", _COLUMNS, columns)
        await tx.execute(_ADD)


def _columns(row: AnsweredRow) -> tuple[object, ...]:
    return (
        UUID(row.exchange),
        row.second,
        row.model,
        row.version,
        row.generation,
        row.sampled,
        row.request_id,
        row.client_key,
        row.status,
        Jsonb(row.predictions, dumps=to_json),
        Jsonb(row.scores, dumps=to_json),
        Jsonb(dict(row.slices), dumps=to_json),
    )
