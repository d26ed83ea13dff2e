"""The data plane alone behind uvicorn, with a fixed routing table and no other plane."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from app.domain.catalog import Match, Model, ModelName, Timeouts, Version, VersionName
from app.domain.routing import Route, RoutedModel, RoutingTable
from app.proxy import Gateway, Limits


def routed(
    urls: Mapping[str, str],
    weights_bp: Mapping[str, int] | None = None,
    *,
    name: str = "fraud",
    match: Match | None = None,
    sticky_header: str | None = None,
    timeouts: Timeouts | None = None,
    generation: int = 1,
    latency_horizon_ms: int = 30_000,
) -> RoutedModel:
    """One model; the first version is stable and, without weights, gets everything."""
    model = ModelName(name)
    stable = VersionName(next(iter(urls)))
    weights = {VersionName(version): weight for version, weight in (weights_bp or {stable: 10_000}).items()}
    versions = tuple(Version(model, VersionName(version), url, timeouts or Timeouts()) for version, url in urls.items())
    route = Route(model, generation, stable, weights, latency_horizon_ms)
    return RoutedModel(Model(model, match, sticky_header), route, versions)


def table_of(*models: RoutedModel, revision: int = 1) -> RoutingTable:
    return RoutingTable(revision, models)


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the test run."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(gateway: Gateway, app: ASGIApp | None = None, *, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Serve the gateway on a free port, which is yielded; drains and closes at the end."""
    listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    config = uvicorn.Config(
        app or refuse_everything,
        http=gateway.protocol,  # type: ignore[arg-type]  # uvicorn calls it, its annotation asks for a class
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.002)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        gateway.close()
        await task


async def refuse_everything(scope: object, receive: object, send: object) -> None:
    """The ASGI application of tests in which nothing may reach one."""
    raise AssertionError("an inference exchange reached the ASGI application")


def gateway_with(
    table: RoutingTable, *, coin: Callable[[], float] | None = None, limits: Limits | None = None
) -> Gateway:
    """A gateway on the machine's clock; sweeps often, so that time limits can be short."""
    options = {} if coin is None else {"coin": coin}
    gateway = Gateway(time.time, limits=limits or Limits(sweep_s=0.02), **options)
    gateway.swap(table)
    return gateway
