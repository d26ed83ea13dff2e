"""What labels say of a model's versions, read to be shown: matured seconds, and those whose labels still come.

Rule: the window lies before the last matured second, so that a long horizon never leaves it empty.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from app.actions.context import Means
from app.domain.catalog.declarations import QualityMetric
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.offline import looks_leaked
from app.domain.evidence.absorb_cohort import Matured
from app.domain.evidence.cohort import GRACE_S
from app.domain.evidence.loss import Labelled
from app.domain.reports.quality import Figures, Value, figures_of
from app.errors import InvalidInput
from app.store.evidence import cohorts
from app.store.labels import quality
from app.store.pg.database import Transaction
from app.store.routing import catalog, routes


@dataclass(frozen=True, slots=True)
class Appraisal:
    """One metric of all versions.

    Attributes:
        after: Matured seconds are those in (after, through].
        ripening: Of the seconds after `through`, whose labels still come.
        told: What came back about all of them, in time or not.
    """

    metric: QualityMetric
    after: int
    through: int
    matured: Matured
    ripening: Matured
    told: Mapping[VersionName, quality.Told]


@dataclass(frozen=True, slots=True)
class VersionQuality:
    """One version by one metric.

    Attributes:
        drawn, figures: Of exchanges whose labels have come, as far as they will.
        ripening_drawn, ripening: Of those whose labels still come.
        offline: What the version was registered with under the metric's name.
        looks_leaked: The whole interval is much worse than that.
    """

    version: VersionName
    drawn: int
    figures: Figures
    ripening_drawn: int
    ripening: Figures
    told: quality.Told | None
    offline: float | None
    looks_leaked: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return self.told is None and not self.drawn and self.offline is None


@dataclass(frozen=True, slots=True)
class MetricQuality:
    """All versions by one metric, of matured seconds in (after, through]."""

    metric: QualityMetric
    after: int
    through: int
    versions: tuple[VersionQuality, ...]


@dataclass(frozen=True, slots=True)
class ModelQuality:
    """How good each version's answers were, by each metric."""

    at: datetime
    metrics: tuple[MetricQuality, ...]


async def model_quality(means: Means, model: ModelName, window_s: int, only: str | None = None) -> ModelQuality:
    """What labels say of all versions, by every declared metric or the one that is asked for.

    Raises: UnknownModel, InvalidInput: no such metric is declared.
    """
    async with means.database.transaction() as tx:
        known, versions = await catalog.model(tx, model), await catalog.versions(tx, model)
        at = (await routes.revision(tx)).at
        names = tuple(version.name for version in versions)
        chosen = _declared(known.feedback.metrics if known.feedback else (), only)
        found = [await appraised(tx, known, each, names, int(at.timestamp()), window_s) for each in chosen]
    # Thousands of labels take a while; others' requests must not wait for it.
    metrics = [await asyncio.to_thread(_by_version, each, known, versions) for each in found]
    return ModelQuality(at, tuple(metrics))


def _declared(declared: tuple[QualityMetric, ...], only: str | None) -> tuple[QualityMetric, ...]:
    chosen = tuple(each for each in declared if only is None or each.name == only)
    if only is not None and not chosen:
        raise InvalidInput("/query/metric", "is no metric that the model declares")
    return chosen


def _by_version(found: Appraisal, model: Model, versions: tuple[Version, ...]) -> MetricQuality:
    figures = figures_by_version(found, model, tuple(version.name for version in versions))
    shown = (_version_quality(found, version, figures[version.name]) for version in versions)
    return MetricQuality(found.metric, found.after, found.through, tuple(each for each in shown if not each.is_empty))


def _version_quality(found: Appraisal, version: Version, figures: Figures) -> VersionQuality:
    name, offline = version.name, version.credentials.offline.get(found.metric.name)
    return VersionQuality(
        name,
        drawn_of(found.matured, name),
        figures,
        drawn_of(found.ripening, name),
        figures_of(found.metric, rows_of(found.ripening, name)),
        found.told.get(name),
        offline,
        _is_suspicious(found.metric, offline, figures.overall),
    )


def _is_suspicious(metric: QualityMetric, offline: float | None, online: Value) -> bool:
    if offline is None or online.low is None or online.high is None:
        return False
    return looks_leaked(metric, offline, online.low, online.high)


# ADR 0112
async def appraised(
    tx: Transaction, model: Model, metric: QualityMetric, versions: tuple[VersionName, ...], now: int, window_s: int
) -> Appraisal:
    """What the labels of this metric say, of at most `quality.LABELS_MAX` matured labels and as many others.

    Args:
        tx: Where to read.
        model: Whose.
        metric: One that it declares.
        versions: Which of its versions.
        now: Unix second.
        window_s: Of matured seconds.
    """
    through = now - ceil(metric.horizon_s) - GRACE_S
    after = await quality.read_from(tx, model.name, metric, through - window_s, through)
    ripening_after = await quality.read_from(tx, model.name, metric, through, now)
    return Appraisal(
        metric,
        after,
        through,
        await cohorts.matured(tx, model.name, metric, versions, after, through),
        await cohorts.matured(tx, model.name, metric, versions, ripening_after, now),
        await quality.told(tx, model.name, metric, after, now),
    )


def drawn_of(matured: Matured, version: VersionName) -> int:
    """The version's exchanges, labelled or not."""
    return sum(count for (_, name), count in matured.drawn.items() if name == version)


def rows_of(matured: Matured, version: VersionName) -> list[Labelled]:
    """The version's labelled exchanges."""
    return [row for row in matured.rows if row.version == version]


def figures_by_version(
    appraisal: Appraisal, model: Model, versions: tuple[VersionName, ...]
) -> Mapping[VersionName, Figures]:
    """All there is to show of matured seconds; takes its time."""
    return {
        version: figures_of(appraisal.metric, rows_of(appraisal.matured, version), model.slices) for version in versions
    }
