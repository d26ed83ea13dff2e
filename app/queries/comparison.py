"""Two versions of a model side by side, and the weights under which a coin chose between them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from app.actions.context import Means
from app.domain.catalog.declarations import QualityMetric
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.offline import compared
from app.domain.evidence.observed import Observed
from app.domain.evidence.tally import Tally
from app.domain.reports.quality import Difference, Value, difference
from app.queries.cost import Bill, VersionCost, bill, version_cost
from app.queries.quality import Appraisal, appraised, figures_by_version
from app.store.labels import quality
from app.store.routing import catalog, routes


@dataclass(frozen=True, slots=True)
class ComparedQuality:
    """One metric of both versions; the difference is the second's minus the first's."""

    metric: QualityMetric
    first: Value
    second: Value
    difference: Difference


@dataclass(frozen=True, slots=True)
class VersionFigures:
    """One version's own figures."""

    version: Version
    tally: Tally
    observed: Observed
    cost: VersionCost


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions side by side.

    Attributes:
        concurrent: Whether a coin chose between the two in this time.
        offline_difference: Second minus first.
    """

    since: datetime
    until: datetime
    concurrent: bool
    first: VersionFigures
    second: VersionFigures
    quality: tuple[ComparedQuality, ...]
    offline_difference: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Both:
    """Both versions and the weights of generations in which a coin chose between them."""

    first: VersionName
    second: VersionName
    weights_bp: dict[int, dict[VersionName, int]]


async def comparison(
    means: Means, model: ModelName, names: tuple[VersionName, VersionName], window_s: int
) -> Comparison:
    """The figures of the last `window_s` seconds. Raises: UnknownModel, UnknownVersion."""
    async with means.database.transaction() as tx:
        known = await catalog.model(tx, model)
        first, second = [await catalog.version(tx, model, name) for name in names]
        until = int((await routes.revision(tx)).at.timestamp())
        seen = await bill(tx, model, until, window_s)
        metrics = known.feedback.metrics if known.feedback else ()
        found = [await appraised(tx, known, each, names, until, window_s) for each in metrics]
        # Matured seconds lie before the window where the horizon is long.
        since = min([until - window_s, *(each.after for each in found)])
        together = await quality.together(tx, model, names, since, until)
    both = _Both(*names, {generation: dict(weights) for generation, weights in together.items()})
    return Comparison(
        datetime.fromtimestamp(until - window_s, UTC),
        datetime.fromtimestamp(until, UTC),
        bool(both.weights_bp),
        _figures(first, seen),
        _figures(second, seen),
        tuple([await asyncio.to_thread(_quality, each, known, both) for each in found]),
        compared(second.credentials.offline, first.credentials.offline),
    )


def _figures(version: Version, seen: Bill) -> VersionFigures:
    tally, observed = seen.tallies.get(version.name, Tally()), seen.observed.get(version.name, Observed())
    return VersionFigures(version, tally, observed, version_cost(version, seen))


def _quality(found: Appraisal, model: Model, both: _Both) -> ComparedQuality:
    names = both.first, both.second
    figures = figures_by_version(found, model, names)
    apart = difference(found.metric, found.matured.rows, *names, both.weights_bp)
    return ComparedQuality(found.metric, figures[both.first].overall, figures[both.second].overall, apart)
