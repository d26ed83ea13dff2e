"""How many labels a second one gateway process takes into Postgres.

Method: batches of new labels go through the inference port's application into a Postgres of its own
that syncs its log, both on one core; each batch is answered before the next is sent. Labels per
second of CPU, of gateway and Postgres together, say what an idle core does; those per second of the
clock say that only on a machine with nothing else to do.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psutil  # type: ignore[import-untyped]  # comes with the embedded Postgres, without types

from app.domain.catalog.declarations import Feedback, QualityKind, QualityMetric, RowsKept
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.receipt import ReceiptKey, Signer
from app.domain.catalog.routing import FULL_BP, Route, RoutedModel, RoutingTable
from app.domain.evidence.observed import AnsweredRow
from app.feedback.desk import feedback_desk
from app.feedback.keys import sources
from app.feedback.own_paths import Build, inference_app
from app.proxy.http1.receipts import Receipts
from app.store.labels import answers
from app.store.pg import migrate, partitions
from app.store.pg.database import Database
from app.store.pg.embedded import EmbeddedPostgres, temporary_folder
from app.store.routing import catalog
from bench.cpu import model_name

MODEL, STABLE = ModelName("bench"), VersionName("v1")
BATCHES = (1_000, 10_000)
_DECLARED = Model(MODEL, feedback=Feedback((QualityMetric("accuracy", QualityKind.ACCURACY),), RowsKept.ALL))
_PATH = "/turnback/v1/feedback"


@dataclass(frozen=True)
class Timed:
    """What some batches took, in seconds."""

    labels: int
    wall_s: float
    gateway_s: float
    postgres_s: float

    def document(self, **what: object) -> dict[str, object]:
        return {
            **what,
            "labels": self.labels,
            "labels_per_s": round(self.labels / self.wall_s),
            "labels_per_cpu_s": round(self.labels / (self.gateway_s + self.postgres_s)),
            "gateway_us": round(self.gateway_s / self.labels * 1e6, 1),
            "postgres_us": round(self.postgres_s / self.labels * 1e6, 1),
        }


async def run(labels: int) -> dict[str, Any]:
    """Send so many labels in each way, and say what they took."""
    with _postgres() as (url, server):
        database = Database(url)
        try:
            return {
                "python": platform.python_version(),
                "processor": model_name(),
                "cases": await _cases(database, server, labels),
            }
        finally:
            await database.close()


async def _cases(database: Database, server: psutil.Process, labels: int) -> list[dict[str, object]]:
    await _prepare(database)
    cases = []
    key = ReceiptKey.of(token_bytes(32))
    ids = Receipts(key)
    with tempfile.TemporaryDirectory() as folder:
        desk = feedback_desk(
            database,
            Path(folder),
            uuid4().hex,
            keys=(key,),
            is_ahead=ids.is_ahead,
            sources=sources(None),
            table=_table,
            keep_days=30,
            clock=time.time,
            monotonic=time.monotonic,
        )
        app = inference_app(Build("bench", "boot"), desk)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bench") as http:
            for batch in BATCHES:
                rows = _rows(labels, ids)
                signer = Signer(key, MODEL, STABLE, 1)
                receipts = [signer.receipt(row.second, row.exchange.encode()).decode() for row in rows]
                timed = await _timed(http, server, [{"receipt": each, "label": "1"} for each in receipts], batch)
                cases.append(timed.document(by="receipt", batch=batch))
                again = await _timed(http, server, [{"receipt": each, "label": "1"} for each in receipts], batch)
                cases.append(again.document(by="receipt, sent again", batch=batch))
            rows = _rows(labels, ids)
            await _write(database, rows)
            named = [{"model": MODEL, "request_id": row.request_id, "label": "1"} for row in rows]
            cases.append((await _timed(http, server, named, BATCHES[-1])).document(by="request id", batch=BATCHES[-1]))
    return cases


async def _timed(http: httpx.AsyncClient, server: psutil.Process, items: Sequence[object], batch: int) -> Timed:
    bodies = [orjson.dumps(items[at : at + batch]) for at in range(0, len(items), batch)]
    began, gateway_s, postgres_s = time.perf_counter(), time.process_time(), _cpu_s(server)
    for body in bodies:
        answer = await http.post(_PATH, content=body, headers={"content-type": "application/json"})
        taken = answer.json()
        if answer.status_code != 202 or taken["invalid"] or taken["pending"]:
            raise RuntimeError(f"not every label was joined: {answer.text[:500]}")
    wall_s = time.perf_counter() - began
    return Timed(len(items), wall_s, time.process_time() - gateway_s, _cpu_s(server) - postgres_s)


def _cpu_s(server: psutil.Process) -> float:
    """Of a Postgres, its backends and its writers, as long as all of them live."""
    times = [each.cpu_times() for each in (server, *server.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def _rows(count: int, ids: Receipts) -> list[AnsweredRow]:
    now = int(time.time())
    names = [ids.new_exchange().decode() for _ in range(count)]
    return [
        AnsweredRow(now - at % 3_600, name, MODEL, STABLE, 1, True, name, None, 200, ("1",))
        for at, name in enumerate(names)
    ]


async def _write(database: Database, rows: Sequence[AnsweredRow]) -> None:
    for at in range(0, len(rows), 2_000):
        async with database.transaction() as tx:
            await answers.add(tx, rows[at : at + 2_000])


async def _prepare(database: Database) -> None:
    async with database.transaction() as tx:
        await catalog.add_model(tx, _DECLARED)
        await partitions.ensure_partitions(tx)


def _table() -> RoutingTable:
    version = Version(MODEL, STABLE, ("http://127.0.0.1:9",))
    return RoutingTable(1, (RoutedModel(_DECLARED, Route(MODEL, 1, STABLE, {STABLE: FULL_BP}), (version,)),))


@contextmanager
def _postgres() -> Iterator[tuple[str, psutil.Process]]:
    """Its address and its first process."""
    folder = temporary_folder()
    server = EmbeddedPostgres(folder / "postgres")
    url = server.start()
    try:
        migrate.upgrade(url)
        pid = int((server.folder / "postmaster.pid").read_text().split()[0])
        yield url, psutil.Process(pid)
    finally:
        server.delete()
        shutil.rmtree(folder)


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Run on one core and print the document as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=50_000)
    asked = parser.parse_args(arguments)
    with _pinned():
        say(json.dumps(asyncio.run(run(asked.labels)), indent=2))


@contextmanager
def _pinned() -> Iterator[None]:
    """This thread and what it starts later; whatever runs already is elsewhere."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


if __name__ == "__main__":
    main()
