"""Rows of answers, labels, counts and measures, written as the replicas would."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.observed import Observed, ObservedRow
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow
from app.store.evidence import observed, tallies
from app.store.pg.database import Database

FRAUD = ModelName("fraud")
BOOT = str(uuid.UUID(int=7))
_ANSWERS = text(
    """
    INSERT INTO answers (exchange, second, model, version, generation, sampled, request_id, status, predictions,
                         scores, slices)
    SELECT CAST(each.exchange AS uuid), each.second, 'fraud', each.version, each.generation, true, 'r', 200,
           each.predictions, each.scores, each.slices
    FROM json_to_recordset(:rows) AS each(exchange text, second bigint, version text, generation bigint,
                                          predictions jsonb, scores jsonb, slices jsonb)
    """
)
_LABELS = text(
    """
    INSERT INTO labels (exchange, metric, source, revision, second, model, version, generation, label, slices,
                        received_at)
    SELECT CAST(each.exchange AS uuid), each.metric, each.source, 0, each.second, 'fraud', each.version,
           each.generation, each.label, '{}', to_timestamp(each.second + each.lag_s)
    FROM json_to_recordset(:rows) AS each(exchange text, metric text, source text, second bigint, version text,
                                          generation bigint, label jsonb, lag_s double precision)
    """
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer and what was said of it: source to label and lag in seconds."""

    version: str
    ago_s: float
    prediction: float | str = 1
    score: float | None = None
    slices: dict[str, str] = field(default_factory=dict)
    labels: dict[str, tuple[Any, float]] = field(default_factory=dict)
    metric: str = "accuracy"
    generation: int = 2


def right_and_wrong(version: str, right: int, wrong: int, *, ago_s: float = 600, **more: Any) -> list[Answer]:  # noqa: ANN401 -- fields of Answer
    """Answers labelled after ten seconds by one source."""
    labels = [1] * right + [0] * wrong
    return [Answer(version=version, ago_s=ago_s, labels={"desk": (label, 10.0)}, **more) for label in labels]


async def store_answers(database: Database, answers: Sequence[Answer]) -> None:
    now = int(time.time())
    known = [
        {
            "exchange": str(uuid.UUID(int=number + 1)),
            "second": now - int(each.ago_s),
            "version": each.version,
            "generation": each.generation,
            "predictions": [each.prediction],
            "scores": [] if each.score is None else [each.score],
            "slices": each.slices,
        }
        for number, each in enumerate(answers)
    ]
    said = [
        {**row, "metric": each.metric, "source": source, "label": label, "lag_s": lag_s}
        for row, each in zip(known, answers, strict=True)
        for source, (label, lag_s) in each.labels.items()
    ]
    drawn = Counter((now - int(each.ago_s), each.generation, each.version) for each in answers)
    async with database.transaction() as tx:
        await tx.execute(_ANSWERS, {"rows": json.dumps(known)})
        await tx.execute(_LABELS, {"rows": json.dumps(said)})
    await store_tallies(
        database,
        [
            (second, generation, version, Tally(count, {Outcome.OK: count}))
            for (second, generation, version), count in drawn.items()
        ],
    )


async def store_tallies(database: Database, rows: Sequence[tuple[int, int, str, Tally]]) -> None:
    written = [
        TallyRow(TallyKey(second, FRAUD, generation, VersionName(version)), tally, 1)
        for second, generation, version, tally in rows
    ]
    async with database.transaction() as tx:
        await tallies.upsert(tx, BOOT, written)


async def store_observed(database: Database, rows: Sequence[tuple[int, str, Observed]]) -> None:
    written = [
        ObservedRow(TallyKey(second, FRAUD, 2, VersionName(version)), content, 1) for second, version, content in rows
    ]
    async with database.transaction() as tx:
        await observed.upsert(tx, BOOT, written)
