"""What the faults of bench.loop_faults happen to: a Postgres, a model server, gateways behind wires of their own.

The gateways reach Postgres as a role that owns the tables and is no superuser, so that rights can be taken from it;
what this process does to the database goes past the wires.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import orjson
import psycopg
from sqlalchemy import make_url

from app.actions.context import Means
from app.actions.models import register_model, register_version
from app.domain.catalog.models import Model, ModelName, Protocol, Version, VersionName
from app.store.pg import migrate
from app.store.pg.database import Database
from app.store.pg.embedded import EmbeddedPostgres, temporary_folder
from app.upstream_allow import LOOPBACK, AllowList
from bench.fault_wire import FaultWire

FRAUD, OTHER = ModelName("fraud"), ModelName("other")
V1, V2 = VersionName("v1"), VersionName("v2")
STABLE_ONLY, SPLIT = {V1: 10_000}, {V1: 9_000, V2: 1_000}
READY_S = 60.0
PATIENCE_S = 30.0
LOOK_EVERY_S = 0.02
REQUEST_EVERY_S = 0.05
DRAIN_S = 1.0
SECRET_KEY = "-".join(("of", "the", "bench") * 4)
# Which signal makes the process' own supervisor cancel which loop, as it would if that fell silent.
CANCELS = {"pull": signal.SIGUSR1, "push": signal.SIGUSR2, "tick": signal.SIGHUP}
GATEWAY = """
import asyncio, signal
from app import main, settings
class Loops(main.Loops):
    async def watch(self):
        for name, number in {cancels!r}.items():
            asyncio.get_running_loop().add_signal_handler(number, lambda name=name: self._lives[name].cancel())
        await super().watch()
main.Loops = Loops
raise SystemExit(main.serve(settings.load(), main.Role.ALL))
"""


@dataclass
class Gateway:
    """One gateway process in role all, its wire and what it said."""

    process: asyncio.subprocess.Process
    wire: FaultWire
    ops: httpx.AsyncClient
    inference: httpx.AsyncClient
    log: Path

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def metrics(self) -> dict[str, float]:
        """Every series by its name and labels as exposed."""
        text = (await self.ops.get("/metrics")).text
        return {name: float(value) for name, value in re.findall(r"^(\S+) (\S+)$", text, re.MULTILINE)}

    async def loop_ages(self) -> dict[str, float]:
        found = (await self.metrics()).items()
        return {name.split('"')[1]: age for name, age in found if name.startswith("turnback_loop_age_seconds{")}

    async def ready(self) -> dict[str, object]:
        document: dict[str, object] = (await self.ops.get("/readyz")).json()
        return document

    def events(self) -> list[str]:
        """The names of all events so far, in their order."""
        lines = self.log.read_bytes().splitlines()
        return [str(orjson.loads(line)["event"]) for line in lines if line.startswith(b"{")]

    async def ended(self, within_s: float) -> float | None:
        """Seconds until it ended; None when it had to be killed."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(within_s):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            return None
        return time.monotonic() - began


class World:
    """One database, and the gateways that use it."""

    def __init__(self, url: str, folder: Path, upstream: str) -> None:
        """Args: url: as superuser; folder: for what processes keep; upstream: a model server."""
        self._url = url
        self._folder = folder
        self._upstream = upstream
        self._made = 0
        self._asking: psycopg.AsyncConnection[tuple[object, ...]] | None = None
        self.generation = 0

    async def sql(self, *statements: str) -> None:
        """Run statements as superuser, whatever the database's defaults are."""
        connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, options="-c default_transaction_read_only=off"
        )
        async with connection:
            for statement in statements:
                await connection.execute(statement.encode())

    async def pushed_at(self) -> float:
        """Unix time of the newest push of any process."""
        if self._asking is None:
            self._asking = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
        found = await self._asking.execute("SELECT coalesce(extract(epoch FROM max(heartbeat)), 0) FROM replicas")
        row = await found.fetchone()
        return 0.0 if row is None else float(str(row[0]))

    async def close(self) -> None:
        if self._asking is not None:
            await self._asking.close()

    async def prepare(self) -> None:
        """Two models of two versions each."""
        await asyncio.to_thread(migrate.upgrade, self._as_owner)
        database = Database(self._as_owner)
        means = Means(database, _answers, AllowList(LOOPBACK).check, os.urandom)
        for model in (FRAUD, OTHER):
            await register_model(means, Model(model), actor="bench")
            for version in (V1, V2):
                await register_version(means, Version(model, version, (self._upstream,)), actor="bench")
        await database.close()
        self.generation = 1

    async def route(self, weights_bp: dict[VersionName, int]) -> int:
        """Commit new weights, past every wire; returns their generation."""
        self.generation += 1
        weights = orjson.dumps(weights_bp).decode()
        await self.sql(
            "BEGIN",
            f"UPDATE routes SET generation = {self.generation}, weights_bp = '{weights}' WHERE model = '{FRAUD}'",  # noqa: S608 -- our own words
            "INSERT INTO generations (model, generation, at, stable, weights_bp)"  # noqa: S608 -- our own words
            f" VALUES ('{FRAUD}', {self.generation}, clock_timestamp(), '{V1}', '{weights}')",
            "UPDATE routing SET revision = revision + 1",
            "SELECT pg_notify('turnback_routing', '')",
            "COMMIT",
        )
        return self.generation

    @asynccontextmanager
    async def gateway(self, **settings: str) -> AsyncIterator[Gateway]:
        """A process that is ready; killed at the end if it still lives. Args: settings: beside those of all."""
        self._made += 1
        state = self._folder / f"state-{self._made}"
        log = self._folder / f"log-{self._made}"
        ports = dict(zip(("inference", "admin", "ops"), _free_ports(), strict=False))
        async with FaultWire(self._as_owner).listening() as wire:
            with log.open("wb") as stderr:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", GATEWAY.format(cancels={k: int(v) for k, v in CANCELS.items()})),
                    env={**_environment(wire.url, state, ports), **_variables(settings)},
                    stderr=stderr,
                )
            async with _client(ports["ops"]) as ops, _client(ports["inference"]) as inference:
                gateway = Gateway(process, wire, ops, inference, log)
                asking = asyncio.create_task(_keep_asking(gateway))
                try:
                    await _until_ready(gateway)
                    yield gateway
                finally:
                    asking.cancel()
                    if process.returncode is None:
                        process.kill()
                        await process.wait()

    @property
    def _as_owner(self) -> str:
        return f"{self._url}&options={quote('-c role=turnback_owner')}"


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """A new one; all of it is gone at the end."""
    folder = await asyncio.to_thread(temporary_folder)
    postgres = EmbeddedPostgres(folder / "postgres")
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        url = await asyncio.to_thread(postgres.start)
        await _make_database(url)
        made = World(make_url(url).set(database="bench").render_as_string(hide_password=False), folder, upstream)
        await made.prepare()
        yield made
        await made.close()
    finally:
        server.close()
        await asyncio.to_thread(postgres.delete)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _make_database(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in (
            "ALTER SYSTEM SET fsync = off",
            "SELECT pg_reload_conf()",
            "CREATE ROLE turnback_owner",
            "CREATE DATABASE bench OWNER turnback_owner",
        ):
            await connection.execute(statement.encode())


async def _answers(_protocol: Protocol, _version: Version) -> str | None:
    return None


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A model server of one answer."""
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}")
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


async def _keep_asking(gateway: Gateway) -> None:
    """A little traffic, so that there is something to push."""
    while True:
        # It may be starting or ending.
        with suppress(httpx.HTTPError):
            await gateway.inference.get(f"/m/{FRAUD}/x")
        await asyncio.sleep(REQUEST_EVERY_S)


async def _until_ready(gateway: Gateway) -> None:
    async with asyncio.timeout(READY_S):
        while True:
            try:
                if (await gateway.ready())["status"] == "ready":
                    return
            except httpx.HTTPError:
                pass  # it does not listen yet
            await asyncio.sleep(LOOK_EVERY_S)


def _client(port: int) -> httpx.AsyncClient:
    # Shorter than a server keeps an idle connection, or the next request meets its end.
    limits = httpx.Limits(keepalive_expiry=1.0)
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10.0, limits=limits)


def _environment(url: str, state: Path, ports: dict[str, int]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TURNBACK_")}
    given = {
        "database_url": url,
        "state_dir": str(state),
        "secret_key": SECRET_KEY,
        "upstream_allow": "127.0.0.0/8",
        "inference_host": "127.0.0.1",
        "drain_s": str(DRAIN_S),
        "log_format": "json",
        **{f"{name}_port": str(port) for name, port in ports.items()},
    }
    return {**inherited, **_variables(given)}


def _variables(settings: dict[str, str]) -> dict[str, str]:
    return {f"TURNBACK_{name.upper()}": value for name, value in settings.items()}


def _free_ports() -> Iterator[int]:
    """Three that nobody listens on at this moment."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    yield from ports
