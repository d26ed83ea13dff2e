"""What happened: decisions, the audit, who was live when, and counts over time."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BeforeValidator

from app.admin.dependencies import (
    Cursor,
    InDecision,
    InModel,
    InTransaction,
    Limit,
    after_cursor,
    known_model,
    known_version,
    next_cursor,
)
from app.admin.views import AuditView, DecisionView, LiveView, MetricsView, Page, SlotView
from app.domain.evidence.tally import Tally
from app.domain.stats import latency_histogram
from app.errors import InvalidInput
from app.store.evidence import tallies
from app.store.rollouts import audit, decisions
from app.store.rollouts.decisions import DecisionId
from app.store.routing import catalog, routes
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["history"])

STEPS_MAX = 2_000
RANGE_DEFAULT = timedelta(hours=1)
QUANTILES = (0.5, 0.95, 0.99)

# RFC 3339, section 5.6; a bare date or a number of seconds is no instant anybody can agree on.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def _checked_text(value: object) -> object:
    if not isinstance(value, str) or _RFC3339.fullmatch(value) is None:
        raise ValueError("must be a time as RFC 3339 writes it, with an offset")
    return value


def _in_utc(time: datetime) -> datetime:
    if not 1970 <= time.year < 3000:
        raise ValueError("must lie between the years 1970 and 3000")
    return time.astimezone(UTC)


OfModel = Annotated[str | None, Query(max_length=63, description="Only of this model.")]
Instant = Annotated[datetime, BeforeValidator(_checked_text), AfterValidator(_in_utc)]


@router.get("/decisions", summary="List decisions, the newest first")
async def list_decisions(
    tx: InTransaction, model: OfModel = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[DecisionView]:
    before = after_cursor(cursor)
    found = await decisions.made(
        tx,
        model=None if model is None else known_model(model),
        limit=limit,
        before=None if before is None else DecisionId(before),
    )
    return Page(
        items=[DecisionView.of(decision) for decision in found],
        next_cursor=next_cursor([decision.id for decision in found], limit),
    )


@router.get("/decisions/{decision_id}", summary="One decision with its evidence")
async def read_decision(decision_id: InDecision, tx: InTransaction) -> DecisionView:
    return DecisionView.of(await decisions.decision(tx, decision_id))


@router.get("/audit", summary="List changes, the newest first")
async def list_audit(
    tx: InTransaction, model: OfModel = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[AuditView]:
    found = await audit.entries(
        tx, model=None if model is None else known_model(model), limit=limit, before=after_cursor(cursor)
    )
    return Page(
        items=[AuditView.of(entry) for entry in found],
        next_cursor=next_cursor([entry.id for entry in found], limit),
    )


@router.get("/models/{model}/live", summary="Which versions were live at a time, and why")
async def read_live(
    model: InModel, tx: InTransaction, at: Annotated[Instant | None, Query(description="RFC 3339; default now.")] = None
) -> LiveView:
    then = at or (await routes.revision(tx)).at
    generation = await routes.live(tx, model, then)
    if generation is None:
        raise InvalidInput("/query/at", "lies before the model's first version")
    why = await decisions.of_generation(tx, model, generation.generation)
    return LiveView.of(then, generation, why)


@router.get("/models/{model}/metrics", summary="Per-version counts and latencies over a time range")
async def read_metrics(
    model: InModel,
    tx: InTransaction,
    since: Annotated[Instant | None, Query(alias="from", description="RFC 3339; default one hour before `to`.")] = None,
    until: Annotated[Instant | None, Query(alias="to", description="RFC 3339, not included; default now.")] = None,
    step: Annotated[int | None, Query(ge=1, le=86_400, description="Seconds per item; none: one item.")] = None,
    version: Annotated[str | None, Query(max_length=63, description="Only this version.")] = None,
) -> MetricsView:
    end = until or (await routes.revision(tx)).at
    start = since or end - RANGE_DEFAULT
    _check_range(start, end, step)
    await catalog.model(tx, model)
    found = await tallies.slots(
        tx,
        model,
        int(start.timestamp()),
        int(end.timestamp()),
        step=step,
        version=None if version is None else known_version(model, version),
    )
    return MetricsView(
        model=model,
        since=start,
        until=end,
        step_s=step,
        items=[SlotView.of(slot, quantiles_ms(slot.tally)) for slot in found],
    )


def _check_range(start: datetime, end: datetime, step: int | None) -> None:
    if start >= end:
        raise InvalidInput("/query/from", "must lie before `to`")
    if step is not None and (end - start).total_seconds() / step > STEPS_MAX:
        raise InvalidInput("/query/step", f"gives more than {STEPS_MAX} steps over this range")


def quantiles_ms(tally: Tally) -> tuple[float | None, float | None, float | None]:
    """The latencies at QUANTILES; None where nothing was answered."""
    p50, p95, p99 = (_quantile_ms(tally, level) for level in QUANTILES)
    return p50, p95, p99


def _quantile_ms(tally: Tally, level: float) -> float | None:
    found = latency_histogram.quantile_bin(tally.latency_bins, level)
    return None if found is None else round(latency_histogram.edge_us(found + 1) / 1_000, 3)
