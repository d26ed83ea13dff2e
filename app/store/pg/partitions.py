"""Partitions, one per UTC day and table: made ahead, dropped when old, never emptied row by row.

Rule: every table is cut by the second of a draw, so that whatever is known of a day goes with it.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import text

from app.store.pg.database import Transaction

DAY_S = 86_400
STRAYS_MAX = 31
PARTITIONED: Final = ("tallies", "observed", "spreads", "answers", "labels")

_CLAIM = text("SELECT pg_try_advisory_xact_lock(hashtextextended('tallies partitions', 0))")
_TODAY = text("SELECT floor(extract(epoch FROM clock_timestamp()) / :day)::bigint")
_NAMES = text(
    "SELECT relid::regclass::text FROM pg_partition_tree(CAST(:parent AS regclass))"
    " WHERE isleaf AND relid <> CAST(:default_one AS regclass)"
)


async def claim(tx: Transaction) -> bool:
    """Whether this transaction may change partitions; two at once would make the same tables."""
    return bool(await tx.scalar(_CLAIM))


async def ensure_partitions(tx: Transaction, days_ahead: int = 3) -> tuple[str, ...]:
    """Create the partitions of today and the days ahead, and of days whose rows fell into the default ones.

    Returns:
        The names of those created.
    """
    today = await _today(tx)
    made: list[str] = []
    for parent in PARTITIONED:
        wanted = {*range(today, today + days_ahead + 1), *await _stray_days(tx, parent)}
        missing = wanted - set(await _days(tx, parent))
        made += [await _create(tx, parent, day) for day in sorted(missing)]
    return tuple(made)


async def drop_partitions(tx: Transaction, keep_days: int) -> tuple[str, ...]:
    """Drop the partitions of days older than `keep_days`, by database time; returns their names."""
    oldest = await _today(tx) - keep_days
    old = tuple(
        [_name(parent, day) for parent in PARTITIONED for day in sorted(await _days(tx, parent)) if day < oldest]
    )
    for name in old:
        await tx.execute(text(f"DROP TABLE {name}"))
    return old


async def oldest_second(tx: Transaction) -> int:
    """The first second whose tallies are kept; 0 before any day was made, for then none was dropped."""
    return min(await _days(tx, "tallies"), default=0) * DAY_S


async def _create(tx: Transaction, parent: str, day: int) -> str:
    name, first, end = _name(parent, day), day * DAY_S, (day + 1) * DAY_S
    # Attaching a finished table locks the parent less than creating it in place, and makes room for
    # moving what the default partition caught meanwhile.
    await tx.execute(text(f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL)"))
    # A row that had found its way to the default partition already would be refused there once this one is attached;
    # whoever writes waits here, before it looks for its way.
    await tx.execute(text(f"LOCK TABLE ONLY {parent} IN SHARE ROW EXCLUSIVE MODE"))
    moved = f"DELETE FROM {parent}_default WHERE second >= {first} AND second < {end} RETURNING *"  # noqa: S608 -- numbers
    await tx.execute(text(f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved"))  # noqa: S608 -- a date
    await tx.execute(text(f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})"))
    return name


async def _today(tx: Transaction) -> int:
    return int((await tx.execute(_TODAY, {"day": DAY_S})).scalar_one())


async def _stray_days(tx: Transaction, parent: str) -> Collection[int]:
    found = f"SELECT DISTINCT second / :day AS day FROM {parent}_default ORDER BY day DESC LIMIT :most"  # noqa: S608 -- a constant
    return (await tx.scalars(text(found), {"day": DAY_S, "most": STRAYS_MAX})).all()


async def _days(tx: Transaction, parent: str) -> Collection[int]:
    names = await tx.scalars(_NAMES, {"parent": parent, "default_one": f"{parent}_default"})
    return [_day(parent, name) for name in names]


def _name(parent: str, day: int) -> str:
    return f"{parent}_{datetime.fromtimestamp(day * DAY_S, UTC):%Y%m%d}"


def _day(parent: str, name: str) -> int:
    return int(datetime.strptime(name, f"{parent}_%Y%m%d").replace(tzinfo=UTC).timestamp()) // DAY_S
