"""Tallies of rollouts that may be over, read again: summed over processes, and over steps of time.

Rule: the rows that a look would have read and no others, so that their sums can be held against what it saw.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Row, text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import TallyKey, TallyRow, Watermark
from app.store.evidence.tallies import COUNTS, tally_of
from app.store.pg.database import Transaction

# Last second of the step, generation, version.
_Key: TypeAlias = tuple[int, int, str]

_KEY = "last, generation, version"
# As in `tallies.mature`; a step's sums stand in its last second.
_SELECTED = """
    WITH selected AS (
        SELECT t.*, least(:after + ((t.second - :after - 1) / :step + 1) * :step, :through) AS last
        FROM tallies t JOIN replicas r USING (boot)
        WHERE t.model = :model AND t.version IN (:stable, :canary) AND t.second > :after AND t.second <= :through
          AND t.generation >= :since_generation
          AND ((r.status_through >= :status AND r.latency_through >= :latency)
               OR t.second <= least(r.status_through, r.latency_through))
    )
"""
# Three statements: joined in one, Postgres guesses few rows and compares each with each.
_TOTALS = text(
    f"""{_SELECTED}
    SELECT {_KEY}, {", ".join(f"sum({name})::bigint AS {name}" for name in COUNTS)}
    FROM selected GROUP BY {_KEY} ORDER BY {_KEY}
    """  # noqa: S608 -- joined from this module's own constants
)
_HISTOGRAMS = text(
    f"""{_SELECTED}
    SELECT {_KEY}, bin, sum(count)::bigint AS counted
    FROM selected, unnest(latency_bins, latency_counts) AS histogram(bin, count) GROUP BY {_KEY}, bin
    """  # noqa: S608 -- joined from this module's own constants
)
_COUNTERS = text(
    f"""{_SELECTED}
    SELECT {_KEY}, name, sum(count::bigint)::bigint AS counted
    FROM selected, jsonb_each_text(counters) AS further(name, count) GROUP BY {_KEY}, name
    """  # noqa: S608 -- joined from this module's own constants
)


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose rows are meant.

    Attributes:
        final: How far the rollout's evidence was read; a boot that fell silent before is read as far as it went.
        since_generation: The generation that the rollout's start made.
    """

    model: ModelName
    stable: VersionName
    canary: VersionName
    final: Watermark
    since_generation: int


async def summed(tx: Transaction, whose: Whose, after: int, through: int, *, step: int = 1) -> tuple[TallyRow, ...]:
    """What `absorb` wants of seconds in (after, through], summed over `step` seconds; by time, then version."""
    asked = {
        "model": whose.model,
        "stable": whose.stable,
        "canary": whose.canary,
        "after": after,
        "through": through,
        "step": step,
        "status": whose.final.status,
        "latency": whose.final.latency,
        "since_generation": whose.since_generation,
    }
    bins: defaultdict[_Key, dict[int, int]] = defaultdict(dict)
    for row in await tx.execute(_HISTOGRAMS, asked):
        bins[_key(row)][row.bin] = row.counted
    counters: defaultdict[_Key, dict[str, int]] = defaultdict(dict)
    for row in await tx.execute(_COUNTERS, asked):
        counters[_key(row)][row.name] = row.counted
    return tuple(
        TallyRow(
            TallyKey(row.last, whose.model, row.generation, VersionName(row.version)),
            tally_of(row, bins[_key(row)].keys(), bins[_key(row)].values(), counters[_key(row)]),
            0,
        )
        for row in await tx.execute(_TOTALS, asked)
    )


def _key(row: Row[Any]) -> _Key:
    return row.last, row.generation, row.version
