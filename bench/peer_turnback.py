"""Turnback's data plane as a peer: the real Gateway behind uvicorn, with a fixed routing table.

Runs in a process of its own: `python -m bench.peer_turnback PORT UPSTREAM_PORT`. Two versions share the
traffic, so that every exchange is drawn by a coin; tallies are flushed every second like a replica does,
only that nothing takes them; each exchange's end goes to a journal like in `serve`.
"""

import argparse
import asyncio
import gc
import time
from pathlib import Path
from uuid import uuid4

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from app import compiled
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.catalog.routing import Route, RoutedModel, RoutingTable
from app.proxy import Gateway
from app.recording.accounting import Accounting
from app.recording.arm import Arm
from app.recording.journal import Journal
from bench.message import MODEL, model_name

FLUSH_S = 1.0
CANARY_BP = 1_000


def table_of(upstream: str, models: int = 1) -> RoutingTable:
    """Models whose stable and canary are the same upstream; the canary's weight is 10 %.

    Args:
        models: How many; the first is the one that most loads ask.
    """
    names = (MODEL, *(model_name(number) for number in range(models - 1)))
    return RoutingTable(1, tuple(_routed(ModelName(name), upstream) for name in names))


def _routed(name: ModelName, upstream: str) -> RoutedModel:
    stable, canary = VersionName("v1"), VersionName("v2")
    versions = (Version(name, stable, (upstream,)), Version(name, canary, (upstream,)))
    route = Route(name, generation=1, stable=stable, weights_bp={stable: 10_000 - CANARY_BP, canary: CANARY_BP})
    return RoutedModel(Model(name), route, versions)


class _Unrecorded:
    """What stands for the accounts of an exchange when nothing is to be recorded."""

    @staticmethod
    def draw(exchange: Accounting, arm: Arm, _unit: int = 0, _salted_at: int = 0) -> None:
        exchange.arm = arm

    @staticmethod
    def excluded(exchange: Accounting, arm: Arm, _now: float) -> None:
        exchange.arm = arm

    @staticmethod
    def latency(_exchange: Accounting, _now: float) -> None:
        """Nothing is kept."""

    @staticmethod
    def outcome(_exchange: Accounting, _outcome: int, _now: float) -> None:
        """Nothing is kept."""


def gateway_of(*, recording: bool) -> Gateway:
    """The gateway as a replica makes it, or one that keeps no books, for the sources only: what recording costs."""
    if not recording:
        for name, stand_in in (
            ("count_draw", _Unrecorded.draw),
            ("count_excluded", _Unrecorded.excluded),
            ("count_latency", _Unrecorded.latency),
            ("count_outcome", _Unrecorded.outcome),
        ):
            setattr(Accounting, name, stand_in)
    return Gateway(time.time)


async def refuse(scope: Scope, _receive: Receive, _send: Send) -> None:
    """The ASGI application, which no exchange of the benchmark may reach."""
    raise RuntimeError(f"{scope['type']} reached the ASGI application")


async def flush_for_ever(gateway: Gateway, journal: Journal | None) -> None:
    while True:
        # What a journal would have cost is not to be measured without one.
        if journal is not None and not journal.is_up:
            raise SystemExit("the journal is down")
        await asyncio.sleep(FLUSH_S)
        gateway.acknowledge(gateway.collect())


async def serve(port: int, table: RoutingTable, journal_folder: Path | None) -> None:
    """Serve on loopback until SIGTERM; without a folder nothing is recorded."""
    gateway = gateway_of(recording=journal_folder is not None)
    gateway.swap(table)
    config = uvicorn.Config(
        refuse,
        host="127.0.0.1",
        port=port,
        # uvicorn calls it like a class; its annotation knows only classes.
        http=gateway.protocol,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
    journal = None if journal_folder is None else Journal(journal_folder, str(uuid4()), gateway.recorder)
    beside = []
    if journal is not None:
        await journal.open()
        beside.append(asyncio.create_task(journal.run()))
    beside.append(asyncio.create_task(flush_for_ever(gateway, journal)))
    # As `serve` does once it is ready.
    gc.collect()
    gc.freeze()
    try:
        await uvicorn.Server(config).serve()
    finally:
        for task in beside:
            task.cancel()
        gateway.close()
        if journal is not None:
            await journal.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.peer_turnback")
    parser.add_argument("port", type=int)
    parser.add_argument("upstream", type=int)
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--build", choices=["sources", "compiled"], default="sources")
    parser.add_argument("--journal", type=Path, default=None, help="a folder; nothing is recorded without")
    asked = parser.parse_args()
    if compiled.is_in_use() != (asked.build == "compiled"):
        parser.error(f"{compiled.VARIABLE} does not let the {asked.build} run")
    table = table_of(f"http://127.0.0.1:{asked.upstream}", asked.models)
    uvloop.run(serve(asked.port, table, asked.journal))


if __name__ == "__main__":
    main()
