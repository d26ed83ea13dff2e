"""How good each version's answers were, by the labels that came back: values, slices, classes, calibration."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from app.admin.dependencies import InModel, InTransaction
from app.admin.models.declarations import QualityMetricView
from app.domain.catalog.declarations import QualityMetric
from app.domain.catalog.models import Version, VersionName
from app.domain.catalog.offline import is_lower_better, looks_leaked
from app.domain.reports.quality import Figures, Value, figures_of
from app.errors import InvalidInput
from app.queries.quality import Appraisal, appraised, drawn_of, figures_by_version, rows_of
from app.store.labels.quality import Told
from app.store.routing import catalog, routes
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute, tags=["quality"])

WINDOW_MAX_S = 90 * 86_400

Window = Annotated[int, Query(ge=1, le=WINDOW_MAX_S, description="Seconds of traffic whose labels have come.")]
OneMetric = Annotated[str | None, Query(max_length=63, description="Only this declared metric.")]


class ValueView(BaseModel):
    """A value in the metric's own unit, and an interval that holds at any time with chance 95 %."""

    scored: Annotated[int, Field(description="Exchanges it is made of.")]
    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: Value) -> "ValueView":
        return cls(**asdict(value))


class ConfusedView(BaseModel):
    """How many predictions said the one when the label says the other."""

    label: str
    predicted: str
    predictions: int


class ReliabilityView(BaseModel):
    """One tenth of the scale of probabilities."""

    n: int
    mean_chance: float
    share_positive: float


class MaturedView(BaseModel):
    """Exchanges whose labels have come, as far as they will."""

    drawn: int
    labelled: Annotated[int, Field(description="With a label that came within the horizon.")]
    coverage: Annotated[float | None, Field(description="Labelled of drawn.")]
    overall: ValueView
    slices: Annotated[dict[str, dict[str, ValueView]], Field(description="Slice key to value to figures.")]
    confusion: Annotated[list[ConfusedView], Field(description="Empty beyond 50 classes.")]
    reliability: list[ReliabilityView]
    calibration_error: float | None

    @classmethod
    def of(cls, figures: Figures, drawn: int) -> "MaturedView":
        return cls(
            drawn=drawn,
            labelled=figures.labelled,
            coverage=figures.labelled / drawn if drawn else None,
            overall=ValueView.of(figures.overall),
            slices={
                key: {value: ValueView.of(part) for value, part in parts.items()}
                for key, parts in figures.slices.items()
            },
            confusion=[
                ConfusedView(label=label, predicted=predicted, predictions=count)
                for (label, predicted), count in sorted(figures.confusion.items())
            ],
            reliability=[ReliabilityView(**asdict(each)) for each in figures.reliability],
            calibration_error=figures.calibration_error,
        )


class RipeningView(BaseModel):
    """Exchanges whose labels still come: who is labelled early need not be like the rest, so no interval."""

    drawn: int
    labelled: int
    value: float | None


class DisputeView(BaseModel):
    """Two sources that labelled the same answers, and not always alike."""

    source: str
    other: str
    answers: Annotated[int, Field(description="Those that both labelled.")]
    disagreed: Annotated[int, Field(description="Of those: differently.")]


class ToldView(BaseModel):
    """What came back about a version's answers, in time or not."""

    labelled: int
    by_several: Annotated[int, Field(description="Exchanges that more than one source labelled.")]
    disagreed: Annotated[int, Field(description="Of those: differently; 1, 1.0 and true are the same.")]
    late: Annotated[int, Field(description="Labelled only after the horizon; compared with nothing.")]
    lag_s_p50: float
    lag_s_p95: float
    disputes: Annotated[list[DisputeView], Field(description="Who disagreed with whom, the most often first.")]

    @classmethod
    def of(cls, told: Told) -> "ToldView":
        return cls(**asdict(told))


class VersionQualityView(BaseModel):
    """One version by one metric; what nobody labelled is null."""

    version: str
    matured: MaturedView
    ripening: RipeningView
    told: ToldView | None
    offline: Annotated[float | None, Field(description="What it was registered with under the metric's name.")]
    possible_leakage_or_skew: Annotated[
        bool,
        Field(description="The whole interval lies more than a tenth of the metric's range worse than offline."),
    ]


class MetricQualityView(BaseModel):
    """All versions by one metric."""

    metric: QualityMetricView
    lower_is_better: Annotated[bool, Field(description="Of the values shown.")]
    since: Annotated[datetime, Field(description="Labels of exchanges drawn before are not in these figures.")]
    through: Annotated[datetime, Field(description="Exchanges drawn until then are old enough.")]
    versions: list[VersionQualityView]


class QualityView(BaseModel):
    """How good each version's answers were."""

    model: str
    at: datetime
    window_s: int
    metrics: list[MetricQualityView]


@router.get("/{model}/quality", summary="Each version's quality by the labels that came back")
async def read_quality(
    model: InModel, tx: InTransaction, window_s: Window = 86_400, metric: OneMetric = None
) -> QualityView:
    known, versions = await catalog.model(tx, model), await catalog.versions(tx, model)
    at = (await routes.revision(tx)).at
    names = tuple(version.name for version in versions)
    views = []
    for each in declared_metrics(known.feedback.metrics if known.feedback else (), metric):
        found = await appraised(tx, known, each, names, int(at.timestamp()), window_s)
        # Thousands of labels take a while; others' requests must not wait for it.
        figures = await asyncio.to_thread(figures_by_version, found, known, names)
        views.append(_metric_view(found, versions, figures))
    return QualityView(model=model, at=at, window_s=window_s, metrics=views)


def declared_metrics(declared: tuple[QualityMetric, ...], only: str | None) -> tuple[QualityMetric, ...]:
    """All, or the one that is asked for. Raises: InvalidInput."""
    chosen = tuple(each for each in declared if only is None or each.name == only)
    if only is not None and not chosen:
        raise InvalidInput("/query/metric", "is no metric that the model declares")
    return chosen


def _metric_view(
    found: Appraisal, versions: tuple[Version, ...], figures: Mapping[VersionName, Figures]
) -> MetricQualityView:
    return MetricQualityView(
        metric=QualityMetricView.model_validate(asdict(found.metric)),
        lower_is_better=is_lower_better(found.metric),
        since=datetime.fromtimestamp(found.after + 1, UTC),
        through=datetime.fromtimestamp(found.through, UTC),
        versions=[
            view
            for version in versions
            if (view := _version_view(found, version, figures[version.name])).told is not None
            or view.matured.drawn
            or view.offline is not None
        ],
    )


def _version_view(found: Appraisal, version: Version, figures: Figures) -> VersionQualityView:
    metric, offline, told = found.metric, offline_of(found.metric, version), found.told.get(version.name)
    early = figures_of(metric, rows_of(found.ripening, version.name))
    return VersionQualityView(
        version=version.name,
        matured=MaturedView.of(figures, drawn_of(found.matured, version.name)),
        ripening=RipeningView(
            drawn=drawn_of(found.ripening, version.name), labelled=early.labelled, value=early.overall.value
        ),
        told=None if told is None else ToldView.of(told),
        offline=offline,
        possible_leakage_or_skew=_is_suspicious(metric, offline, figures.overall),
    )


def offline_of(metric: QualityMetric, version: Version) -> float | None:
    """The offline value of the same name."""
    return version.credentials.offline.get(metric.name)


def _is_suspicious(metric: QualityMetric, offline: float | None, online: Value) -> bool:
    if offline is None or online.low is None or online.high is None:
        return False
    return looks_leaked(metric, offline, online.low, online.high)
