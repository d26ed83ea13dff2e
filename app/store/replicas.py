"""Replicas: who is alive, how far it has counted, what it refuses."""

from dataclasses import dataclass
from datetime import datetime

from app.domain.catalog import ModelName, VersionName
from app.domain.tally import Watermark
from app.store.database import Transaction

SILENT_AFTER_S = 5
"""A boot whose heartbeat is older, by database time, no longer counts."""

SERVING = ("all", "proxy")

Brake = tuple[ModelName, VersionName]


@dataclass(frozen=True, slots=True)
class Replica:
    """One boot of one process as it last reported."""

    boot: str
    role: str
    heartbeat: datetime
    watermark: Watermark
    applied_revision: int
    open_brakes: frozenset[Brake]


async def beat(
    tx: Transaction, boot: str, role: str, watermark: Watermark, applied_revision: int, open_brakes: frozenset[Brake]
) -> None:
    """Report; the heartbeat is database time. A watermark never goes back."""
    raise NotImplementedError


async def live(tx: Transaction) -> tuple[Replica, ...]:
    """All replicas that serve and have reported within SILENT_AFTER_S."""
    raise NotImplementedError


async def watermark(tx: Transaction) -> Watermark | None:
    """The newest second that is final on every live replica, by horizon; None when none lives."""
    raise NotImplementedError


async def open_brakes(tx: Transaction) -> frozenset[Brake]:
    """What any live replica refuses."""
    raise NotImplementedError
