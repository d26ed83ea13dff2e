"""How good each version's answers were, by the labels that came back: values, slices, classes, calibration."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.admin.dependencies import InMeans, InModel
from app.admin.view import View
from app.domain.catalog.declarations import QualityMetric
from app.domain.catalog.offline import is_lower_better
from app.domain.evidence.loss import Reliability
from app.domain.reports.quality import Figures
from app.queries.quality import MetricQuality, VersionQuality, model_quality
from app.web.strict_route import StrictRoute

router = APIRouter(prefix="/v1/models", route_class=StrictRoute, tags=["quality"])

WINDOW_MAX_S = 90 * 86_400

Window = Annotated[int, Query(ge=1, le=WINDOW_MAX_S, description="Seconds of traffic whose labels have come.")]
OneMetric = Annotated[str | None, Query(max_length=63, description="Only this declared metric.")]


class ValueView(View):
    """A value in the metric's own unit, and an interval that holds at any time with chance 95 %."""

    scored: Annotated[int, Field(description="Exchanges it is made of.")]
    value: float | None
    low: float | None
    high: float | None


class ConfusedView(View):
    """How many predictions said the one when the label says the other."""

    label: str
    predicted: str
    predictions: int


class MaturedView(View):
    """Exchanges whose labels have come, as far as they will."""

    drawn: int
    labelled: Annotated[int, Field(description="With a label that came within the horizon.")]
    coverage: Annotated[float | None, Field(description="Labelled of drawn.")]
    overall: ValueView
    slices: Annotated[dict[str, dict[str, ValueView]], Field(description="Slice key to value to figures.")]
    confusion: Annotated[list[ConfusedView], Field(description="Empty beyond 50 classes.")]
    reliability: tuple[Reliability, ...]
    calibration_error: float | None

    @classmethod
    def of_figures(cls, figures: Figures, drawn: int) -> "MaturedView":
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
            reliability=figures.reliability,
            calibration_error=figures.calibration_error,
        )


class RipeningView(View):
    """Exchanges whose labels still come: who is labelled early need not be like the rest, so no interval."""

    drawn: int
    labelled: int
    value: float | None


class DisputeView(View):
    """Two sources that labelled the same answers, and not always alike."""

    source: str
    other: str
    answers: Annotated[int, Field(description="Those that both labelled.")]
    disagreed: Annotated[int, Field(description="Of those: differently.")]


class ToldView(View):
    """What came back about a version's answers, in time or not."""

    labelled: int
    by_several: Annotated[int, Field(description="Exchanges that more than one source labelled.")]
    disagreed: Annotated[int, Field(description="Of those: differently; 1, 1.0 and true are the same.")]
    late: Annotated[int, Field(description="Labelled only after the horizon; compared with nothing.")]
    lag_s_p50: float
    lag_s_p95: float
    disputes: Annotated[list[DisputeView], Field(description="Who disagreed with whom, the most often first.")]


class VersionQualityView(View):
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

    @classmethod
    def of_version(cls, found: VersionQuality) -> "VersionQualityView":
        early = found.ripening
        return cls(
            version=found.version,
            matured=MaturedView.of_figures(found.figures, found.drawn),
            ripening=RipeningView(drawn=found.ripening_drawn, labelled=early.labelled, value=early.overall.value),
            told=None if found.told is None else ToldView.of(found.told),
            offline=found.offline,
            possible_leakage_or_skew=found.looks_leaked,
        )


class MetricQualityView(View):
    """All versions by one metric."""

    metric: QualityMetric
    lower_is_better: Annotated[bool, Field(description="Of the values shown.")]
    since: Annotated[datetime, Field(description="Labels of exchanges drawn before are not in these figures.")]
    through: Annotated[datetime, Field(description="Exchanges drawn until then are old enough.")]
    versions: list[VersionQualityView]

    @classmethod
    def of_metric(cls, found: MetricQuality) -> "MetricQualityView":
        return cls(
            metric=found.metric,
            lower_is_better=is_lower_better(found.metric),
            since=datetime.fromtimestamp(found.after + 1, UTC),
            through=datetime.fromtimestamp(found.through, UTC),
            versions=[VersionQualityView.of_version(each) for each in found.versions],
        )


class QualityView(View):
    """How good each version's answers were."""

    model: str
    at: datetime
    window_s: int
    metrics: list[MetricQualityView]


@router.get("/{model}/quality", summary="Each version's quality by the labels that came back")
async def read_quality(
    model: InModel, means: InMeans, window_s: Window = 86_400, metric: OneMetric = None
) -> QualityView:
    found = await model_quality(means, model, window_s, metric)
    metrics = [MetricQualityView.of_metric(each) for each in found.metrics]
    return QualityView(model=model, at=found.at, window_s=window_s, metrics=metrics)
