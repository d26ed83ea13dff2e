"""A model's labels, counted: who gave how many, how much of each version is labelled, and how soon."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app.admin.dependencies import InModel, InTransaction
from app.store.labels import labels
from app.store.labels.labels import Counted, Covered, Stats
from app.store.routing import catalog, routes
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute, tags=["models"])


class CountedView(BaseModel):
    """What one source said about one version."""

    metric: str
    source: str
    version: str
    labels: int
    corrections: int

    @classmethod
    def of(cls, counted: Counted) -> "CountedView":
        return cls(**counted._asdict())


class CoverageView(BaseModel):
    """How much of one version is labelled by one metric, and how soon."""

    metric: str
    version: str
    drawn: int = Field(description="Exchanges that a coin gave the version.")
    labelled: int = Field(description="Of those, by any source.")
    coverage: float | None = Field(description="labelled / drawn; null where nothing was drawn.")
    lag_median_s: float = Field(description="From the draw to the first label's arrival.")
    lag_p95_s: float

    @classmethod
    def of(cls, covered: Covered) -> "CoverageView":
        return cls(
            metric=covered.metric,
            version=covered.version,
            drawn=covered.drawn,
            labelled=covered.labelled,
            # A process that died may have written labels' exchanges before it counted them.
            coverage=min(1.0, covered.labelled / covered.drawn) if covered.drawn else None,
            lag_median_s=covered.median_s,
            lag_p95_s=covered.p95_s,
        )


class FeedbackStatsView(BaseModel):
    """A model's labels of exchanges drawn since a time."""

    model: str
    since: datetime
    counted: list[CountedView]
    coverage: list[CoverageView]
    waiting: int = Field(description="Labels whose exchange is still to be written.")

    @classmethod
    def of(cls, model: str, since: datetime, stats: Stats) -> "FeedbackStatsView":
        return cls(
            model=model,
            since=since,
            counted=list(map(CountedView.of, stats.counted)),
            coverage=list(map(CoverageView.of, stats.covered)),
            waiting=stats.waiting,
        )


@router.get("/{model}/feedback", summary="Count a model's labels")
async def feedback_stats(
    model: InModel,
    tx: InTransaction,
    hours: Annotated[int, Query(ge=1, le=168, description="Of exchanges drawn in so many hours before now.")] = 24,
) -> FeedbackStatsView:
    await catalog.model(tx, model)
    since = ((await routes.revision(tx)).at - timedelta(hours=hours)).astimezone(UTC)
    return FeedbackStatsView.of(model, since, await labels.stats(tx, model, int(since.timestamp())))
