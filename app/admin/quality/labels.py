"""A model's labels, counted: who gave how many, how much of each version is labelled, and how soon."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.admin.dependencies import InMeans, InModel
from app.admin.view import View
from app.queries.labels import CountedLabels, counted_labels
from app.queries.stored import Covered
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute, tags=["models"])


class CountedView(View):
    """What one source said about one version."""

    metric: str
    source: str
    version: str
    labels: int
    corrections: int


class CoverageView(View):
    """How much of one version is labelled by one metric, and how soon."""

    metric: str
    version: str
    drawn: int = Field(description="Exchanges that a coin gave the version.")
    labelled: int = Field(description="Of those, by any source.")
    coverage: float | None = Field(description="labelled / drawn; null where nothing was drawn.")
    lag_median_s: float = Field(description="From the draw to the first label's arrival.")
    lag_p95_s: float

    @classmethod
    def of_version(cls, covered: Covered) -> "CoverageView":
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


class FeedbackStatsView(View):
    """A model's labels of exchanges drawn since a time."""

    model: str
    since: datetime
    counted: list[CountedView]
    coverage: list[CoverageView]
    waiting: int = Field(description="Labels whose exchange is still to be written.")

    @classmethod
    def of_model(cls, model: str, found: CountedLabels) -> "FeedbackStatsView":
        return cls(
            model=model,
            since=found.since,
            counted=list(map(CountedView.of, found.stats.counted)),
            coverage=list(map(CoverageView.of_version, found.stats.covered)),
            waiting=found.stats.waiting,
        )


@router.get("/{model}/feedback", summary="Count a model's labels")
async def feedback_stats(
    model: InModel,
    means: InMeans,
    hours: Annotated[int, Query(ge=1, le=168, description="Of exchanges drawn in so many hours before now.")] = 24,
) -> FeedbackStatsView:
    return FeedbackStatsView.of_model(model, await counted_labels(means, model, timedelta(hours=hours)))
