"""What was measured of answers over a time, summed by Postgres and read to be shown.

Rule: rows go in and come out as evidence in `observed`; here they are only added up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.observed import Flaw, Measure, Observed
from app.store.pg.database import Transaction

_OF_TIME = "model = :model AND second >= :since AND second < :until"
_READ = text(
    f"""
    SELECT version, {
        ", ".join(
            f"sum((content->>'{name}')::bigint)::bigint AS {name}" for name in ("judged", "bad", "read", "flawed")
        )
    }
    FROM observed WHERE {_OF_TIME} GROUP BY version
    """  # noqa: S608 -- joined from this module's own constants
)
_FLAWS = text(
    f"""
    SELECT version, flaw.key AS flaw, sum(flaw.value::bigint)::bigint AS counted
    FROM observed, jsonb_each_text(content->'flaws') AS flaw WHERE {_OF_TIME} GROUP BY version, flaw.key
    """  # noqa: S608 -- joined from this module's own constants
)
_MEASURES = text(
    f"""
    SELECT version, measure.key AS name, sum((measure.value->>0)::bigint)::bigint AS n,
           sum((measure.value->>1)::double precision) AS total, sum((measure.value->>2)::double precision) AS squares
    FROM observed, jsonb_each(content->'measures') AS measure WHERE {_OF_TIME} GROUP BY version, measure.key
    """  # noqa: S608 -- joined from this module's own constants
)
_FIRST = text(f"SELECT min(second) FROM tallies WHERE {_OF_TIME}")  # noqa: S608 -- as above


@dataclass(frozen=True, slots=True)
class Measured:
    """What was read of each version's answers.

    Attributes:
        seen_from: First second of the time with any exchange of the model; None without one.
        by_version: Without slices.
    """

    seen_from: int | None
    by_version: Mapping[VersionName, Observed]


async def measured(tx: Transaction, model: ModelName, since: int, until: int) -> Measured:
    """What was measured in the seconds [since, until)."""
    span = {"model": model, "since": since, "until": until}
    found = {
        VersionName(row.version): Observed(row.judged, row.bad, row.read, row.flawed)
        for row in await tx.execute(_READ, span)
    }
    flaws: dict[str, dict[Flaw, int]] = {}
    for row in await tx.execute(_FLAWS, span):
        flaws.setdefault(row.version, {})[Flaw(row.flaw)] = row.counted
    measures: dict[str, dict[str, Measure]] = {}
    for row in await tx.execute(_MEASURES, span):
        measures.setdefault(row.version, {})[row.name] = Measure(row.n, row.total, row.squares)
    return Measured(
        await tx.scalar(_FIRST, span),
        {
            name: replace(observed, flaws=flaws.get(name, {}), measures=measures.get(name, {}))
            for name, observed in found.items()
        },
    )
