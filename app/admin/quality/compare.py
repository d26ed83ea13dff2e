"""Two versions of a model side by side: quality, latency, errors, flaws, cost, offline, and on how much it stands."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app.admin.dependencies import InModel, InTransaction, known_version
from app.admin.history.routes import quantiles_ms
from app.admin.quality.cost import Bill, CostWindow, VersionCostView, bill, cost_of
from app.admin.quality.routes import ValueView
from app.domain.catalog.models import Model, Version, VersionName
from app.domain.catalog.offline import compared, is_lower_better
from app.domain.evidence.observed import Flaw, Observed
from app.domain.evidence.tally import Tally
from app.domain.reports.quality import Difference, difference
from app.errors import InvalidInput
from app.queries.quality import Appraisal, appraised, figures_by_version
from app.store.labels import quality
from app.store.routing import catalog, routes
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute, tags=["quality"])

Pair = Annotated[
    str, Query(max_length=127, description="Two of the model's versions, `a,b`: differences are b minus a.")
]


class ComparedQualityView(BaseModel):
    """One metric of both versions, of exchanges whose labels have come."""

    metric: str
    lower_is_better: bool
    first: ValueView
    second: ValueView
    difference: Annotated[float | None, Field(description="Second minus first, over traffic that a coin split.")]
    low: float | None
    high: Annotated[float | None, Field(description="Interval of the difference, at any time with chance 95 %.")]
    why_no_interval: str | None


class VersionFiguresView(BaseModel):
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


class ComparisonView(BaseModel):
    """Two versions side by side."""

    model: str
    since: datetime
    until: datetime
    concurrent: Annotated[bool, Field(description="Whether a coin chose between the two in this time.")]
    first: VersionFiguresView
    second: VersionFiguresView
    quality: list[ComparedQualityView]
    offline_difference: Annotated[dict[str, float], Field(description="Second minus first.")]


@dataclass(frozen=True, slots=True)
class _Compared:
    """Both versions and the weights of generations in which a coin chose between them."""

    first: Version
    second: Version
    weights_bp: dict[int, dict[VersionName, int]]

    @property
    def names(self) -> tuple[VersionName, VersionName]:
        return self.first.name, self.second.name


@router.get("/{model}/compare", summary="Two versions side by side")
async def read_comparison(
    model: InModel, tx: InTransaction, versions: Pair, window_s: CostWindow = 86_400
) -> ComparisonView:
    known = await catalog.model(tx, model)
    first, second = [await catalog.version(tx, model, name) for name in _pair(model, versions)]
    until = int((await routes.revision(tx)).at.timestamp())
    seen = await bill(tx, model, until, window_s)
    metrics = known.feedback.metrics if known.feedback else ()
    found = [await appraised(tx, known, each, (first.name, second.name), until, window_s) for each in metrics]
    # Matured seconds lie before the window where the horizon is long.
    since = min([until - window_s, *(each.after for each in found)])
    together = await quality.together(tx, model, (first.name, second.name), since, until)
    both = _Compared(first, second, {generation: dict(weights) for generation, weights in together.items()})
    return ComparisonView(
        model=model,
        since=datetime.fromtimestamp(until - window_s, UTC),
        until=datetime.fromtimestamp(until, UTC),
        concurrent=bool(both.weights_bp),
        first=_figures(first, seen),
        second=_figures(second, seen),
        quality=[await asyncio.to_thread(_quality, each, known, both) for each in found],
        offline_difference=dict(compared(second.credentials.offline, first.credentials.offline)),
    )


def _pair(model: str, versions: str) -> tuple[VersionName, VersionName]:
    names = versions.split(",")
    if len(names) != 2 or names[0] == names[1]:
        raise InvalidInput("/query/versions", "must name two different versions, such as `v1,v2`")
    return known_version(model, names[0]), known_version(model, names[1])


def _figures(version: Version, seen: Bill) -> VersionFiguresView:
    tally, observed = seen.tallies.get(version.name, Tally()), seen.observed.get(version.name, Observed())
    p50, p95, p99 = quantiles_ms(tally)
    bad = tally.errors + tally.timeouts
    return VersionFiguresView(
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
        cost=cost_of(version, seen),
        offline=dict(version.credentials.offline),
    )


def _quality(found: Appraisal, model: Model, both: _Compared) -> ComparedQualityView:
    figures = figures_by_version(found, model, both.names)
    apart: Difference = difference(found.metric, found.matured.rows, *both.names, both.weights_bp)
    return ComparedQualityView(
        metric=found.metric.name,
        lower_is_better=is_lower_better(found.metric),
        first=ValueView.of(figures[both.first.name].overall),
        second=ValueView.of(figures[both.second.name].overall),
        difference=apart.value,
        low=apart.low,
        high=apart.high,
        why_no_interval=apart.why,
    )
