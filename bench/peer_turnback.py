"""Turnback's data plane as a peer: the real Gateway behind uvicorn, with a fixed routing table.

Runs in a process of its own: `python -m bench.peer_turnback PORT UPSTREAM_PORT`. Two versions share the
traffic, so that every exchange is drawn by a coin; tallies are flushed every second like a replica does,
only that nothing takes them.
"""

import asyncio
import sys
import time

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from app.domain.catalog import Model, ModelName, Version, VersionName
from app.domain.routing import Route, RoutedModel, RoutingTable
from app.proxy import Gateway

FLUSH_S = 1.0
CANARY_BP = 1_000


def table_of(upstream: str) -> RoutingTable:
    """One model whose stable and canary are the same upstream; the canary's weight is 10 %."""
    name, stable, canary = ModelName("bench"), VersionName("v1"), VersionName("v2")
    versions = (Version(name, stable, (upstream,)), Version(name, canary, (upstream,)))
    route = Route(name, generation=1, stable=stable, weights_bp={stable: 10_000 - CANARY_BP, canary: CANARY_BP})
    return RoutingTable(1, (RoutedModel(Model(name), route, versions),))


async def refuse(scope: Scope, _receive: Receive, _send: Send) -> None:
    """The ASGI application, which no exchange of the benchmark may reach."""
    raise RuntimeError(f"{scope['type']} reached the ASGI application")


async def flush_for_ever(gateway: Gateway) -> None:
    while True:
        await asyncio.sleep(FLUSH_S)
        gateway.recorder.acknowledge(gateway.recorder.collect())


async def serve(port: int, upstream: str) -> None:
    """Serve on loopback until SIGTERM."""
    gateway = Gateway(time.time)
    gateway.swap(table_of(upstream))
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
    flushing = asyncio.create_task(flush_for_ever(gateway))
    try:
        await uvicorn.Server(config).serve()
    finally:
        flushing.cancel()
        gateway.close()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), f"http://127.0.0.1:{sys.argv[2]}"))
