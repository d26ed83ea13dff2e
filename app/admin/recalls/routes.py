"""Recalls: what a version that was turned back had answered, as events and as lists to work through.

Rule: a list is read page by page, each in a transaction of its own, and never held whole; one that breaks
off ends without its last chunk, so that nobody takes a part for all.
"""

import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field, Strict

from app.actions.recalls import call_back_by_order
from app.admin.dependencies import Actor, InMeans, InModel, InRecall, known_model
from app.admin.fields import Instant, Name, OfModel, Reason
from app.admin.pages import Cursor, Limit, after_cursor, cursor_behind
from app.admin.view import View
from app.domain.catalog.models import version_name
from app.queries.recalls import CountedRecall, counted_recall, made_recalls, recalled_answers
from app.queries.stored import Recall, RecalledAnswer, RecallId
from app.web.strict_body import Body
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["recalls"])

COLUMNS = (
    "exchange",
    "request_id",
    "client_key",
    "at",
    "version",
    "status",
    "predictions",
    "scores",
    "slices",
    "labelled",
)
# What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Format(StrEnum):
    """How a list is written."""

    NDJSON = "ndjson"
    CSV = "csv"


_MEDIA = {Format.NDJSON: "application/x-ndjson", Format.CSV: "text/csv; charset=utf-8"}


class RecallBody(Body):
    """Answers to call back."""

    version: Name
    since: Annotated[
        Annotated[Instant, Strict(False)] | None,
        Field(description="RFC 3339; absent: when the version first had a weight."),
    ] = None
    until: Annotated[
        Annotated[Instant, Strict(False)] | None, Field(description="RFC 3339, included; absent: now.")
    ] = None
    reason: Reason


class RecallSummary(View):
    """What is called back, and why; the event that downstream systems poll for."""

    id: str
    model: str
    version: str
    at: datetime
    reason: str
    decision_id: Annotated[str | None, Field(description="The rollback that called back; null: a person did.")]
    since: datetime
    until: Annotated[datetime, Field(description="Included; may lie ahead, for replicas that hear of it late.")]

    @classmethod
    def of_recall(cls, recall: Recall) -> "RecallSummary":
        return cls(
            id=recall.id,
            model=recall.model,
            version=recall.version,
            at=recall.at,
            reason=recall.reason,
            decision_id=recall.decision_id,
            since=_instant(recall.since_s),
            until=_instant(recall.until_s),
        )


class RecallView(View):
    """A recall in figures."""

    recall: RecallSummary
    answered: Annotated[int, Field(description="Exchanges it gave an answer to that was no error, as counted.")]
    failed: Annotated[int, Field(description="Exchanges that ended with an error of it, with an answer or without.")]
    listed: Annotated[int, Field(description="Rows of the list; errors that came as an answer are among them.")]
    arriving: Annotated[bool, Field(description="Whether gateway processes may still add rows; then look again.")]

    @classmethod
    def of_recall(cls, found: CountedRecall) -> "RecallView":
        return cls(
            recall=RecallSummary.of_recall(found.recall),
            answered=found.answered,
            failed=found.failed,
            listed=found.listed,
            arriving=found.arriving,
        )


class RecallPage(View):
    """Recalls, the oldest first; with `next_cursor` one reads on, also after the last one there is."""

    items: list[RecallSummary]
    next_cursor: str | None


@router.post("/models/{model}/recalls", status_code=201, summary="Call back what a version answered")
async def post_recall(model: InModel, body: RecallBody, means: InMeans, who: Actor, response: Response) -> RecallView:
    made = await call_back_by_order(
        means,
        model,
        version_name(body.version, "/version"),
        since=body.since,
        until=body.until,
        actor=who,
        reason=body.reason,
    )
    response.headers["location"] = f"/v1/recalls/{made.id}"
    return RecallView.of_recall(await counted_recall(means, made.id))


@router.get("/recalls", summary="List recalls, the oldest first, to be polled with the last cursor")
async def list_recalls(means: InMeans, model: OfModel = None, limit: Limit = 50, cursor: Cursor = None) -> RecallPage:
    after = after_cursor(cursor)
    found = await made_recalls(
        means,
        model=None if model is None else known_model(model),
        limit=limit,
        after=None if after is None else RecallId(after),
    )
    return RecallPage(
        items=[RecallSummary.of_recall(each) for each in found],
        next_cursor=cursor_behind(found[-1].id) if found else cursor,
    )


@router.get("/recalls/{recall_id}", summary="One recall, and how many answers it lists")
async def read_recall(recall_id: InRecall, means: InMeans) -> RecallView:
    return RecallView.of_recall(await counted_recall(means, recall_id))


@router.get(
    "/recalls/{recall_id}/answers",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One answer a line, by the time of the draw.",
            "content": {media.partition(";")[0]: {"schema": {"type": "string"}} for media in _MEDIA.values()},
        }
    },
    summary="The list: every answer that is kept, as NDJSON or CSV",
)
async def read_answers(
    recall_id: InRecall,
    means: InMeans,
    form: Annotated[Format | None, Query(alias="format", description="Default: as `accept` says, else ndjson.")] = None,
    accept: Annotated[str, Header()] = "",
) -> StreamingResponse:
    chosen = form or (Format.CSV if "text/csv" in accept.lower() else Format.NDJSON)
    found = await recalled_answers(means, recall_id)
    name = f"recall-{found.recall.id}.{chosen}"
    return StreamingResponse(
        _written(found.pages, _WRITERS[chosen]),
        media_type=_MEDIA[chosen],
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


_Writer = Callable[[Sequence[RecalledAnswer]], bytes]


async def _written(pages: AsyncIterator[Sequence[RecalledAnswer]], written: _Writer) -> AsyncIterator[bytes]:
    yield _HEADS.get(written, b"")
    async for page in pages:
        yield written(page)


def _row(answer: RecalledAnswer) -> tuple[object, ...]:
    return (
        answer.exchange,
        answer.request_id,
        answer.client_key,
        _instant(answer.second).isoformat().replace("+00:00", "Z"),
        answer.version,
        answer.status,
        answer.predictions,
        answer.scores,
        answer.slices,
        answer.is_labelled,
    )


def _as_lines(answers: Sequence[RecalledAnswer]) -> bytes:
    return b"".join(orjson.dumps(dict(zip(COLUMNS, _row(each), strict=True))) + b"\n" for each in answers)


def _as_csv(answers: Sequence[RecalledAnswer]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([_cell(value) for value in _row(each)] for each in answers)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """A value as a cell that no spreadsheet computes; what is not plain is JSON."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return orjson.dumps(value).decode()
    return f"'{value}" if value.startswith(_FORMULA) else value


_WRITERS: dict[Format, _Writer] = {Format.NDJSON: _as_lines, Format.CSV: _as_csv}
_HEADS: dict[_Writer, bytes] = {_as_csv: ",".join(COLUMNS).encode() + b"\r\n"}


def _instant(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
