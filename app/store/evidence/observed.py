"""What was read of answers, in Postgres: absolute rows in, the mature ones out; counts and distributions alike.

Rule: a row is written whole and only by a higher sequence; what it holds is JSON that only the domain reads.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause, text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.observed import SPREAD_S, Observed, ObservedRow, SpreadRow
from app.domain.evidence.tally import TallyKey
from app.domain.stats.histogram import Spread
from app.store.pg.codec import observed_from_json, spread_from_json, to_jsonb
from app.store.pg.database import Transaction

_TABLES = {ObservedRow: "observed", SpreadRow: "spreads"}
_WIDTHS_S = {"observed": 1, "spreads": SPREAD_S}


def _upsert(table: str) -> TextClause:
    return text(
        f"""
        INSERT INTO {table} (boot, second, model, generation, version, content, sequence)
        SELECT :boot, new.* FROM json_to_recordset(:rows) AS new(
            second bigint, model text, generation bigint, version text, content jsonb, sequence bigint
        )
        ON CONFLICT (boot, second, model, generation, version)
        DO UPDATE SET content = excluded.content, sequence = excluded.sequence
        WHERE excluded.sequence > {table}.sequence
        """  # noqa: S608 -- joined from this module's own constants
    )


def _mature(table: str) -> TextClause:
    """As `tallies.mature`: a silent boot is read as far as it said itself; a row only when its last second is over."""
    last = f"o.second + {_WIDTHS_S[table] - 1}"
    return text(
        f"""
        SELECT o.* FROM {table} o JOIN replicas r USING (boot)
        WHERE o.model = :model AND o.version IN (:stable, :canary) AND o.second > :after AND {last} <= :through
          AND o.generation >= coalesce(
              (SELECT started_generation FROM rollouts WHERE model = :model AND ended_at IS NULL), 1)
          AND (r.status_through >= :through OR {last} <= r.status_through)
        ORDER BY o.second, o.boot, o.generation, o.version
        """  # noqa: S608 -- joined from this module's own constants
    )


_UPSERTS = {kind: _upsert(table) for kind, table in _TABLES.items()}
# With many busy replicas the last minutes say as much, and a start must not take seconds.
HISTORY_ROWS_MAX = 4_000
_HISTORY = {
    kind: text(
        f"""
        SELECT content FROM {table}
        WHERE model = :model AND version = :version AND second >= :since AND second < :until
        ORDER BY second DESC LIMIT :most
        """  # noqa: S608 -- joined from this module's own constants
    )
    for kind, table in _TABLES.items()
}
_MATURE = {kind: _mature(table) for kind, table in _TABLES.items()}
_FIRST_SPREAD = text("SELECT min(second) FROM spreads WHERE model = :model AND version = :version")


async def upsert(tx: Transaction, boot: str, rows: Iterable[ObservedRow | SpreadRow]) -> None:
    """Write rows of one boot, of either kind; each key of a kind at most once."""
    columns: dict[type, list[Mapping[str, object]]] = {kind: [] for kind in _TABLES}
    for row in rows:
        columns[type(row)].append(_columns(row))
    for kind, of_kind in columns.items():
        if of_kind:
            await tx.execute(_UPSERTS[kind], {"boot": UUID(boot), "rows": to_jsonb(of_kind)})


async def mature(
    tx: Transaction, model: ModelName, arms: tuple[VersionName, VersionName], after: int, through: int
) -> tuple[ObservedRow, ...]:
    """The two arms' rows of the seconds in (after, through], of generations since the active rollout's start.

    Args:
        tx: Where to read.
        model: Whose answers.
        arms: Stable and canary.
        after: Last second already read.
        through: Newest second whose exchanges have all ended: a watermark's status.

    Rows a silent boot had not declared final are left out for ever, of both arms alike.
    """
    found = await tx.execute(_MATURE[ObservedRow], _span(model, arms, after, through))
    return tuple(ObservedRow(_key(row), observed_from_json(row.content), row.sequence) for row in found)


async def mature_spreads(
    tx: Transaction, model: ModelName, arms: tuple[VersionName, VersionName], after: int, through: int
) -> tuple[SpreadRow, ...]:
    """The same of distributions: rows that begin after `after` and whose every second is at most `through`."""
    found = await tx.execute(_MATURE[SpreadRow], _span(model, arms, after, through))
    return tuple(SpreadRow(_key(row), spread_from_json(row.content), row.sequence) for row in found)


async def history(tx: Transaction, model: ModelName, version: VersionName, since: int, until: int) -> Observed:
    """All that was read of one version's answers in the seconds [since, until), the newest rows first."""
    found = await tx.scalars(_HISTORY[ObservedRow], _before(model, version, since, until))
    return sum(map(observed_from_json, found), Observed())


async def history_of_spreads(tx: Transaction, model: ModelName, version: VersionName, since: int, until: int) -> Spread:
    """The same of distributions."""
    found = await tx.scalars(_HISTORY[SpreadRow], _before(model, version, since, until))
    return sum(map(spread_from_json, found), Spread())


async def first_of_spreads(tx: Transaction, model: ModelName, version: VersionName) -> int | None:
    """The second at which the oldest kept distributions of a version begin; None if there are none."""
    first: int | None = await tx.scalar(_FIRST_SPREAD, {"model": model, "version": version})
    return first


def _before(model: ModelName, version: VersionName, since: int, until: int) -> Mapping[str, object]:
    return {"model": model, "version": version, "since": since, "until": until, "most": HISTORY_ROWS_MAX}


def _span(model: ModelName, arms: tuple[VersionName, VersionName], after: int, through: int) -> Mapping[str, object]:
    stable, canary = arms
    return {"model": model, "stable": stable, "canary": canary, "after": after, "through": through}


def _columns(row: ObservedRow | SpreadRow) -> Mapping[str, object]:
    content = row.observed if isinstance(row, ObservedRow) else row.spread
    return {
        "second": row.key.second,
        "model": row.key.model,
        "generation": row.key.generation,
        "version": row.key.version,
        "content": content,
        "sequence": row.sequence,
    }


def _key(row: Row[Any]) -> TallyKey:
    return TallyKey(row.second, ModelName(row.model), row.generation, VersionName(row.version))
