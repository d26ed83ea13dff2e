"""Tallies in Postgres: absolute rows in, sums out.

Rule: a row is written whole and only by a higher sequence, so replays and disorder are harmless.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Counter, Outcome, Tally, TallyKey, TallyRow, Watermark
from app.store.pg.codec import to_json
from app.store.pg.database import Transaction

_OUTCOMES = tuple(outcome.value for outcome in Outcome)
COUNTS = ("exchanges", *_OUTCOMES, "excluded")
_BINS = ("latency_bins", "latency_counts")
_VALUES = (*COUNTS, *_BINS, "counters", "sequence")


@dataclass(frozen=True, slots=True)
class Slot:
    """One version's tally in one step of time: seconds from `start` (inclusive) to `end` (exclusive)."""

    version: VersionName
    start: int
    end: int
    tally: Tally


# All rows in one parameter: three times as quick as a statement per row, and no limit on their number.
_UPSERT = text(
    f"""
    INSERT INTO tallies (boot, second, model, generation, version, {", ".join(_VALUES)})
    SELECT :boot, new.* FROM json_to_recordset(:rows) AS new(
        second bigint, model text, generation bigint, version text, {", ".join(f"{name} integer" for name in COUNTS)},
        latency_bins smallint[], latency_counts integer[], counters jsonb, sequence bigint
    )
    ON CONFLICT (boot, second, model, generation, version) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in _VALUES)}
    WHERE excluded.sequence > tallies.sequence
    """  # noqa: S608 -- joined from this module's own constants
)

# A boot whose watermarks reach the common one is read as far as that; any other only as far as
# it said itself. Generation 0 was drawn without a coin.
_MATURE = text(
    """
    SELECT t.* FROM tallies t JOIN replicas r USING (boot)
    WHERE t.model = :model AND t.version IN (:stable, :canary) AND t.second > :after AND t.second <= :newest
      AND t.generation >= coalesce(
          (SELECT started_generation FROM rollouts WHERE model = :model AND ended_at IS NULL), 1)
      AND ((r.status_through >= :status AND r.latency_through >= :latency)
           OR t.second <= least(r.status_through, r.latency_through))
    ORDER BY t.second, t.boot, t.generation, t.version
    """
)

_SLOTS = text(
    f"""
    WITH selected AS (
        SELECT *, (second - :since) / :step AS slot FROM tallies
        WHERE model = :model AND second >= :since AND second < :until
          AND (version = :version OR CAST(:version AS text) IS NULL)
        ORDER BY second DESC LIMIT :most
    ), bins AS (
        SELECT version, slot, bin, sum(count) AS count
        FROM selected, unnest(latency_bins, latency_counts) AS histogram(bin, count) GROUP BY version, slot, bin
    ), histograms AS (
        SELECT version, slot, array_agg(bin) AS bins, array_agg(count) AS counts FROM bins GROUP BY version, slot
    ), counted AS (
        SELECT version, slot, name, sum(count::bigint) AS count
        FROM selected, jsonb_each_text(counters) AS further(name, count) GROUP BY version, slot, name
    ), further AS (
        SELECT version, slot, jsonb_object_agg(name, count) AS counters FROM counted GROUP BY version, slot
    ), totals AS (
        SELECT version, slot, {", ".join(f"sum({name})::bigint AS {name}" for name in COUNTS)}
        FROM selected GROUP BY version, slot
    )
    SELECT * FROM totals LEFT JOIN histograms USING (version, slot) LEFT JOIN further USING (version, slot)
    ORDER BY slot, version
    """  # noqa: S608 -- joined from this module's own constants
)

_COUNTERS = text(
    """
    SELECT name, sum(count::bigint)::bigint AS counted
    FROM (
        SELECT counters FROM tallies WHERE model = :model AND version = :version AND second >= :since
        ORDER BY second DESC LIMIT :most
    ) AS newest, jsonb_each_text(counters) AS further(name, count)
    GROUP BY name
    """
)

_EXCHANGES = text(
    """
    SELECT version, sum(exchanges)::bigint AS exchanges FROM tallies
    WHERE model = :model AND second > extract(epoch FROM clock_timestamp()) - :window_s
    GROUP BY version ORDER BY version
    """
)


async def upsert(tx: Transaction, boot: str, rows: Iterable[TallyRow]) -> None:
    """Write rows of one boot; each key at most once."""
    columns = [_columns(row) for row in rows]
    if columns:
        await tx.execute(_UPSERT, {"boot": UUID(boot), "rows": to_json(columns)})


# ADR 0021
async def mature(
    tx: Transaction, model: ModelName, arms: tuple[VersionName, VersionName], after: int, watermark: Watermark
) -> tuple[TallyRow, ...]:
    """What `absorb` wants: the two arms' rows of seconds above `after`, up to the newer of the watermark.

    Only of generations since the start of the model's active rollout. Rows a silent boot had not
    declared final are left out for ever, of both arms alike.
    """
    stable, canary = arms
    found = await tx.execute(
        _MATURE,
        {
            "model": model,
            "stable": stable,
            "canary": canary,
            "after": after,
            "newest": max(watermark.status, watermark.latency),
            "status": watermark.status,
            "latency": watermark.latency,
        },
    )
    return tuple(map(_row, found))


async def slots(
    tx: Transaction,
    model: ModelName,
    since: int,
    until: int,
    *,
    step: int | None = None,
    version: VersionName | None = None,
    rows_max: int | None = None,
) -> tuple[Slot, ...]:
    """Tallies by version over [since, until) unix seconds, cut in steps or whole; by start, then version.

    Args:
        tx: Where to read.
        model: Whose tallies.
        since: First second.
        until: Second after the last.
        step: Seconds per slot.
        version: Only of this one.
        rows_max: Read no more than so many stored rows, the newest first.
    """
    width = step or max(until - since, 1)
    span = {"model": model, "since": since, "until": until, "step": width, "version": version, "most": rows_max}
    found = await tx.execute(_SLOTS, span)
    return tuple(
        Slot(
            VersionName(row.version),
            since + row.slot * width,
            min(since + (row.slot + 1) * width, until),
            tally_of(row, row.bins or (), row.counts or (), row.counters or {}),
        )
        for row in found
    )


async def exchanges(tx: Transaction, model: ModelName, window_s: int) -> Mapping[VersionName, int]:
    """Exchanges drawn per version in the last `window_s` seconds of database time."""
    found = await tx.execute(_EXCHANGES, {"model": model, "window_s": window_s})
    return {VersionName(row.version): row.exchanges for row in found}


async def counters(
    tx: Transaction, model: ModelName, version: VersionName, since: int, *, rows_max: int
) -> Mapping[Counter, int]:
    """What else was counted of a version from the unix second `since` on, in its newest `rows_max` rows."""
    asked = {"model": model, "version": version, "since": since, "most": rows_max}
    return {Counter(row.name): row.counted for row in await tx.execute(_COUNTERS, asked)}


async def history(
    tx: Transaction, model: ModelName, version: VersionName, since: int, until: int, *, rows_max: int | None = None
) -> Tally:
    """One version's tally over [since, until), of its newest `rows_max` rows."""
    found = await slots(tx, model, since, until, version=version, rows_max=rows_max)
    return found[0].tally if found else Tally()


def _columns(row: TallyRow) -> Mapping[str, object]:
    tally = row.tally
    return {
        "second": row.key.second,
        "model": row.key.model,
        "generation": row.key.generation,
        "version": row.key.version,
        "exchanges": tally.exchanges,
        **{outcome.value: tally.outcomes.get(outcome, 0) for outcome in Outcome},
        "excluded": tally.excluded,
        "latency_bins": list(tally.latency_bins.keys()),
        "latency_counts": list(tally.latency_bins.values()),
        "counters": tally.counters,
        "sequence": row.sequence,
    }


def _row(row: Row[Any]) -> TallyRow:
    key = TallyKey(row.second, ModelName(row.model), row.generation, VersionName(row.version))
    return TallyRow(key, tally_of(row, row.latency_bins, row.latency_counts, row.counters), row.sequence)


def tally_of(row: Row[Any], bins: Iterable[int], counts: Iterable[int], counters: Mapping[str, int]) -> Tally:
    """The tally that a row's columns and these histograms and counters hold."""
    ended = {outcome: int(getattr(row, outcome.value)) for outcome in Outcome}
    outcomes = {outcome: count for outcome, count in ended.items() if count}
    further = {Counter(name): int(count) for name, count in counters.items()}
    return Tally(row.exchanges, outcomes, row.excluded, dict(zip(bins, map(int, counts), strict=True)), further)
