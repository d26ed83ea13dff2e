"""Brakes as the audit hears of them: which spells began or ended since it was last told.

Rule: what is claimed here is written to the audit in the same transaction, so each spell of each boot is
told once, however many control processes look.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select, update

from app.domain.catalog import ModelName, VersionName
from app.store import tables
from app.store.database import Transaction
from app.store.replicas import SILENT_AFTER_S, Brake

_TABLE = tables.replicas


@dataclass(frozen=True, slots=True)
class Turn:
    """A replica's brake that opened, or is open no more.

    Attributes:
        boot: Of the replica.
        gone: Whether the replica itself has fallen silent, and its brake ended with it.
    """

    boot: str
    model: ModelName
    version: VersionName
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
        now = set() if row.silent else _brakes(row.open_brakes)
        told = _brakes(row.audited_brakes)
        boot = str(row.boot)
        turns += [Turn(boot, *brake, opened=True, gone=False) for brake in sorted(now - told)]
        turns += [Turn(boot, *brake, opened=False, gone=row.silent) for brake in sorted(told - now)]
        await tx.execute(update(_TABLE).where(_TABLE.c.boot == UUID(boot)).values(audited_brakes=sorted(now)))
    return tuple(turns)


def _brakes(stored: list[list[str]]) -> set[Brake]:
    return {(ModelName(model), VersionName(version)) for model, version in stored}
