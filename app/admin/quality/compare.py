"""Two versions of a model side by side: quality, latency, errors, flaws, cost, offline, and on how much it stands."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.admin.dependencies import InMeans, InModel, known_version
from app.admin.history.views import quantiles_ms
from app.admin.quality.cost import CostWindow, VersionCostView
from app.admin.quality.routes import ValueView
from app.admin.view import View
from app.domain.catalog.models import VersionName
from app.domain.catalog.offline import is_lower_better
from app.domain.evidence.observed import Flaw
from app.errors import InvalidInput
from app.queries.comparison import ComparedQuality, Comparison, VersionFigures, comparison
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute, tags=["quality"])

Pair = Annotated[
    str, Query(max_length=127, description="Two of the model's versions, `a,b`: differences are b minus a.")
]


class ComparedQualityView(View):
    """One metric of both versions, of exchanges whose labels have come."""

    metric: str
    lower_is_better: bool
    first: ValueView
    second: ValueView
    difference: Annotated[float | None, Field(description="Second minus first, over traffic that a coin split.")]
    low: float | None
    high: Annotated[float | None, Field(description="Interval of the difference, at any time with chance 95 %.")]
    why_no_interval: str | None

    @classmethod
    def of_quality(cls, found: ComparedQuality) -> "ComparedQualityView":
        apart = found.difference
        return cls(
            metric=found.metric.name,
            lower_is_better=is_lower_better(found.metric),
            first=ValueView.of(found.first),
            second=ValueView.of(found.second),
            difference=apart.value,
            low=apart.low,
            high=apart.high,
            why_no_interval=apart.why,
        )


class VersionFiguresView(View):
    """One version's own figures."""

    version: str
    exchanges: int
    judged: Annotated[int, Field(description="Ended exchanges that say something about the version.")]
    errors: int
    timeouts: int
    error_rate: Annotated[float | None, Field(description="Errors and timeouts of judged.")]
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    latency_ms_p99: float | None
    read: Annotated[int, Field(description="Answers that were looked at for flaws.")]
    flawed: int
    flaws: dict[Flaw, int]
    cost: VersionCostView
    offline: dict[str, float]

    @classmethod
    def of_figures(cls, found: VersionFigures) -> "VersionFiguresView":
        version, tally, observed = found.version, found.tally, found.observed
        p50, p95, p99 = quantiles_ms(tally)
        bad = tally.errors + tally.timeouts
        return cls(
            version=version.name,
            exchanges=tally.exchanges,
            judged=tally.judged,
            errors=tally.errors,
            timeouts=tally.timeouts,
            error_rate=bad / tally.judged if tally.judged else None,
            latency_ms_p50=p50,
            latency_ms_p95=p95,
            latency_ms_p99=p99,
            read=observed.read,
            flawed=observed.flawed,
            flaws=dict(observed.flaws),
            cost=VersionCostView.of(found.cost),
            offline=dict(version.credentials.offline),
        )


class ComparisonView(View):
    """Two versions side by side."""

    model: str
    since: datetime
    until: datetime
    concurrent: Annotated[bool, Field(description="Whether a coin chose between the two in this time.")]
    first: VersionFiguresView
    second: VersionFiguresView
    quality: list[ComparedQualityView]
    offline_difference: Annotated[dict[str, float], Field(description="Second minus first.")]

    @classmethod
    def of_comparison(cls, model: str, found: Comparison) -> "ComparisonView":
        return cls(
            model=model,
            since=found.since,
            until=found.until,
            concurrent=found.concurrent,
            first=VersionFiguresView.of_figures(found.first),
            second=VersionFiguresView.of_figures(found.second),
            quality=[ComparedQualityView.of_quality(each) for each in found.quality],
            offline_difference=dict(found.offline_difference),
        )


@router.get("/{model}/compare", summary="Two versions side by side")
async def read_comparison(
    model: InModel, means: InMeans, versions: Pair, window_s: CostWindow = 86_400
) -> ComparisonView:
    return ComparisonView.of_comparison(model, await comparison(means, model, _pair(model, versions), window_s))


def _pair(model: str, versions: str) -> tuple[VersionName, VersionName]:
    names = versions.split(",")
    if len(names) != 2 or names[0] == names[1]:
        raise InvalidInput("/query/versions", "must name two different versions, such as `v1,v2`")
    return known_version(model, names[0]), known_version(model, names[1])
