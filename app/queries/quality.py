"""What labels say of a model's versions, read to be shown: matured seconds, and those whose labels still come.

Rule: the window lies before the last matured second, so that a long horizon never leaves it empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from app.domain.catalog.declarations import QualityMetric
from app.domain.catalog.models import Model, VersionName
from app.domain.evidence.absorb_cohort import Matured
from app.domain.evidence.cohort import GRACE_S
from app.domain.evidence.loss import Labelled
from app.domain.reports.quality import Figures, figures_of
from app.store.evidence import cohorts
from app.store.labels import quality
from app.store.pg.database import Transaction


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
