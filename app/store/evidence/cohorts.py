"""Matured labels: what both arms' answers were labelled in time, each exchange once.

Rule: of each source the newest revision that came within the horizon counts, and of several sources the
first, those without a key only where none with one has spoken; a prediction is taken from the answers that
were sampled, never from those kept for other reasons.
"""

from typing import Any

from sqlalchemy import Row, text

from app.domain.catalog.declarations import QualityMetric
from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.absorb_cohort import Matured
from app.domain.evidence.labels import ANONYMOUS
from app.domain.evidence.loss import Labelled
from app.store.labels.labels import MEANT
from app.store.pg.database import Transaction

# More labels are not read at one look; the next one goes on.
ROWS_MAX = 50_000

_SECONDS = text(
    """
    SELECT second, count(*) AS labels FROM labels
    WHERE model = :model AND metric = :metric AND second > :after AND second <= :through
    GROUP BY second ORDER BY second
    """
)

# What is usual for stable is told from so many; an hour of a busy model's labels would take seconds to read.
USUAL_ROWS = 5_000

_BEFORE_USUAL = text(
    """
    SELECT second, first_value(second) OVER (ORDER BY second DESC) AS newest FROM labels
    WHERE model = :model AND metric = :metric AND second > :after AND second <= :through
    ORDER BY second DESC OFFSET :most LIMIT 1
    """
)

_LABELLED = text(
    f"""
    WITH in_time AS (
        SELECT DISTINCT ON (exchange, source) exchange, source, second, version, generation, label, slices,
               min(received_at) OVER (PARTITION BY exchange, source) AS first_at,
               bool_or(source <> '{ANONYMOUS}') OVER (PARTITION BY exchange) AS has_key
        FROM labels
        WHERE model = :model AND metric = :metric AND second > :after AND second <= :through
          AND version = ANY(:versions) AND generation >= :since
          AND received_at <= to_timestamp(second + CAST(:horizon_s AS double precision))
        ORDER BY exchange, source, revision DESC
    ), compared AS (
        SELECT *, dense_rank() OVER (PARTITION BY exchange ORDER BY {MEANT}) AS meaning,
               lead(label) OVER (PARTITION BY exchange ORDER BY first_at, source) AS another
        FROM in_time WHERE source <> '{ANONYMOUS}' OR NOT has_key
    ), firsts AS (
        SELECT DISTINCT ON (exchange) *, max(meaning) OVER (PARTITION BY exchange) > 1 AS disagrees
        FROM compared ORDER BY exchange, first_at, source
    )
    SELECT f.exchange, f.source, f.second, f.version, f.generation, f.label, f.another, f.disagrees,
           a.predictions, a.scores, coalesce(a.slices, '{{}}') || f.slices AS slices
    FROM firsts f LEFT JOIN answers a ON a.exchange = f.exchange AND a.second = f.second AND a.sampled
    ORDER BY f.second, f.exchange
    """  # noqa: S608 -- constants
)

_DRAWN = text(
    """
    SELECT generation, version, sum(exchanges)::bigint AS drawn FROM tallies
    WHERE model = :model AND version = ANY(:versions) AND second > :after AND second <= :through
      AND generation >= :since
    GROUP BY generation, version
    """
)


async def matured(
    tx: Transaction,
    model: ModelName,
    metric: QualityMetric,
    versions: tuple[VersionName, ...],
    after: int,
    through: int,
    since: int = 1,
    most: int = ROWS_MAX,
) -> Matured:
    """What became old enough in the seconds (after, through], or in as many of them as one look takes.

    Args:
        tx: Where to read.
        model: Whose.
        metric: By what.
        versions: The arms.
        after: Last second already read.
        through: Newest second whose horizon has passed.
        since: Generations below it are left out; 0 was drawn without a coin.
        most: Labels that one look takes, but for those of one second.
    """
    last = await _bounded(tx, model, metric, after, through, most)
    span = {"model": model, "versions": list(versions), "after": after, "through": last, "since": max(since, 1)}
    found = await tx.execute(_LABELLED, {**span, "metric": metric.name, "horizon_s": metric.horizon_s})
    rows = list(found)
    drawn = await tx.execute(_DRAWN, span)
    return Matured(
        tuple(map(_labelled, rows)),
        {(row.generation, VersionName(row.version)): row.drawn for row in drawn},
        last,
        sum(bool(row.disagrees) for row in rows),
    )


async def usual(
    tx: Transaction, model: ModelName, metric: QualityMetric, stable: VersionName, after: int, through: int
) -> tuple[Labelled, ...]:
    """One version's labels of the newest whole seconds of (after, through]: up to 5,000, or of the one newest."""
    span = {"model": model, "metric": metric.name, "after": after, "through": through, "most": USUAL_ROWS}
    found = (await tx.execute(_BEFORE_USUAL, span)).one_or_none()
    begin = after if found is None else min(found.second, found.newest - 1)
    return (await matured(tx, model, metric, (stable,), begin, through)).rows


async def _bounded(
    tx: Transaction, model: ModelName, metric: QualityMetric, after: int, through: int, most: int
) -> int:
    """The last whole second of those that hold no more labels than are read at once; at least one."""
    labels = 0
    counted = await tx.execute(_SECONDS, {"model": model, "metric": metric.name, "after": after, "through": through})
    for row in counted:
        if labels and labels + row.labels > most:
            return int(row.second) - 1
        labels += row.labels
    return through


def _labelled(row: Row[Any]) -> Labelled:
    return Labelled(
        row.exchange.hex,
        VersionName(row.version),
        row.generation,
        row.second,
        row.source,
        _label(row.label),
        tuple(row.predictions or ()),
        tuple(row.scores or ()),
        row.slices,
        _label(row.another),
    )


def _label(stored: Any) -> Any:  # noqa: ANN401 -- a label is what JSON has for it
    return tuple(stored) if isinstance(stored, list) else stored
