"""Tallies in Postgres: absolute rows in, sums out.

Rule: a row is written whole and only by a higher sequence, so replays and disorder are harmless.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.domain.catalog import ModelName, VersionName
from app.domain.tally import Tally, TallyRow, Watermark
from app.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Slot:
    """One version's tally in one step of time: seconds from `start` (inclusive) to `end` (exclusive)."""

    version: VersionName
    start: int
    end: int
    tally: Tally


async def upsert(tx: Transaction, boot: str, rows: Iterable[TallyRow]) -> None:
    """Write rows of one boot; each key at most once."""
    raise NotImplementedError


async def mature(
    tx: Transaction, model: ModelName, arms: tuple[VersionName, VersionName], after: int, watermark: Watermark
) -> tuple[TallyRow, ...]:
    """The two arms' rows that `absorb` wants: seconds above `after`, up to the newer of the watermark.

    Rows a silent boot had not declared final are left out for ever, of both arms alike.
    """
    raise NotImplementedError


async def slots(
    tx: Transaction,
    model: ModelName,
    since: int,
    until: int,
    *,
    step: int | None = None,
    version: VersionName | None = None,
) -> tuple[Slot, ...]:
    """Tallies by version over [since, until) unix seconds, cut in steps or whole; by start, then version."""
    raise NotImplementedError


async def exchanges(tx: Transaction, model: ModelName, window_s: int) -> Mapping[VersionName, int]:
    """Exchanges drawn per version in the last `window_s` seconds of database time."""
    raise NotImplementedError


async def history(tx: Transaction, model: ModelName, version: VersionName, since: int, until: int) -> Tally:
    """One version's tally over [since, until)."""
    raise NotImplementedError
