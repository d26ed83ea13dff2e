"""The data plane alone behind uvicorn, with a fixed routing table and no other plane."""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import uvicorn
from fakes.waiting import eventually
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from app.domain.catalog.models import Bulkhead, Match, Model, ModelName, Protocol, Timeouts, Version, VersionName
from app.domain.catalog.routing import Mirror, Route, RoutedModel, RoutingTable
from app.proxy import Gateway, Limits
from app.proxy.downstream.own_port import OwnPort
from app.proxy.http1.forwarded import Network
from app.proxy.upstream.connector import MayConnect, Reach, Resolve, system_addresses

Urls: TypeAlias = Mapping[str, str | tuple[str, ...]]
"""Version to its upstream, or its upstreams."""


def routed(
    urls: Urls,
    weights_bp: Mapping[str, int] | None = None,
    *,
    name: str = "fraud",
    match: Match | None = None,
    sticky_header: str | None = None,
    timeouts: Timeouts | None = None,
    generation: int = 1,
    latency_horizon_ms: int = 30_000,
    protocol: Protocol = Protocol.AUTO,
    bulkheads: Mapping[str, Bulkhead] | None = None,
    paths: Mapping[str, str] | None = None,
    served_models: Mapping[str, str] | None = None,
    server_name: str | None = None,
    health_path: str | None = None,
    mirror: Mirror | None = None,
) -> RoutedModel:
    """One model; the first version is stable and, without weights, gets everything.

    Args:
        bulkheads, paths, served_models: By version; those left out have the default.
        server_name, health_path: Of every version.
    """
    model = ModelName(name)
    stable = VersionName(next(iter(urls)))
    weights = {VersionName(version): weight for version, weight in (weights_bp or {stable: 10_000}).items()}
    versions = tuple(
        Version(
            model,
            VersionName(version),
            (url,) if isinstance(url, str) else url,
            timeouts or Timeouts(),
            health_path,
            (bulkheads or {}).get(version, Bulkhead()),
            (paths or {}).get(version),
            (served_models or {}).get(version),
            server_name,
        )
        for version, url in urls.items()
    )
    route = Route(model, generation, stable, weights, latency_horizon_ms, mirror)
    return RoutedModel(Model(model, match, sticky_header, protocol=protocol), route, versions)


def table_of(*models: RoutedModel, revision: int = 1) -> RoutingTable:
    return RoutingTable(revision, models)


def configured(gateway: Gateway | OwnPort, app: ASGIApp | None = None) -> uvicorn.Config:
    """How uvicorn is told to serve a gateway."""
    return uvicorn.Config(
        app or refuse_everything,
        http=gateway.protocol,  # type: ignore[arg-type]  # uvicorn calls it, its annotation asks for a class
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
    )


@asynccontextmanager
async def serving(
    gateway: Gateway | OwnPort, app: ASGIApp | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Serve on a free port, which is yielded, with uvicorn's protocols but not its main loop."""
    config = configured(gateway, app)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: gateway.protocol(config, state, {}, loop), host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        gateway.close()
        for task in state.tasks:
            task.cancel()


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the test run."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving_with_uvicorn(
    gateway: Gateway | OwnPort, app: ASGIApp | None = None
) -> AsyncIterator[tuple[Server, int]]:
    """The same as in production: uvicorn's server on a bound socket; stopped, not cut, at the end."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(configured(gateway, app))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    await eventually(lambda: server.started)
    try:
        yield server, listening.getsockname()[1]
    finally:
        server.should_exit = True
        gateway.drain()
        await task
        gateway.close()


async def refuse_everything(scope: object, receive: object, send: object) -> None:
    """The ASGI application of tests in which nothing may reach one."""
    raise AssertionError("an inference exchange reached the ASGI application")


def gateway_with(
    table: RoutingTable,
    *,
    coin: Callable[[], float] = random.random,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    may_connect: MayConnect = lambda _host, _address: True,
    resolve: Resolve = system_addresses,
    trusted_proxies: tuple[Network, ...] = (),
) -> Gateway:
    """A gateway on the machine's clock; sweeps often, so that time limits can be short."""
    gateway = Gateway(
        time.time,
        coin=coin,
        limits=limits or Limits(sweep_s=0.02),
        reach=Reach(tls, may_connect, resolve),
        trusted_proxies=trusted_proxies,
    )
    gateway.swap(table)
    return gateway
