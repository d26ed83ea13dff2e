"""Units in Postgres: the first exchange of each sticky caller in each rollout.

Rule: the earliest draw wins, whoever writes first and however often; ties go to the lower boot (ADR 0035).
"""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow, UnitRow
from app.store.pg.codec import to_json
from app.store.pg.database import Transaction

_UPSERT = text(
    """
    INSERT INTO units (model, salted_at, unit, second, boot, generation, version, outcome, latency_bin)
    SELECT model, salted_at, unit, second, :boot, generation, version, outcome, latency_bin
    FROM json_to_recordset(:rows) AS new(
        model text, salted_at bigint, unit bigint, second bigint, generation bigint, version text, outcome text,
        latency_bin smallint
    )
    ORDER BY model, salted_at, unit
    ON CONFLICT (model, salted_at, unit) DO UPDATE SET
        second = excluded.second, boot = excluded.boot, generation = excluded.generation,
        version = excluded.version, outcome = excluded.outcome, latency_bin = excluded.latency_bin
    WHERE (excluded.second, excluded.boot) < (units.second, units.boot)
    """
)

# A second at which every live boot has arrived keeps its units: a live boot wrote all its earlier draws
# before. What a silent boot had not declared final is left out. Generation 0 was drawn without a coin.
_MATURE = text(
    """
    SELECT u.second, u.generation, u.version, u.outcome, u.latency_bin, count(*) AS units
    FROM units u JOIN replicas r USING (boot)
    WHERE u.model = :model AND u.salted_at = :salted_at AND u.version IN (:stable, :canary)
      AND u.second > :after AND u.second <= least(:through, r.status_through) AND u.generation > 0
    GROUP BY u.second, u.generation, u.version, u.outcome, u.latency_bin
    ORDER BY u.second, u.generation, u.version
    """
)

_FORGET = text(
    """
    DELETE FROM units WHERE ctid = ANY (ARRAY(
        SELECT u.ctid FROM units u JOIN rollouts r
        ON u.model = r.model AND u.salted_at BETWEEN r.started_generation AND r.generation
        WHERE r.ended_at < clock_timestamp() - make_interval(days => :keep_days) LIMIT :most
    ))
    """
)
FORGOTTEN_AT_ONCE = 20_000
"""Deleting more in one statement could outlast its time limit."""


async def mature(
    tx: Transaction, model: ModelName, salted_at: int, arms: tuple[VersionName, VersionName], after: int, through: int
) -> tuple[TallyRow, ...]:
    """What `absorb` wants of a sticky model: the arms' units of seconds above `after`, up to `through`.

    Each unit counts as one exchange that has ended, in the second of its first draw since `salted_at`.

    Args:
        tx: Where to read.
        model: Whose callers.
        salted_at: The generation whose salt drew them.
        arms: Stable and canary.
        after: Last second read before.
        through: The status watermark of all live replicas.
    """
    stable, canary = arms
    span = {"model": model, "salted_at": salted_at, "stable": stable, "canary": canary}
    counted: dict[TallyKey, Tally] = {}
    for row in await tx.execute(_MATURE, {**span, "after": after, "through": through}):
        key = TallyKey(row.second, model, row.generation, VersionName(row.version))
        alike = Tally(row.units, {Outcome(row.outcome): row.units}, 0, {row.latency_bin: row.units})
        counted[key] = counted.get(key, Tally()) + alike
    return tuple(TallyRow(key, tally, 0) for key, tally in counted.items())


async def forget(tx: Transaction, keep_days: int) -> int:
    """Delete units of rollouts that ended more than `keep_days` ago, some at a time; returns how many."""
    deleted = await tx.execute(_FORGET, {"keep_days": keep_days, "most": FORGOTTEN_AT_ONCE})
    return deleted.rowcount


async def upsert(tx: Transaction, boot: str, rows: Iterable[UnitRow]) -> None:
    """Write units of one boot; each key at most once."""
    columns = list(rows)
    if columns:
        await tx.execute(_UPSERT, {"boot": UUID(boot), "rows": to_json(columns)})
