"""Feedback's paths in this process, over a real database, and receipts that its gateway would have given."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes
from typing import Any, Final
from uuid import uuid4

import httpx
import orjson
from sqlalchemy import text

from app.domain.catalog.declarations import Feedback, QualityKind, QualityMetric, RowsKept
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.receipt import ReceiptKey, Signer
from app.domain.catalog.routing import FULL_BP, Route, RoutedModel, RoutingTable
from app.domain.evidence.labels import Given
from app.domain.evidence.observed import AnsweredRow
from app.feedback.desk import FeedbackDesk, feedback_desk
from app.feedback.keys import sources
from app.feedback.own_paths import Build, inference_app
from app.proxy.http1.receipts import Receipts
from app.store.labels import answers
from app.store.pg.database import Database
from app.store.routing import catalog

FRAUD, PLAIN, SILENT, V1 = ModelName("fraud"), ModelName("plain"), ModelName("silent"), VersionName("v1")
METRICS: Final = (
    QualityMetric("accuracy", QualityKind.ACCURACY),
    QualityMetric("error", QualityKind.ABSOLUTE_ERROR),
    QualityMetric("liked", QualityKind.EVENT),
    QualityMetric("stars", QualityKind.SCORE),
)
MODELS: Final = (
    Model(FRAUD, feedback=Feedback(METRICS, RowsKept.ALL, "x-order")),
    Model(PLAIN, feedback=Feedback(METRICS)),
    Model(SILENT),
)
KEY: Final = ReceiptKey.of(token_bytes(32))
OTHER_KEY: Final = ReceiptKey.of(token_bytes(32))
# The data plane of the same process: what exchanges are called by.
GATEWAY: Final = Receipts(KEY)
ANN, BOB = "a" * 16, "b" * 16
SOURCES: Final = f"ann:{ANN},bob:{BOB}"
PATH: Final = "/turnback/v1/feedback"
KEEP_DAYS: Final = 30


def table() -> RoutingTable:
    version = (Version(FRAUD, V1, ("http://127.0.0.1:9000",)),)
    return RoutingTable(
        1, tuple(RoutedModel(model, Route(model.name, 1, V1, {V1: FULL_BP}), version) for model in MODELS)
    )


@dataclass
class Exchange:
    """One exchange and all its names."""

    model: ModelName = FRAUD
    id: str = field(default_factory=lambda: GATEWAY.new_exchange().decode())
    second: int = field(default_factory=lambda: int(time.time()) - 5)
    generation: int = 1
    chosen: str | None = None
    client_key: str | None = None

    @property
    def request_id(self) -> str:
        return self.id if self.chosen is None else self.chosen

    def receipt(self, key: ReceiptKey = KEY) -> str:
        return Signer(key, self.model, V1, self.generation).receipt(self.second, self.id.encode()).decode()

    @property
    def row(self) -> AnsweredRow:
        return AnsweredRow(
            self.second,
            self.id,
            self.model,
            V1,
            self.generation,
            sampled=True,
            request_id=self.request_id,
            client_key=self.client_key,
            status=200,
            predictions=(1.0,),
            slices={"region": "eu"},
        )


async def kept(database: Database) -> dict[tuple[str, str, str], list[Given]]:
    """All labels by exchange, metric and source: the revisions in their order."""
    found: dict[tuple[str, str, str], list[Given]] = {}
    async with database.transaction() as tx:
        for row in await tx.execute(text("SELECT * FROM labels ORDER BY revision")):
            revisions = found.setdefault((row.exchange.hex, row.metric, row.source), [])
            revisions.append(row.label)
            assert row.revision == len(revisions)
    return found


@dataclass
class FeedbackClient:
    """One gateway's feedback as clients use it."""

    http: httpx.AsyncClient
    desk: FeedbackDesk
    database: Database

    async def post(self, body: object, **headers: str) -> httpx.Response:
        sent = {"content-type": "application/json", **headers}
        return await self.http.post(PATH, content=orjson.dumps(body), headers=sent)

    async def give(self, *items: object) -> Any:  # noqa: ANN401 -- a document
        """What became of a batch that is taken, item by item."""
        answer = await self.http.post(f"{PATH}?verbose=true", json=list(items))
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def results(self, *items: object) -> list[str]:
        return [item["result"] for item in (await self.give(*items))["items"]]

    async def written(self, *exchanges: Exchange) -> None:
        async with self.database.transaction() as tx:
            await answers.add(tx, [exchange.row for exchange in exchanges])

    async def kept(self) -> dict[tuple[str, str, str], list[Given]]:
        return await kept(self.database)

    async def count(self, what: str) -> int:
        async with self.database.transaction() as tx:
            return int(await tx.scalar(text(f"SELECT count(*) FROM {what}")) or 0)  # noqa: S608 -- a test's own words

    def figures(self) -> dict[tuple[str, ...], object]:
        return {(series.family.name, *series.labels): series.value for series in self.desk.figures.series()}


def made_desk(
    database: Database, state_dir: Path, said: str | None = None, clock: Callable[[], float] = time.time
) -> FeedbackDesk:
    return feedback_desk(
        database,
        state_dir,
        uuid4().hex,
        keys=(KEY,),
        is_ahead=GATEWAY.is_ahead,
        sources=sources(said),
        table=table,
        keep_days=KEEP_DAYS,
        clock=clock,
        monotonic=time.monotonic,
    )


@asynccontextmanager
async def feedback_client(
    database: Database, state_dir: Path, *, feedback_keys: str | None = None, token: str | None = None
) -> AsyncIterator[FeedbackClient]:
    """Args: token: sent with every request that says nothing else."""
    desk = made_desk(database, state_dir, feedback_keys)
    app = inference_app(Build("test", "boot"), desk)
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://inference", headers=headers) as http:
        yield FeedbackClient(http, desk, database)


async def register(database: Database) -> None:
    """As the admin API would: parked labels name registered models only."""
    async with database.transaction() as tx:
        for model in MODELS:
            await catalog.add_model(tx, model)
