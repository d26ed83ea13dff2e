"""Recalls: which answers of a version are called back, and the rows that list them.

Rule: ids grow with the commits, over all models, so who reads on from the last id has missed none. The
list itself is never stored twice: it is read from `answers`, and ends where those were dropped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, NewType
from uuid import UUID

from sqlalchemy import Row, func, insert, select, text

from app.domain.catalog.models import ModelName, VersionName
from app.errors import UnknownRecall
from app.store.pg import tables
from app.store.pg.codec import uuid_or_none
from app.store.pg.database import Transaction
from app.store.rollouts.decisions import DecisionId

RecallId = NewType("RecallId", str)

_TABLE = tables.recalls


@dataclass(frozen=True, slots=True)
class Recall:
    """What a version answered in some time, to be scored again or withdrawn.

    Attributes:
        id: UUIDv7.
        decision_id: The rollback that called it back; None when a person did.
        reason: The decision's sentence with the person's own words, or these alone.
        since_s, until_s: First and last second of the draws, Unix time. `until_s` may lie ahead, for
            replicas that had not heard of the rollback yet.
        since_generation, until_generation: Weight epochs of the draws, both inclusive; None where any will do.
            What no coin chose is of epoch 0 and always meant.
    """

    id: RecallId
    model: ModelName
    version: VersionName
    decision_id: DecisionId | None
    at: datetime
    reason: str
    since_s: int
    until_s: int
    since_generation: int | None = None
    until_generation: int | None = None


class Counted(NamedTuple):
    """A recall in figures.

    Attributes:
        answered: Exchanges the version gave an answer to that was no error, as tallied, those without a coin too.
        failed: Exchanges that ended with an error of the version: an answer 5xx, or none.
        listed: Rows of the list.
    """

    answered: int
    failed: int
    listed: int


class Place(NamedTuple):
    """Where a list is read on from."""

    second: int
    exchange: str


@dataclass(frozen=True, slots=True)
class RecalledAnswer:
    """One answer of the list; see `observed.AnsweredRow`.

    Attributes:
        is_labelled: Whether feedback has come for it.
    """

    exchange: str
    second: int
    request_id: str
    client_key: str | None
    version: VersionName
    status: int
    predictions: tuple[float | str, ...]
    scores: tuple[float, ...]
    slices: Mapping[str, str]
    is_labelled: bool

    @property
    def place(self) -> Place:
        """Where the next one comes after."""
        return Place(self.second, self.exchange)


# A few words that stand in each of the two questions about one recall.
_MEANT = """
    model = :model AND version = :version AND second BETWEEN :since AND :until
    AND (CAST(:since_generation AS bigint) IS NULL OR generation = 0
         OR generation BETWEEN :since_generation AND :until_generation)
"""

_TALLIED = text(
    f"""
    SELECT coalesce(sum(ok + client_error + excluded), 0)::bigint AS answered,
           coalesce(sum(upstream_error + connect_error + timeout + overloaded), 0)::bigint AS failed
    FROM tallies WHERE {_MEANT}
    """  # noqa: S608 -- joined from this module's own constants
)

_LISTED = text(f"SELECT count(*) FROM answers WHERE {_MEANT}")  # noqa: S608 -- joined from this module's own constants

_PAGE = text(
    f"""
    SELECT exchange, second, request_id, client_key, version, status, predictions, scores, slices,
           EXISTS (SELECT FROM labels WHERE labels.exchange = answers.exchange AND labels.second = answers.second)
           AS is_labelled
    FROM answers WHERE {_MEANT} AND second >= :after_second
      AND (second, exchange) > (:after_second, CAST(:after_exchange AS uuid))
    ORDER BY second, exchange LIMIT :most
    """  # noqa: S608 -- joined from this module's own constants
)

_BEGINNING = Place(-1, str(UUID(int=0)))


async def instant(tx: Transaction) -> datetime:
    """Database time, later than that of every recall that was committed, earlier than that of all to come."""
    # Every change of routing holds this row until its commit, too.
    locked = select(tables.routing.c.revision, func.clock_timestamp()).with_for_update()
    at: datetime = (await tx.execute(locked)).one()[1]
    return at


async def add(tx: Transaction, new: Recall) -> None:
    """Store a recall whose id was made of `instant`."""
    await tx.execute(
        insert(_TABLE).values(
            id=UUID(new.id),
            model=new.model,
            version=new.version,
            decision_id=None if new.decision_id is None else UUID(new.decision_id),
            at=new.at,
            reason=new.reason,
            since_second=new.since_s,
            until_second=new.until_s,
            since_generation=new.since_generation,
            until_generation=new.until_generation,
        )
    )


async def recall(tx: Transaction, recall_id: RecallId) -> Recall:
    """Raises: UnknownRecall."""
    key = uuid_or_none(recall_id)
    row = None if key is None else (await tx.execute(select(_TABLE).where(_TABLE.c.id == key))).one_or_none()
    if row is None:
        raise UnknownRecall(recall_id)
    return _from_row(row)


async def of_decision(tx: Transaction, decision_id: DecisionId) -> Recall | None:
    """What this decision called back, if anything."""
    row = (await tx.execute(select(_TABLE).where(_TABLE.c.decision_id == UUID(decision_id)))).one_or_none()
    return None if row is None else _from_row(row)


async def made(
    tx: Transaction, *, model: ModelName | None = None, limit: int = 50, after: RecallId | None = None
) -> tuple[Recall, ...]:
    """Recalls, the oldest first; `after` continues a list."""
    query = select(_TABLE).order_by(_TABLE.c.id).limit(limit)
    if model is not None:
        query = query.where(_TABLE.c.model == model)
    if after is not None:
        query = query.where(_TABLE.c.id > UUID(after))
    return tuple(map(_from_row, await tx.execute(query)))


async def counted(tx: Transaction, of: Recall) -> Counted:
    """The recall in figures, as far as tallies and answers are kept."""
    tallied = (await tx.execute(_TALLIED, _asked(of))).one()
    listed = (await tx.execute(_LISTED, _asked(of))).scalar_one()
    return Counted(tallied.answered, tallied.failed, listed)


async def answers(tx: Transaction, of: Recall, *, limit: int, after: Place | None = None) -> tuple[RecalledAnswer, ...]:
    """The list, by the second of the draw; `after` continues it."""
    second, exchange = after or _BEGINNING
    asked = {**_asked(of), "after_second": second, "after_exchange": exchange, "most": limit}
    return tuple(map(_answer, await tx.execute(_PAGE, asked)))


def _asked(of: Recall) -> dict[str, Any]:
    return {
        "model": of.model,
        "version": of.version,
        "since": of.since_s,
        "until": of.until_s,
        "since_generation": of.since_generation,
        "until_generation": of.until_generation,
    }


def _answer(row: Row[Any]) -> RecalledAnswer:
    return RecalledAnswer(
        exchange=row.exchange.hex,
        second=row.second,
        request_id=row.request_id,
        client_key=row.client_key,
        version=VersionName(row.version),
        status=row.status,
        predictions=tuple(row.predictions),
        scores=tuple(row.scores),
        slices=row.slices,
        is_labelled=row.is_labelled,
    )


def _from_row(row: Row[Any]) -> Recall:
    return Recall(
        id=RecallId(str(row.id)),
        model=ModelName(row.model),
        version=VersionName(row.version),
        decision_id=None if row.decision_id is None else DecisionId(str(row.decision_id)),
        at=row.at,
        reason=row.reason,
        since_s=row.since_second,
        until_s=row.until_second,
        since_generation=row.since_generation,
        until_generation=row.until_generation,
    )
