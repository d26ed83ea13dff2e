"""The tallies' partitions, one per UTC day: made ahead, dropped when old, never emptied row by row."""

from app.store.database import Transaction


async def ensure_partitions(tx: Transaction, days_ahead: int = 3) -> tuple[str, ...]:
    """Create the partitions of today and the days ahead, and of days whose rows fell into the default one.

    Returns:
        The names of those created.
    """
    raise NotImplementedError


async def drop_partitions(tx: Transaction, keep_days: int) -> tuple[str, ...]:
    """Drop the partitions of days older than `keep_days`, by database time; returns their names."""
    raise NotImplementedError
