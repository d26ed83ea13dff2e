"""The data plane's public object: takes routing tables, gives a protocol class, tallies and brakes."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.receipt import ReceiptKey
from app.domain.catalog.routing import EMPTY_TABLE, RoutedModel, RoutingTable
from app.errors import ModelUnusable
from app.proxy.bounds.limits import DEFAULT_LIMITS, Limits
from app.proxy.downstream.listener import ClientConnection
from app.proxy.downstream.own_paths import Uvicorn
from app.proxy.downstream.port import Port
from app.proxy.exchange.context import ExchangeContext
from app.proxy.http1.forwarded import Network
from app.proxy.http1.receipts import Receipts
from app.proxy.routing.arm import ServingArm
from app.proxy.routing.suspects import Suspect, suspects
from app.proxy.routing.table import CompiledRoute, CompiledTable
from app.proxy.upstream.breaker import OpenBrake, OpenCount
from app.proxy.upstream.connector import Reach
from app.proxy.upstream.pool import Pool
from app.recording.batch import Batch
from app.recording.recorder import Recorder

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

_SECRETLY_SEEDED = random.Random(secrets.randbits(256))  # noqa: S311 -- a fair coin, not a key


class Gateway:
    """Everything one process's data plane shares.

    Attributes:
        port: The inference port's bounds and connections.
        context: What exchanges find here.
        recorder: Counts exchanges.
        observer: Looks at exchanges after they ended.
        receipts: What receipts are made with.
        reach: How upstreams are reached.
        monotonic: Seconds for durations.
    """

    __slots__ = (
        "_arms",
        "_limits",
        "_open_count",
        "_pools",
        "_slice_values",
        "_suspects",
        "context",
        "monotonic",
        "observer",
        "port",
        "reach",
        "receipts",
        "recorder",
    )

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        coin: Callable[[], float] = _SECRETLY_SEEDED.random,
        monotonic: Callable[[], float] = time.monotonic,
        limits: Limits = DEFAULT_LIMITS,
        reach: Reach | None = None,
        server_timing: bool = False,
        override_key: bytes = b"",
        trusted_proxies: tuple[Network, ...] = (),
        receipt_key: ReceiptKey | None = None,
    ) -> None:
        """Start with an empty table.

        Args:
            clock: Unix seconds in database time.
            coin: Uniform in [0, 1), one draw per call.
            monotonic: Seconds for durations.
            limits: Bounds on what is taken in.
            reach: How upstreams are reached.
            override_key: What an operator must show to choose a version by header; nobody may without one.
            server_timing: Whether answers say how long their upstream took (W3C Server Timing).
            trusted_proxies: Networks of proxies that are believed about where a request came from.
            receipt_key: What signs receipts.
        """
        self._limits = limits
        self._open_count = OpenCount()
        self._pools: dict[tuple[ModelName, VersionName], Pool] = {}
        self._arms: dict[tuple[ModelName, VersionName], ServingArm] = {}
        self._suspects: list[Suspect] = []
        self._slice_values: dict[ModelName, dict[str, set[str]]] = {}
        self.monotonic = monotonic
        self.reach = reach or Reach()
        self.port = Port(limits, monotonic, trusted_proxies, self._sweep_beside)
        self.recorder = Recorder(clock, monotonic, self.port.open_exchanges)
        self.receipts = Receipts(receipt_key)
        self.context = ExchangeContext(
            CompiledTable(EMPTY_TABLE, {}),
            self.recorder,
            self.receipts,
            limits,
            monotonic,
            coin,
            override_key=override_key,
            server_timing=server_timing,
        )
        self.observer = self.context.observer

    # ------------------------------------------------------------------ routing

    @property
    def compiled(self) -> CompiledTable:
        """The routing table in force, ready for look-ups."""
        return self.context.compiled

    @property
    def table(self) -> RoutingTable:
        """The routing table in force."""
        return self.compiled.table

    def swap(self, table: RoutingTable) -> None:
        """Draw from this table from now on; exchanges already drawn go on as they were.

        Raises: ModelUnusable: nothing was changed.
        """
        before, arms_before = self._pools, self._arms
        self._pools, self._arms = {}, {}
        try:
            routes = {
                routed.model.name: self._compile_or_refuse(routed, before, arms_before) for routed in table.models
            }
        except ModelUnusable:
            self._pools, self._arms = before, arms_before
            raise
        self._suspects = [suspect for routed in table.models for suspect in suspects(routed, routes[routed.model.name])]
        self.context.compiled = CompiledTable(table, routes)
        now = self.monotonic()
        for key, pool in before.items():
            if self._pools.get(key) is not pool:
                pool.retire(now)

    def _compile_or_refuse(
        self,
        routed: RoutedModel,
        pools_before: dict[tuple[ModelName, VersionName], Pool],
        arms_before: dict[tuple[ModelName, VersionName], ServingArm],
    ) -> CompiledRoute:
        try:
            return self._compile(routed, pools_before, arms_before)
        except Exception as odd:
            # Whatever is wrong with one model, the others' routes must not stay old for it.
            raise ModelUnusable(routed.model.name, f"{type(odd).__name__}: {odd}") from odd

    def _compile(
        self,
        routed: RoutedModel,
        pools_before: dict[tuple[ModelName, VersionName], Pool],
        arms_before: dict[tuple[ModelName, VersionName], ServingArm],
    ) -> CompiledRoute:
        route = routed.route
        now = self.monotonic()
        arms: dict[VersionName, ServingArm] = {}
        for version in routed.versions:
            key = (version.model, version.name)
            pool = pools_before.get(key)
            totals = self.recorder.totals(version.model, version.name)
            if pool is None or pool.version != version:
                pool = Pool(version, routed.model.protocol, self._limits, self._open_count, self.reach, totals)
            pool.follow(route, now)
            arm = arms_before.get(key)
            if arm is None or arm.generation != route.generation or arm.pool is not pool:
                arm = ServingArm(version.model, route.generation, version.name, totals, pool, self.receipts.key)
            self._pools[key] = pool
            arms[version.name] = self._arms[key] = arm
        slice_values = self._slice_values.setdefault(routed.model.name, {})
        return CompiledRoute(routed, arms, self._open_count, self.context.room, slice_values)

    @property
    def pools(self) -> Collection[Pool]:
        """Every version's place in this process."""
        return self._pools.values()

    def open_brakes(self) -> tuple[OpenBrake, ...]:
        """Versions that this process sends nothing to."""
        now = self.monotonic()
        return tuple(
            OpenBrake(model, version, now - pool.brake.opened_at, pool.brake.cause)
            for (model, version), pool in self._pools.items()
            if pool.brake.is_open
        )

    # ------------------------------------------------------------------ connections

    def protocol(
        self,
        config: "Config",
        server_state: "ServerState",
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> ClientConnection:
        """A protocol for one client connection; `http=gateway.protocol` in uvicorn's configuration."""
        loop = _loop or asyncio.get_running_loop()
        self.port.keep_sweeping(loop)
        return ClientConnection(self.port, self.context, Uvicorn(config, server_state, app_state, loop))

    # ------------------------------------------------------------------ after an answer

    def collect(self) -> Batch:
        """What changed since the last acknowledged batch, after all that ended was looked at."""
        self.observer.catch_up()
        tallies = self.observer.complete(self.recorder.collect())
        return Batch(tallies, self.observer.collect())

    def acknowledge(self, batch: Batch) -> None:
        """The batch is in Postgres: forget what can no longer change."""
        # In this order: what was read of a second goes only when its tallies are known to be final.
        self.recorder.acknowledge(batch.tallies)
        self.observer.acknowledge(batch.observed)

    @property
    def waiting(self) -> int:
        """Rows, units and exchanges that Postgres is not known to have."""
        return self.recorder.waiting + self.observer.waiting

    # ------------------------------------------------------------------ deadlines and ends

    def _sweep_beside(self, now: float) -> None:
        """Look at every deadline that is no connection's: of copies and of versions."""
        safely = self.port.safely
        safely(self.context.mirrors.sweep, now)
        for pool in self._pools.values():
            served = pool.totals.exchanges + pool.totals.excluded
            if pool.is_restless or served != pool.served:
                safely(pool.sweep, now, served)
        for suspect in self._suspects:
            safely(suspect.sweep, now)

    def drain(self) -> None:
        """Stop keep-alive: idle connections close now, the others after their answer."""
        self.port.drain()

    def close(self) -> None:
        """Cut everything that is left and stop the timer."""
        self.port.close()
        self.context.mirrors.close()
        for pool in self._pools.values():
            pool.close()
