"""The data plane's public object: takes routing tables, gives a protocol class, tallies and brakes."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Collection
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

import structlog

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.receipt import ReceiptKey
from app.domain.catalog.routing import EMPTY_TABLE, RoutedModel, RoutingTable
from app.errors import ModelUnusable
from app.proxy.bounds.limits import DEFAULT_LIMITS, Limits
from app.proxy.bounds.memory import Room
from app.proxy.downstream.listener import ClientConnection
from app.proxy.downstream.own_paths import Uvicorn
from app.proxy.downstream.port import Port
from app.proxy.exchange.exchange import Exchange
from app.proxy.exchange.mirror import Mirrors, Primary
from app.proxy.http1.forwarded import Network
from app.proxy.http1.receipts import Receipts
from app.proxy.http1.trace_context import Traces
from app.proxy.observing.observer import Observer
from app.proxy.routing.table import Arm, CompiledRoute, CompiledTable
from app.proxy.upstream.breaker import OpenBrake, OpenCount
from app.proxy.upstream.breaker_evidence import Suspect, suspects
from app.proxy.upstream.connector import Reach
from app.proxy.upstream.pool import Pool
from app.recording.batch import Batch
from app.recording.recorder import Recorder

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

# How long each takes itself is looked at now and then, first at the first: looking is a hundredth of an exchange.
_TIMED_ONE_IN = 8
_SECRETLY_SEEDED = random.Random(secrets.randbits(256))  # noqa: S311 -- a fair coin, not a key

log = structlog.get_logger()


class Gateway(Port):
    """Everything one process's data plane shares.

    Attributes:
        compiled: The routing table in force, ready for look-ups.
        reach: How upstreams are reached.
        receipts: What receipts are made with.
        room: What copies of bodies may hold.
        observer: Looks at exchanges after they ended.
        traces: Begins a trace where a request has none.
    """

    __slots__ = (
        "_arms",
        "_mirrors",
        "_open_count",
        "_override_key",
        "_pools",
        "_slice_values",
        "_suspects",
        "_untimed",
        "coin",
        "compiled",
        "observer",
        "reach",
        "receipts",
        "recorder",
        "room",
        "server_timing",
        "traces",
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
        super().__init__(limits, monotonic, trusted_proxies)
        self.coin = coin
        self.recorder = Recorder(clock, monotonic, self._open_exchanges)
        self.server_timing = server_timing
        self.traces = Traces()
        self.room = Room()
        self._mirrors = Mirrors(self.recorder, limits, monotonic)
        self.reach = reach or Reach()
        self._override_key = override_key
        self._open_count = OpenCount()
        self.observer = Observer(self.recorder, monotonic)
        self.receipts = Receipts(receipt_key)
        self._untimed = 1

        self._begin_empty()

    # ------------------------------------------------------------------ routing

    def _begin_empty(self) -> None:
        self._pools: dict[tuple[ModelName, VersionName], Pool] = {}
        self._arms: dict[tuple[ModelName, VersionName], Arm] = {}
        self._suspects: list[Suspect] = []
        self._slice_values: dict[ModelName, dict[str, set[str]]] = {}
        self.compiled = CompiledTable(EMPTY_TABLE, {})

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
        self.compiled = CompiledTable(table, routes)
        now = self.monotonic()
        for key, pool in before.items():
            if self._pools.get(key) is not pool:
                pool.retire(now)

    def _compile_or_refuse(
        self,
        routed: RoutedModel,
        pools_before: dict[tuple[ModelName, VersionName], Pool],
        arms_before: dict[tuple[ModelName, VersionName], Arm],
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
        arms_before: dict[tuple[ModelName, VersionName], Arm],
    ) -> CompiledRoute:
        route = routed.route
        now = self.monotonic()
        arms: dict[VersionName, Arm] = {}
        for version in routed.versions:
            key = (version.model, version.name)
            pool = pools_before.get(key)
            totals = self.recorder.totals(version.model, version.name)
            if pool is None or pool.version != version:
                pool = Pool(version, routed.model.protocol, self.limits, self._open_count, self.reach, totals)
            pool.follow(route, now)
            arm = arms_before.get(key)
            if arm is None or arm.generation != route.generation or arm.pool is not pool:
                arm = Arm(version.model, route.generation, version.name, pool, totals, self.receipts.key)
            self._pools[key] = pool
            arms[version.name] = self._arms[key] = arm
        slice_values = self._slice_values.setdefault(routed.model.name, {})
        return CompiledRoute(routed, arms, self._open_count, self.room, slice_values)

    def _open_exchanges(self) -> list[Exchange]:
        """Every exchange under way."""
        found = (client._exchange for client in self.clients)  # noqa: SLF001 -- asked once per checkpoint
        return [exchange for exchange in found if exchange is not None]

    @property
    def pools(self) -> Collection[Pool]:
        """Every version's place in this process."""
        return self._pools.values()

    def may_override(self, key: bytes) -> bool:
        """Whether this key lets its bearer choose a version."""
        return bool(self._override_key) and compare_digest(key, self._override_key)

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
        self.keep_sweeping(loop)
        return ClientConnection(self, Uvicorn(config, server_state, app_state, loop))

    def new_request_id(self) -> bytes:
        """Of a request that is answered here: no exchange has it, so that no label can wait for one."""
        return secrets.token_hex(16).encode()

    def tell_overhead(self, started: float) -> None:
        """Count how long the gateway took from a request's last read to handing it on; of one in eight."""
        self._untimed -= 1
        if self._untimed:
            return
        self._untimed = _TIMED_ONE_IN
        overhead_us = (self.monotonic() - started) * 1e6
        recorder = self.recorder
        recorder.overhead[int(overhead_us).bit_length()] += 1
        recorder.overhead_us += overhead_us

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

    def mirror_later(self, exchange: Exchange, primary: Primary) -> None:
        """Copy an exchange that has ended."""
        asyncio.get_running_loop().call_soon(self._mirrors.send, exchange, primary)

    # ------------------------------------------------------------------ deadlines and ends

    def sweep(self, now: float) -> None:
        """Look at every deadline of every connection, exchange and version."""
        super().sweep(now)
        self.safely(self._mirrors.sweep, now)
        for pool in self._pools.values():
            served = pool.totals.exchanges + pool.totals.excluded
            if pool.is_restless or served != pool.served:
                self.safely(pool.sweep, now, served)
        for suspect in self._suspects:
            self.safely(suspect.sweep, now)

    def close(self) -> None:
        """Cut everything that is left and stop the timer."""
        super().close()
        self._mirrors.close()
        for pool in self._pools.values():
            pool.close()
