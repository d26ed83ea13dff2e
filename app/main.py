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
from dataclasses import replace
from enum import StrEnum
from typing import Any

import structlog
import uvloop
from pydantic import SecretStr

from app import __version__, loops, readiness, telemetry
from app.actions.context import Means
from app.admin.api import admin_app
from app.admin.dependencies import Services
from app.controller.controller import Controller
from app.controller.figures import StandingFigures
from app.controller.probe import Prober
from app.data_plane import admin_port, allow_list, data_plane, ops_port
from app.ending import Deadline
from app.errors import CannotServe, DatabaseUnavailable
from app.feedback import api as feedback_api
from app.feedback import intake
from app.feedback.desk import FeedbackDesk, feedback_desk
from app.feedback.keys import receipt_keys, sources
from app.feedback.own_paths import Build, inference_app
from app.loops import Loop, Loops
from app.ops import Check, Readiness, ops_app
from app.proxy.bounds.admission import use_all_descriptors
from app.proxy.metrics import ObserverFigures, RecorderFigures, UpstreamFigures
from app.proxy.upstream.tls import upstream_context
from app.recording.journal import TEND_MAX_S, Journal
from app.recording.recovery import DeadBoots
from app.replica.clock import DatabaseClock
from app.replica.figures import RoutingFigures, serving_arms
from app.replica.replica import Pace, Replica
from app.replica.snapshot import Snapshot
from app.settings import LogFormat, Settings
from app.starting import keep_state_private, opened, refuse
from app.store.pg import migrate
from app.store.pg.contact import Contact
from app.store.pg.database import Database
from app.store.pg.embedded import REVIVE_MAX_S, EmbeddedPostgres
from app.store.routing.replicas import Brake
from app.telemetry import Series
from app.web.listeners import Listener, bind, listener

RETRY_S = 1.0
LAST_PUSHES_MAX = 20
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
        "inference": inference_app(Build(__version__, boot=""), [feedback_api.router]).openapi(),
        "admin": admin_app(None, version=__version__, body_max_bytes=0).openapi(),
    }


def _secret(given: SecretStr | None) -> str | None:
    return None if given is None else given.get_secret_value()


async def _at_most(limit_s: float, part: str, doing: Awaitable[object]) -> None:
    """Give up on a part of the end that takes too long."""
    try:
        async with asyncio.timeout(limit_s):
            await doing
    except TimeoutError:
        log.warning("server.gave_up", part=part, after_s=limit_s)


class _Process:
    """One process from its first socket to its last."""

    def __init__(self, settings: Settings, role: Role, deadline: Deadline) -> None:
        self._settings = settings
        self._role = role
        self._deadline = deadline
        self._boot = secrets.token_hex(16)
        self._clock = DatabaseClock(time.time, time.monotonic)
        self._tls = upstream_context(settings.upstream_ca_file, settings.upstream_cert_file, settings.upstream_key_file)
        self._receipt_keys = (
            receipt_keys(_secret(settings.secret_key), settings.state_dir, embedded=settings.embedded)
            if role.serves
            else ()
        )
        self._sources_of_labels = sources(_secret(settings.feedback_keys))
        self._gateway = data_plane(settings, self._clock.now, self._tls, next(iter(self._receipt_keys), None))
        self._decided = telemetry.DecisionCount()
        self._database: Database | None = None
        self._replica: Replica | None = None
        self._journal: Journal | None = None
        self._controller: Controller | None = None
        self._feedback: FeedbackDesk | None = None
        self._migrated = asyncio.Event()
        self._migration_tried = asyncio.Event()
        self._draining = False
        self._stop = asyncio.Event()
        self._signals = 0
        self._loops = Loops()

    async def run(self) -> int:
        self._own_signals()
        async with AsyncExitStack() as stack:
            sockets = {}
            for name, host, port in self._addresses():
                sockets[name] = stack.enter_context(bind(name, host, port))
            url = await self._database_url(stack)
            self._database = opened(url)
            stack.push_async_callback(self._database.close)
            stack.push_async_callback(self._end_loops)
            prober = await stack.enter_async_context(Prober(self._settings.probe_timeout_s, self._tls))
            listeners = self._wire(self._database, prober, sockets)
            if self._journal is not None:
                await self._journal.open()
            serving = {each.name: asyncio.create_task(each.serve()) for each in listeners}
            watching = asyncio.create_task(self._loops.watch())
            stack.callback(watching.cancel)
            self._start_loops(url)
            self._loops.start(Loop("ready", lambda: self._announce(listeners), math.inf, once=True))
            await self._stop.wait()
            await self._drain(listeners, serving)
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

    async def _database_url(self, stack: AsyncExitStack) -> str:
        if self._settings.database_url is not None:
            return self._settings.database_url.get_secret_value()
        embedded = EmbeddedPostgres(self._settings.state_dir / "postgres")
        stack.push_async_callback(asyncio.to_thread, embedded.stop)
        url = await asyncio.to_thread(embedded.start)
        self._loops.start(Loop("postgres", embedded.keep_running, REVIVE_MAX_S))
        return url

    def _wire(self, database: Database, prober: Prober, sockets: dict[str, Any]) -> list[Listener]:
        settings = self._settings
        means = Means(database, prober, allow_list(settings).check, secrets.token_bytes)
        drain_s = settings.drain_s
        listeners = []
        if self._role.serves:
            self._journal = Journal(settings.state_dir / "journal", self._boot, self._gateway.recorder)
            self._replica = Replica(
                database,
                self._boot,
                self._role,
                swap=self._gateway.swap,
                collect=self._gateway.collect,
                acknowledge=self._gateway.recorder.acknowledge,
                collect_observed=self._gateway.collect_observed,
                acknowledge_observed=self._gateway.acknowledge_observed,
                open_brakes=lambda: [
                    Brake(brake.model, brake.version, brake.cause) for brake in self._gateway.open_brakes()
                ],
                clock=self._clock,
                pace=Pace(settings.poll_interval_s, settings.flush_interval_s, settings.canary_max_stale_s),
                dead_boots=DeadBoots(settings.state_dir / "journal").find,
                snapshot=Snapshot(settings.state_dir),
            )
            own_paths = inference_app(Build(__version__, self._boot), [feedback_api.router])
            own_paths.state.feedback = self._feedback = self._feedback_desk(database)
            listeners.append(
                listener("inference", sockets["inference"], own_paths, drain_s=drain_s, http=self._gateway.protocol)
            )
        if self._role.decides:
            self._controller = Controller(
                means,
                decided=self._decided,
                tick_interval_s=settings.tick_interval_s,
                tally_keep_days=settings.tally_keep_days,
                monotonic=time.monotonic,
                wall=time.time,
            )
            app = admin_app(
                Services(means, settings.timeouts, settings.observed_window_s, self._decided),
                version=__version__,
                body_max_bytes=settings.admin_body_max_bytes,
            )
            http = admin_port(settings).protocol
            listeners.append(listener("admin", sockets["admin"], app, drain_s=drain_s, http=http))
        labels = telemetry.BoundedLabels(lambda: serving_arms(self._gateway.table))
        ops = ops_app(telemetry.registry(list(self._sources()), labels), self._readiness)
        listeners.append(listener("ops", sockets["ops"], ops, drain_s=drain_s, http=ops_port(settings).protocol))
        return listeners

    def _feedback_desk(self, database: Database) -> FeedbackDesk:
        settings = self._settings
        return feedback_desk(
            database,
            settings.state_dir,
            self._boot,
            keys=self._receipt_keys,
            is_ahead=self._gateway.receipts.is_ahead,
            sources=self._sources_of_labels,
            table=lambda: self._gateway.table,
            keep_days=settings.tally_keep_days,
            clock=self._clock.now,
            monotonic=time.monotonic,
        )

    # ------------------------------------------------------------------ loops

    def _start_loops(self, url: str) -> None:
        """In a process that migrates, nothing reads a table before it is there, unless Postgres is away."""
        if self._role.decides:
            self._loops.start(Loop("migration", lambda: self._migrate(url), MIGRATION_MAX_S, once=True))
        if self._journal is not None:
            self._loops.start(Loop("journal", self._journal.run, TEND_MAX_S))
        if self._replica is not None:
            for each in self._replica.loops():
                self._start_after(self._migration_tried, each)
        if self._feedback is not None:
            labels = Loop("feedback", self._feedback.intake.run, intake.STEP_MAX_S)
            self._start_after(self._migration_tried, labels)
        if self._controller is not None:
            self._start_after(self._migrated, self._controller.loop())

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

    async def _announce(self, listeners: list[Listener]) -> None:
        addresses = {each.name: each.address for each in listeners}
        log.info("server.started", role=self._role, boot=self._boot, pid=os.getpid(), **addresses)
        # Readiness is the sum of parts that do not know of it.
        while not (all(each.server.started for each in listeners) and self._readiness().ready):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        # What lives until now lives on: the collector need not look at it at every pass.
        gc.collect()
        gc.freeze()
        log.info("server.ready", role=self._role, boot=self._boot, pid=os.getpid(), **addresses)

    def _own_signals(self) -> None:
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

    async def _drain(self, listeners: list[Listener], serving: dict[str, asyncio.Task[None]]) -> None:
        """Stop accepting, let exchanges finish, write the last tallies; the ops listener ends last."""
        self._draining = True
        grace_s = self._settings.drain_s
        log.info("server.draining", grace_s=grace_s)
        self._gateway.drain()
        drained = (each.drain(serving[each.name]) for each in listeners if each.name != "ops")
        await _at_most(grace_s + LISTENERS_MAX_S, "listeners", asyncio.gather(*drained))
        self._gateway.close()
        await self._end_loops()
        if self._replica is not None and self._journal is not None:
            await _at_most(LAST_PUSHES_MAX_S, "last tallies", self._push_all(self._replica))
            await _at_most(JOURNAL_MAX_S, "journal", self._journal.close())
        drained = (each.drain(serving[each.name]) for each in listeners if each.name == "ops")
        await _at_most(LISTENERS_MAX_S, "ops listener", asyncio.gather(*drained))

    async def _push_all(self, replica: Replica) -> None:
        """The last tallies; one push may not hold all of them after an outage."""
        for _ in range(LAST_PUSHES_MAX):
            written = await replica.push()
            left = self._gateway.waiting
            if left == 0:
                return
            if not written:
                break
        log.error("tallies.not_all_written", rows=left)

    # ------------------------------------------------------------------ what telemetry asks

    def _readiness(self) -> Readiness:
        checks: dict[str, Check] = {}
        if self._replica is not None:
            brakes = (f"{brake.model}/{brake.version}" for brake in self._gateway.open_brakes())
            checks.update(readiness.of_replica(self._replica.status, self._gateway.table.revision, brakes))
        if self._journal is not None:
            up = self._journal.is_up
            checks["journal"] = Check(up, vital=False, detail="written" if up else "not writable")
        alone = self._role is Role.CONTROL
        checks["database"] = readiness.of_database(self._contacts(), vital=alone)
        if self._controller is not None:
            checks["rollouts"] = readiness.of_rollouts(self._controller.standing.unreadable)
        if self._role.decides:
            current = self._migrated.is_set()
            checks["migrations"] = Check(current, vital=alone, detail="current" if current else "not current yet")
        checks["loops"] = readiness.of_loops(self._loops.silent)
        if self._draining:
            checks["draining"] = Check(ok=False, vital=True, detail="the process is ending")
        return Readiness(self._role, checks)

    def _contacts(self) -> Iterator[Contact]:
        """What each loop finds at Postgres."""
        if self._replica is not None:
            yield from self._replica.status.contacts
        if self._feedback is not None:
            yield self._feedback.intake.contact
        if self._controller is not None:
            yield self._controller.contact

    def _sources(self) -> Iterator[telemetry.Source]:
        yield self
        yield self._decided
        if self._role.serves:
            yield RecorderFigures(self._gateway.recorder, time.monotonic)
            yield ObserverFigures(self._gateway.observer)
            yield UpstreamFigures(self._gateway)
        if self._replica is not None:
            yield RoutingFigures(lambda: self._gateway.table, self._replica)
        if self._feedback is not None:
            yield self._feedback.figures
        if self._controller is not None:
            controller = self._controller
            yield StandingFigures(lambda: controller.standing)

    def series(self) -> Iterator[Series]:
        """What only the composition root knows: the build, the loops and the database."""
        yield Series(telemetry.BUILD_INFO, (__version__, self._role), 1.0)
        for each in self._loops.heard:
            if math.isfinite(each.silent_after_s):
                yield Series(telemetry.LOOP_AGE, (each.name,), each.age_s)
        reached = readiness.of_database(self._contacts(), vital=False).ok
        yield Series(telemetry.DB_UP, (), float(reached))
