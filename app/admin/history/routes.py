"""The past: decisions, the audit, who was live when, and counts over time."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.admin.dependencies import InDecision, InMeans, InModel, known_model, known_version
from app.admin.fields import Instant, OfModel
from app.admin.history.views import DecisionView, LiveView, MetricsView
from app.admin.pages import Cursor, Limit, Page, after_cursor, next_cursor
from app.queries.history import audit_entries, counts_over_time, live_at, made_decision, made_decisions
from app.queries.stored import DecisionId, Entry
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["history"])


@router.get("/decisions", summary="List decisions, the newest first")
async def list_decisions(
    means: InMeans, model: OfModel = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[DecisionView]:
    before = after_cursor(cursor)
    found = await made_decisions(
        means,
        model=None if model is None else known_model(model),
        limit=limit,
        before=None if before is None else DecisionId(before),
    )
    return Page(
        items=[DecisionView.of_decision(decision) for decision in found],
        next_cursor=next_cursor([decision.id for decision in found], limit),
    )


@router.get("/decisions/{decision_id}", summary="One decision with its evidence")
async def read_decision(decision_id: InDecision, means: InMeans) -> DecisionView:
    return DecisionView.of_decision(await made_decision(means, decision_id))


@router.get("/audit", summary="List changes, the newest first")
async def list_audit(means: InMeans, model: OfModel = None, limit: Limit = 50, cursor: Cursor = None) -> Page[Entry]:
    found = await audit_entries(
        means, model=None if model is None else known_model(model), limit=limit, before=after_cursor(cursor)
    )
    return Page(items=list(found), next_cursor=next_cursor([entry.id for entry in found], limit))


@router.get("/models/{model}/live", summary="Which versions were live at a time, and why")
async def read_live(
    model: InModel, means: InMeans, at: Annotated[Instant | None, Query(description="RFC 3339; default now.")] = None
) -> LiveView:
    return LiveView.of_live(await live_at(means, model, at))


@router.get("/models/{model}/metrics", summary="Per-version counts and latencies over a time range")
async def read_metrics(
    model: InModel,
    means: InMeans,
    since: Annotated[Instant | None, Query(alias="from", description="RFC 3339; default one hour before `to`.")] = None,
    until: Annotated[Instant | None, Query(alias="to", description="RFC 3339, not included; default now.")] = None,
    step: Annotated[int | None, Query(ge=1, le=86_400, description="Seconds per item; none: one item.")] = None,
    version: Annotated[str | None, Query(max_length=63, description="Only this version.")] = None,
) -> MetricsView:
    only = None if version is None else known_version(model, version)
    counts = await counts_over_time(means, model, since=since, until=until, step=step, version=only)
    return MetricsView.of_counts(model, counts, step)
