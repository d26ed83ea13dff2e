"""The parts of feedback of one process, put together."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.domain.catalog.exchange_id import IdKey
from app.domain.catalog.models import Model, ModelName
from app.domain.catalog.receipt import ReceiptKey
from app.domain.catalog.routing import RoutingTable
from app.feedback.figures import FeedbackFigures
from app.feedback.intake import Intake
from app.feedback.items import Reader
from app.feedback.keys import Sources
from app.feedback.spool import Spool
from app.store.pg.database import Database


@dataclass(frozen=True, slots=True)
class FeedbackDesk:
    """What handlers, loops and telemetry ask for.

    Attributes:
        keys: Of receipts.
    """

    intake: Intake
    figures: FeedbackFigures
    sources: Sources
    keys: tuple[ReceiptKey, ...]


def feedback_desk(
    database: Database,
    state_dir: Path,
    boot: str,
    *,
    keys: tuple[ReceiptKey, ...],
    is_ahead: Callable[[int], bool],
    sources: Sources,
    table: Callable[[], RoutingTable],
    keep_days: int,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
) -> FeedbackDesk:
    """One process' desk.

    Args:
        database: Where labels go.
        state_dir: Where they wait for it.
        boot: A UUID of this process' life.
        keys: Of receipts, and so of exchanges' ids.
        is_ahead: Whether this process has still to give the id of that number.
        sources: Who may give labels.
        table: The routing table in force, which says what models declare.
        keep_days: So long exchanges are kept.
        clock: Unix seconds in database time.
        monotonic: Seconds.
    """

    def declared(name: ModelName) -> Model | None:
        return next((routed.model for routed in table().models if routed.model.name == name), None)

    id_keys = tuple(map(IdKey, keys))

    def is_given(name: str) -> bool:  # ADR 0145
        numbers = (key.opened(name) for key in id_keys)
        return any(number is not None and not is_ahead(number) for number in numbers)

    spool = Spool(state_dir / "feedback", boot, sources=sources.count)
    # Before anything is taken: what comes now stands behind what waited already.
    spool.take_over()
    figures = FeedbackFigures(lambda: spool.labels, lambda name: declared(ModelName(name)) is not None)
    reader = Reader(keys, is_given, declared, keep_days)
    intake = Intake(database, reader, spool, figures, clock=clock, monotonic=monotonic)
    return FeedbackDesk(intake, figures, sources, keys)
