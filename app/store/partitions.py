"""The tallies' partitions, one per UTC day: made ahead, dropped when old, never emptied row by row."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import text

from app.store.database import Transaction

DAY_S = 86_400
STRAYS_MAX = 31

_CLAIM = text("SELECT pg_try_advisory_xact_lock(hashtextextended('tallies partitions', 0))")
_TODAY = text("SELECT floor(extract(epoch FROM clock_timestamp()) / :day)::bigint")
_STRAY_DAYS = text("SELECT DISTINCT second / :day AS day FROM tallies_default ORDER BY day DESC LIMIT :most")
_NAMES = text(
    "SELECT relid::regclass::text FROM pg_partition_tree('tallies')"
    " WHERE isleaf AND relid <> 'tallies_default'::regclass"
)


async def claim(tx: Transaction) -> bool:
    """Whether this transaction may change partitions; two at once would make the same tables."""
    return bool(await tx.scalar(_CLAIM))


async def ensure_partitions(tx: Transaction, days_ahead: int = 3) -> tuple[str, ...]:
    """Create the partitions of today and the days ahead, and of days whose rows fell into the default one.

    Returns:
        The names of those created.
    """
    today = await _today(tx)
    strays = await tx.scalars(_STRAY_DAYS, {"day": DAY_S, "most": STRAYS_MAX})
    missing = {*range(today, today + days_ahead + 1), *strays} - set(await _days(tx))
    return tuple([await _create(tx, day) for day in sorted(missing)])


async def drop_partitions(tx: Transaction, keep_days: int) -> tuple[str, ...]:
    """Drop the partitions of days older than `keep_days`, by database time; returns their names."""
    oldest = await _today(tx) - keep_days
    old = tuple(_name(day) for day in sorted(await _days(tx)) if day < oldest)
    for name in old:
        await tx.execute(text(f"DROP TABLE {name}"))
    return old


async def oldest_second(tx: Transaction) -> int:
    """The first second whose tallies are kept; 0 before any day was made, for then none was dropped."""
    return min(await _days(tx), default=0) * DAY_S


async def _create(tx: Transaction, day: int) -> str:
    name, first, end = _name(day), day * DAY_S, (day + 1) * DAY_S
    # Attaching a finished table locks the parent less than creating it in place, and makes room for
    # moving what the default partition caught meanwhile.
    await tx.execute(text(f"CREATE TABLE {name} (LIKE tallies INCLUDING ALL)"))
    moved = f"DELETE FROM tallies_default WHERE second >= {first} AND second < {end} RETURNING *"  # noqa: S608 -- numbers
    await tx.execute(text(f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved"))  # noqa: S608 -- a date
    await tx.execute(text(f"ALTER TABLE tallies ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})"))
    return name


async def _today(tx: Transaction) -> int:
    return int((await tx.execute(_TODAY, {"day": DAY_S})).scalar_one())


async def _days(tx: Transaction) -> Iterable[int]:
    names = await tx.scalars(_NAMES)
    return [_day(name) for name in names]


def _name(day: int) -> str:
    return f"tallies_{datetime.fromtimestamp(day * DAY_S, UTC):%Y%m%d}"


def _day(name: str) -> int:
    return int(datetime.strptime(name, "tallies_%Y%m%d").replace(tzinfo=UTC).timestamp()) // DAY_S
