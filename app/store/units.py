"""Units in Postgres: the first exchange of each sticky caller in each rollout.

Rule: the earliest draw wins, whoever writes first and however often; ties go to the lower boot.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text

from app.domain.tally import UnitRow
from app.store.codec import to_json
from app.store.database import Transaction

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


async def upsert(tx: Transaction, boot: str, rows: Iterable[UnitRow]) -> None:
    """Write units of one boot; each key at most once."""
    columns = list(rows)
    if columns:
        await tx.execute(_UPSERT, {"boot": UUID(boot), "rows": to_json(columns)})
