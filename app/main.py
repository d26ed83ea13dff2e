"""The composition root: settings, clocks, wiring, loops and signals of one process.

Rule: nothing is decided here and nobody imports this but the command line. A process serves
(`proxy`), decides (`control`) or both (`all`), in one event loop.
"""

import asyncio
import gc
import math
import os
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from socket import socket
from typing import Any

import structlog
import uvloop

from app import __version__, loops, readiness, telemetry
from app.actions.context import Means
from app.admin.api import admin_app
from app.control_plane import DecidingParts, deciding
from app.controller.probe import Prober
from app.data_plane import ServingParts, admin_port, allow_list, front, label_sources, ops_port, serving
from app.ending import Deadline
from app.errors import CannotServe, DatabaseUnavailable
from app.feedback import intake
from app.feedback.own_paths import Build, inference_app
from app.loops import Loop, Loops
from app.ops import Check, Readiness, ops_app
from app.proxy.bounds.admission import use_all_descriptors
from app.proxy.upstream.tls import upstream_context
from app.recording.journal import TEND_MAX_S
from app.replica.clock import DatabaseClock
from app.replica.figures import serving_arms
from app.settings import LogFormat, Settings
from app.starting import keep_state_private, opened, refuse
from app.store.pg import migrate
from app.store.pg.contact import Contact
from app.store.pg.database import Database
from app.store.pg.embedded import REVIVE_MAX_S, EmbeddedPostgres
from app.telemetry import Series
from app.web.listeners import Listener, bind, listener

RETRY_S = 1.0
# A migration may be long; one whose server hangs is tried again.
MIGRATION_MAX_S = 600.0

# After SIGTERM the process is gone within `drain_s` and this, whatever Postgres or a disk does ...
ENDING_MAX_S = 12.0
# ... of which each part has its own.
LISTENERS_MAX_S = 1.0
LOOPS_MAX_S = 1.0
LAST_PUSHES_MAX_S = 4.0
JOURNAL_MAX_S = 2.0
# After a second signal, for an embedded server to stop in order; and for the interpreter, when all else is done.
AT_ONCE_S = 3.0
LAST_STEP_S = 1.0

log = structlog.get_logger()


class Role(StrEnum):
    """What a process does."""

    ALL = "all"
    PROXY = "proxy"
    CONTROL = "control"

    @property
    def serves(self) -> bool:
        """Whether it answers inference requests."""
        return self is not Role.CONTROL

    @property
    def decides(self) -> bool:
        """Whether it answers the admin API and judges rollouts."""
        return self is not Role.PROXY


def serve(settings: Settings, role: Role) -> int:
    """Run one process until a signal ends it; returns its exit status.

    On stderr, `server.ready` says in one event which addresses it has: keys `inference`, `admin`, `ops`.
    """
    telemetry.configure_logging(pretty={LogFormat.JSON: False, LogFormat.PRETTY: True}.get(settings.log_format))
    try:
        refuse(settings, role, decides=role.decides)
        keep_state_private(settings, serves=role.serves)
        use_all_descriptors()
        deadline = Deadline()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            status = runner.run(_Process(settings, role, deadline).run())
            # The runner waits for worker threads, which may hang.
            deadline.within(LAST_STEP_S, status=status)
            return status
    except CannotServe as refused:
        sys.stderr.write(f"{refused}\n")
    except asyncio.CancelledError:
        log.warning("server.cut_short", role=role)
    return 1


def openapi_documents() -> dict[str, dict[str, Any]]:
    """What `openapi/NAME.json` should hold, by name."""
    return {
        "inference": inference_app(Build(__version__, boot=""), None).openapi(),
        "admin": admin_app(None, version=__version__, body_max_bytes=0).openapi(),
    }


async def _at_most(limit_s: float, part: str, doing: Awaitable[object]) -> None:
    """Give up on a part of the end that takes too long."""
    try:
        async with asyncio.timeout(limit_s):
            await doing
    except TimeoutError:
        log.warning("server.gave_up", part=part, after_s=limit_s)


@dataclass(frozen=True, slots=True)
class _Planes:
    """What this process is made of, by its role."""

    serving: ServingParts | None
    deciding: DecidingParts | None

    def __iter__(self) -> Iterator[ServingParts | DecidingParts]:
        return (plane for plane in (self.serving, self.deciding) if plane is not None)

    @property
    def arms(self) -> set[tuple[str, str]]:
        """Model and version of every arm that gets traffic here."""
        return set() if self.serving is None else serving_arms(self.serving.gateway.table)

    def contacts(self) -> Iterator[Contact]:
        """What each loop finds at Postgres."""
        for plane in self:
            yield from plane.contacts()


@dataclass(frozen=True, slots=True)
class _ProcessFigures:
    """What only the composition root knows: the build, the loops and the database."""

    role: Role
    loops: Loops
    planes: _Planes

    def series(self) -> Iterator[Series]:
        yield Series(telemetry.BUILD_INFO, (__version__, self.role), 1.0)
        for each in self.loops.heard:
            if math.isfinite(each.silent_after_s):
                yield Series(telemetry.LOOP_AGE, (each.name,), each.age_s)
        reached = readiness.of_database(self.planes.contacts(), vital=False).ok
        yield Series(telemetry.DB_UP, (), float(reached))


class _Process:
    """One process from its first socket to its last."""

    def __init__(self, settings: Settings, role: Role, deadline: Deadline) -> None:
        self._settings = settings
        self._role = role
        self._deadline = deadline
        self._boot = secrets.token_hex(16)
        self._clock = DatabaseClock(time.time, time.monotonic)
        self._tls = upstream_context(settings.upstream_ca_file, settings.upstream_cert_file, settings.upstream_key_file)
        # In a process that only decides, too: what is wrong with a setting is told at every start.
        label_sources(settings)
        self._front = front(settings, self._clock.now, self._tls) if role.serves else None
        self._decided = telemetry.DecisionCount()
        self._migrated = asyncio.Event()
        self._migration_tried = asyncio.Event()
        self._draining = False
        self._stop = asyncio.Event()
        self._signals = 0
        self._loops = Loops()

    async def run(self) -> int:
        self._own_signals()
        async with AsyncExitStack() as stack:
            sockets = {name: stack.enter_context(bind(name, host, port)) for name, host, port in self._addresses()}
            url = await self._database_url(stack)
            database = opened(url)
            stack.push_async_callback(database.close)
            stack.push_async_callback(self._end_loops)
            prober = await stack.enter_async_context(Prober(self._settings.probe_timeout_s, self._tls))
            planes = self._planes(database, prober)
            listeners = list(self._listeners(planes, sockets))
            if planes.serving is not None:
                await planes.serving.journal.open()
            serving = {each.name: asyncio.create_task(each.serve()) for each in listeners}
            watching = asyncio.create_task(self._loops.watch())
            stack.callback(watching.cancel)
            self._start_loops(planes, url)
            self._loops.start(Loop("ready", lambda: self._announce(planes, listeners), math.inf, once=True))
            await self._stop.wait()
            await self._drain(planes, listeners, serving)
        log.info("server.stopped", role=self._role)
        return 0

    # ------------------------------------------------------------------ wiring

    def _addresses(self) -> Iterator[tuple[str, str, int]]:
        settings = self._settings
        if self._role.serves:
            yield "inference", settings.inference_host, settings.inference_port
        if self._role.decides:
            yield "admin", settings.admin_host, settings.admin_port
        yield "ops", settings.ops_host, settings.ops_port

    async def _database_url(self, stack: AsyncExitStack) -> str:  # ADR 0007
        if self._settings.database_url is not None:
            return self._settings.database_url.get_secret_value()
        embedded = EmbeddedPostgres(self._settings.state_dir / "postgres")
        stack.push_async_callback(asyncio.to_thread, embedded.stop)
        url = await asyncio.to_thread(embedded.start)
        self._loops.start(Loop("postgres", embedded.keep_running, REVIVE_MAX_S))
        return url

    def _planes(self, database: Database, prober: Prober) -> _Planes:
        settings = self._settings
        means = Means(database, prober, allow_list(settings).check, secrets.token_bytes)
        serves = None
        if self._front is not None:
            serves = serving(self._front, settings, database, self._clock, self._boot, self._role)
        return _Planes(serves, deciding(settings, means, self._decided) if self._role.decides else None)

    def _listeners(self, planes: _Planes, sockets: dict[str, socket]) -> Iterator[Listener]:
        settings = self._settings
        listen = partial(listener, drain_s=settings.drain_s)
        if planes.serving is not None:
            own_paths = inference_app(Build(__version__, self._boot), planes.serving.feedback)
            yield listen("inference", sockets["inference"], own_paths, http=planes.serving.gateway.protocol)
        if planes.deciding is not None:
            yield listen("admin", sockets["admin"], planes.deciding.admin, http=admin_port(settings).protocol)
        labels = telemetry.BoundedLabels(lambda: planes.arms)
        ops = ops_app(telemetry.registry(list(self._figures(planes)), labels), lambda: self._readiness(planes))
        yield listen("ops", sockets["ops"], ops, http=ops_port(settings).protocol)

    def _figures(self, planes: _Planes) -> Iterator[telemetry.Source]:
        yield _ProcessFigures(self._role, self._loops, planes)
        yield self._decided
        for plane in planes:
            yield from plane.figures()

    # ------------------------------------------------------------------ loops

    def _start_loops(self, planes: _Planes, url: str) -> None:
        """In a process that migrates, nothing reads a table before it is there, unless Postgres is away."""
        if planes.deciding is not None:
            self._loops.start(Loop("migration", lambda: self._migrate(url), MIGRATION_MAX_S, once=True))
        if planes.serving is not None:
            self._loops.start(Loop("journal", planes.serving.journal.run, TEND_MAX_S))
            for each in planes.serving.replica.loops():
                self._start_after(self._migration_tried, each)
            labels = Loop("feedback", planes.serving.feedback.intake.run, intake.STEP_MAX_S)
            self._start_after(self._migration_tried, labels)
        if planes.deciding is not None:
            self._start_after(self._migrated, planes.deciding.controller.loop())

    def _start_after(self, migration: asyncio.Event, loop: Loop) -> None:
        async def wait_then_run() -> None:
            if self._role.decides:
                await loops.wait_beating(migration)
            await loop.run()

        self._loops.start(replace(loop, run=wait_then_run))

    async def _migrate(self, url: str) -> None:
        while not self._migrated.is_set():
            try:
                await asyncio.to_thread(migrate.upgrade, url)
                self._migrated.set()
                self._migration_tried.set()
            except DatabaseUnavailable:
                loops.beat()
                self._migration_tried.set()
                log.warning("database.unreachable", retry_s=RETRY_S)
                await asyncio.sleep(RETRY_S)

    async def _end_loops(self) -> None:
        left = await self._loops.end(LOOPS_MAX_S)
        if left:
            log.error("loop.not_ended", loops=left)

    # ------------------------------------------------------------------ life

    async def _announce(self, planes: _Planes, listeners: list[Listener]) -> None:
        addresses = {each.name: each.address for each in listeners}
        log.info("server.started", role=self._role, boot=self._boot, pid=os.getpid(), **addresses)
        # Readiness is the sum of parts that do not know of it.
        while not (all(each.server.started for each in listeners) and self._readiness(planes).ready):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        # What lives until now lives on: the collector need not look at it at every pass.
        gc.collect()
        gc.freeze()
        log.info("server.ready", role=self._role, boot=self._boot, pid=os.getpid(), **addresses)

    def _own_signals(self) -> None:  # ADR 0030
        loop = asyncio.get_running_loop()
        process = asyncio.current_task()

        def asked_to_stop() -> None:
            self._signals += 1
            if self._signals == 1:
                self._deadline.within(self._settings.drain_s + ENDING_MAX_S)
            elif process is not None:
                self._deadline.within(AT_ONCE_S if self._signals == 2 else 0.0)
                process.cancel()
            self._stop.set()

        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, asked_to_stop)

    async def _drain(self, planes: _Planes, listeners: list[Listener], serving: dict[str, asyncio.Task[None]]) -> None:
        """Stop accepting, let exchanges finish, write the last tallies; the ops listener ends last."""
        self._draining = True
        grace_s, serves = self._settings.drain_s, planes.serving
        log.info("server.draining", grace_s=grace_s)
        if serves is not None:
            serves.gateway.drain()
        drained = (each.drain(serving[each.name]) for each in listeners if each.name != "ops")
        await _at_most(grace_s + LISTENERS_MAX_S, "listeners", asyncio.gather(*drained))
        if serves is not None:
            serves.gateway.close()
        await self._end_loops()
        if serves is not None:
            await _at_most(LAST_PUSHES_MAX_S, "last tallies", serves.push_all())
            await _at_most(JOURNAL_MAX_S, "journal", serves.journal.close())
        drained = (each.drain(serving[each.name]) for each in listeners if each.name == "ops")
        await _at_most(LISTENERS_MAX_S, "ops listener", asyncio.gather(*drained))

    def _readiness(self, planes: _Planes) -> Readiness:
        checks: dict[str, Check] = {} if planes.serving is None else dict(planes.serving.checks())
        alone = self._role is Role.CONTROL
        checks["database"] = readiness.of_database(planes.contacts(), vital=alone)
        if planes.deciding is not None:
            checks.update(planes.deciding.checks())
            current = self._migrated.is_set()
            checks["migrations"] = Check(current, vital=alone, detail="current" if current else "not current yet")
        checks["loops"] = readiness.of_loops(self._loops.silent)
        if self._draining:
            checks["draining"] = Check(ok=False, vital=True, detail="the process is ending")
        return Readiness(self._role, checks)
