"""Labels and what they were given to, in Postgres, read to be shown: bounded, the newest first.

Rule: nothing here is evidence; a look reads `cohorts`, second by second and each exchange once for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text

from app.domain.catalog.declarations import QualityMetric
from app.domain.catalog.models import ModelName, VersionName
from app.store.labels.labels import MEANT
from app.store.pg.database import Transaction

# More labels of a metric are not read for one answer; the view says from when on they are.
LABELS_MAX = 20_000

_FALLS_ON = text(
    """
    SELECT second FROM labels
    WHERE model = :model AND metric = :metric AND second > :after AND second <= :through
    ORDER BY second DESC OFFSET :most LIMIT 1
    """
)

_NEWEST = f"""
    WITH newest AS (
        SELECT DISTINCT ON (exchange, source) exchange, source, second, version, {MEANT} AS meant,
               min(received_at) OVER (PARTITION BY exchange, source) AS first_at
        FROM labels
        WHERE model = :model AND metric = :metric AND second > :after AND second <= :through
        ORDER BY exchange, source, revision DESC
    )
    """  # noqa: S608 -- a constant

_TOLD = text(
    f"""
    {_NEWEST}, by_exchange AS (
        SELECT version, exchange, count(*) AS sources, count(DISTINCT meant) > 1 AS disagrees,
               extract(epoch FROM min(first_at)) - min(second) AS lag_s
        FROM newest GROUP BY version, exchange
    )
    SELECT version, count(*) AS labelled, count(*) FILTER (WHERE sources > 1) AS by_several,
           count(*) FILTER (WHERE disagrees) AS disagreed, count(*) FILTER (WHERE lag_s > :horizon_s) AS late,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY lag_s) AS lag_s_p50,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY lag_s) AS lag_s_p95
    FROM by_exchange GROUP BY version
    """  # noqa: S608 -- a constant
)

# Of many sources the pairs that differ most.
DISPUTES_MAX = 100

_DISPUTES = text(
    f"""
    {_NEWEST}
    SELECT version, one.source, other.source AS other, count(*) AS answers,
           count(*) FILTER (WHERE one.meant <> other.meant) AS disagreed
    FROM newest one JOIN newest other USING (exchange, version)
    WHERE one.source < other.source
    GROUP BY version, one.source, other.source HAVING bool_or(one.meant <> other.meant)
    ORDER BY disagreed DESC, version, one.source, other.source LIMIT {DISPUTES_MAX}
    """  # noqa: S608 -- constants
)

# Generations in which both were drawn, with the weights of that time.
_TOGETHER = text(
    """
    SELECT generation, weights_bp FROM generations
    WHERE model = :model AND generation IN (
        SELECT generation FROM tallies
        WHERE model = :model AND second >= :since AND second < :until AND exchanges > 0 AND generation > 0
          AND version IN (:first, :second)
        GROUP BY generation HAVING count(DISTINCT version) = 2)
    """
)


@dataclass(frozen=True, slots=True)
class Dispute:
    """Two sources that labelled the same answers of a version, and not always alike.

    Attributes:
        answers: Those that both labelled.
        disagreed: Of those, differently.
    """

    source: str
    other: str
    answers: int
    disagreed: int


@dataclass(frozen=True, slots=True)
class Told:
    """What came back about one version's answers, in time or not.

    Attributes:
        labelled: Exchanges with a label. by_several: Of those, by more than one source.
        disagreed: Of those, in different words. late: Labelled only after the horizon.
        lag_s_p50, lag_s_p95: Seconds from the draw until the first label.
        disputes: Who disagreed with whom, those that did so most often first.
    """

    labelled: int
    by_several: int
    disagreed: int
    late: int
    lag_s_p50: float
    lag_s_p95: float
    disputes: tuple[Dispute, ...] = ()


async def read_from(tx: Transaction, model: ModelName, metric: QualityMetric, after: int, through: int) -> int:
    """The second after which there are few enough labels to read; `after` itself where there are."""
    asked = {"model": model, "metric": metric.name, "after": after, "through": through, "most": LABELS_MAX}
    falls_on = await tx.scalar(_FALLS_ON, asked)
    return after if falls_on is None else int(falls_on)


async def told(
    tx: Transaction, model: ModelName, metric: QualityMetric, after: int, through: int
) -> Mapping[VersionName, Told]:
    """What came back about the exchanges drawn in (after, through], by version."""
    asked = {"model": model, "metric": metric.name, "after": after, "through": through, "horizon_s": metric.horizon_s}
    rows = list(await tx.execute(_TOLD, asked))
    disputes = list(await tx.execute(_DISPUTES, asked)) if any(row.disagreed for row in rows) else []
    return {
        VersionName(row.version): Told(
            row.labelled,
            row.by_several,
            row.disagreed,
            row.late,
            float(row.lag_s_p50),
            float(row.lag_s_p95),
            tuple(Dispute(*each[1:]) for each in disputes if each.version == row.version),
        )
        for row in rows
    }


async def together(
    tx: Transaction, model: ModelName, versions: tuple[VersionName, VersionName], since: int, until: int
) -> Mapping[int, Mapping[VersionName, int]]:
    """Generations in which both were drawn by a coin in the seconds [since, until), to all weights."""
    first, second = versions
    asked = {"model": model, "first": first, "second": second, "since": since, "until": until}
    return {
        row.generation: {VersionName(name): weight_bp for name, weight_bp in row.weights_bp.items()}
        for row in await tx.execute(_TOGETHER, asked)
    }
