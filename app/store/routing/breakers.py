"""Brakes as the audit hears of them: which spells began or ended since it was last told.

Rule: what is claimed here is written to the audit in the same transaction, so each spell of each boot is
told once, however many control processes look.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select, update

from app.domain.catalog.models import ModelName, VersionName
from app.store.pg import tables
from app.store.pg.database import Transaction
from app.store.routing.replicas import SILENT_AFTER_S, Brake, brakes_from_json

_TABLE = tables.replicas


@dataclass(frozen=True, slots=True)
class Turn:
    """A replica's brake that opened, or is open no more.

    Attributes:
        boot: Of the replica.
        cause: Why it opened.
        gone: Whether the replica itself has fallen silent, and its brake ended with it.
    """

    boot: str
    model: ModelName
    version: VersionName
    cause: str
    opened: bool
    gone: bool


async def claim_turns(tx: Transaction) -> tuple[Turn, ...]:
    """What the audit does not know yet, by boot; from now on it is taken as told. A silent boot holds no brake."""
    silent = _TABLE.c.heartbeat <= func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, SILENT_AFTER_S)
    untold = select(_TABLE.c.boot, _TABLE.c.open_brakes, _TABLE.c.audited_brakes, silent.label("silent")).where(
        (~silent & (_TABLE.c.open_brakes != _TABLE.c.audited_brakes)) | (silent & (_TABLE.c.audited_brakes != [])),
    )
    turns: list[Turn] = []
    for row in await tx.execute(untold.order_by(_TABLE.c.boot).with_for_update(skip_locked=True)):
        now = {} if row.silent else _by_version(row.open_brakes)
        told = _by_version(row.audited_brakes)
        boot = str(row.boot)
        turns += [Turn(boot, *now[key], opened=True, gone=False) for key in sorted(now.keys() - told)]
        turns += [Turn(boot, *told[key], opened=False, gone=row.silent) for key in sorted(told.keys() - now)]
        kept = sorted(now.values())
        await tx.execute(update(_TABLE).where(_TABLE.c.boot == UUID(boot)).values(audited_brakes=kept))
    return tuple(turns)


def _by_version(stored: list[list[str]]) -> dict[tuple[ModelName, VersionName], Brake]:
    return {(brake.model, brake.version): brake for brake in brakes_from_json(stored)}
