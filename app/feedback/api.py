"""Feedback's own paths on the inference port.

Rule: a batch is answered only when what was good in it is kept, and what was not says why, item by item.
"""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from app.domain.catalog.receipt import Forged, opened
from app.domain.evidence.labels import Result, Settled
from app.errors import InvalidInput
from app.feedback.bodies import ITEMS_MAX, read_items
from app.feedback.desk import FeedbackDesk
from app.feedback.intake import Taken
from app.feedback.items import FIELDS
from app.web import problems

# What is not said of every item unless it is asked for.
_USUAL = frozenset({Result.JOINED, Result.PENDING})


class ItemView(BaseModel):
    """What became of one item."""

    index: int = Field(description="Its place in the batch, from 0.")
    result: Result
    revision: int | None = Field(None, description="Which revision it is, or the newest there is.")
    reason: str | None = Field(None, description="Why it counts nothing.")


class TakenView(BaseModel):
    """What became of a batch."""

    joined: int
    pending: int = Field(description="Accepted; their exchanges are still to be written.")
    duplicate: int
    orphan: int
    unknown: int = Field(description="Without a key, and by a name that the gateway gave no exchange.")
    invalid: int
    accepted: str = Field(description="`stored`, or `spooled`: on the gateway's disk until Postgres is back.")
    items: list[ItemView] = Field(description="All that is neither joined nor pending; all with `verbose=true`.")


class LabelView(BaseModel):
    """One revision of one source's label."""

    metric: str
    source: str
    revision: int
    label: Any = Field(description="As it was sent.")
    observed_at: str | None
    received_at: str


class ExchangeLabelsView(BaseModel):
    """What is known of one exchange."""

    model: str
    version: str
    labels: list[LabelView]


_ITEM = {
    "type": "object",
    "additionalProperties": False,
    "properties": {name: {} for name in sorted(FIELDS)},
    "description": "A receipt, or a model and a request_id or client_key; a label or a value.",
}
_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"oneOf": [_ITEM, {"type": "array", "items": _ITEM, "maxItems": ITEMS_MAX}]}},
        "application/x-ndjson": {"schema": {"type": "string", "description": "One item on each line."}},
    },
}


def desk(request: Request) -> FeedbackDesk:
    held = request.app.state.feedback
    if not isinstance(held, FeedbackDesk):
        raise TypeError("the inference application was made without its feedback desk")
    return held


InDesk = Annotated[FeedbackDesk, Depends(desk)]


def source(request: Request, at: InDesk) -> str:
    """Who gives labels. Raises: HTTPException: nobody who may."""
    found = at.sources.of(request.headers.get("authorization"))
    if found is None:
        raise HTTPException(401, "feedback needs the bearer token of a source", {"www-authenticate": "Bearer"})
    return found


InSource = Annotated[str, Depends(source)]

router = APIRouter(
    prefix="/turnback/v1",
    tags=["feedback"],
    responses={status: problems.RESPONSES[status] for status in (400, 401, 422, 503)},
)


@router.post(
    "/feedback",
    summary="Bring back labels",
    status_code=202,
    response_model=TakenView,
    openapi_extra={"requestBody": _BODY},
    responses={status: problems.RESPONSES[status] for status in (413, 415)},
)
async def give_feedback(
    request: Request,
    at: InDesk,
    of: InSource,
    *,
    verbose: Annotated[bool, Query(description="Say what became of every item.")] = False,
) -> Response:
    """One item, a list of up to 10,000, or as many lines."""
    items = await read_items(request)
    if not items:
        raise InvalidInput("", "the body holds no item")
    taken = await at.intake.take(items, of)
    return Response(orjson.dumps(_view(taken, verbose=verbose)), 202, media_type="application/json")


@router.get("/feedback/{receipt}", summary="What is known of one exchange's labels")
async def feedback_of_exchange(receipt: str, at: InDesk, of: InSource) -> ExchangeLabelsView:
    """All revisions of the source that asks, and of those without a key; another source's need its key."""
    try:
        about = opened(receipt, at.keys)
    except Forged:
        raise InvalidInput("/path/receipt", "this is no receipt of this gateway") from None
    found = await at.intake.of_exchange(about, of)
    return ExchangeLabelsView(
        model=about.model,
        version=about.version,
        labels=[
            LabelView(
                metric=each.metric,
                source=each.source,
                revision=each.revision,
                label=each.label,
                observed_at=None if each.observed_at is None else each.observed_at.isoformat(),
                received_at=each.received_at.isoformat(),
            )
            for each in found
        ],
    )


def _view(taken: Taken, *, verbose: bool) -> dict[str, object]:
    counted = dict.fromkeys(Result, 0)
    for verdict in taken.items:
        counted[verdict.result] += 1
    return {
        **{result.value: count for result, count in counted.items()},
        "accepted": "spooled" if taken.spooled else "stored",
        "items": [
            _item(index, verdict)
            for index, verdict in enumerate(taken.items)
            if verbose or verdict.result not in _USUAL
        ],
    }


def _item(index: int, verdict: Settled) -> dict[str, object]:
    told: dict[str, object] = {"index": index, "result": verdict.result.value}
    if verdict.revision is not None:
        told["revision"] = verdict.revision
    if verdict.reason is not None:
        told["reason"] = verdict.reason
    return told
