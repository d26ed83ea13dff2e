"""Everything the story needs running: Postgres, the gateway and one model server per version."""

import asyncio
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from app.demo.children import CannotPlay, Child, end, start, uninterrupted
from app.demo.model_server import BUILDS
from app.errors import CannotServe
from app.store.pg.embedded import EmbeddedPostgres, temporary_folder

# All trainings at once on few cores: threads inside each would only spin.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
GATEWAY = (sys.executable, "-m", "app", "serve")


@dataclass(frozen=True, slots=True)
class Stage:
    """The running processes; `servers` by version."""

    postgres: EmbeddedPostgres
    gateway: Child
    servers: Mapping[str, Child]

    @property
    def inference_port(self) -> int:
        return int(self.gateway.ready["inference"].rpartition(":")[2])

    @property
    def inference_url(self) -> str:
        return f"http://127.0.0.1:{self.inference_port}"

    @property
    def admin_url(self) -> str:
        return f"http://{self.gateway.ready['admin']}"

    def server_url(self, version: str) -> str:
        return f"http://127.0.0.1:{self.servers[version].ready['port']}"

    def check(self) -> None:
        """Raises: CannotPlay when a process is gone."""
        for child in (self.gateway, *self.servers.values()):
            child.check()


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Start everything; end everything, whatever happens. Raises: CannotPlay."""
    async with AsyncExitStack() as ends:
        folder = Path(tempfile.mkdtemp(prefix="turnback-demo-"))
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        problem: Exception | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                gateway = tasks.create_task(_gateway(ends, folder))
                servers = [tasks.create_task(_server(ends, version, folder)) for version in BUILDS]
        except* CannotPlay as problems:
            # What is raised in here would come out in a group again.
            problem = problems.exceptions[0]
        if problem is not None:
            raise problem
        postgres, child = gateway.result()
        yield Stage(postgres, child, {version: task.result() for version, task in zip(BUILDS, servers, strict=True)})


async def _postgres(ends: AsyncExitStack) -> tuple[EmbeddedPostgres, str]:
    try:
        # Beside the folder of the others, which the server's user has no business in.
        folder = temporary_folder("turnback-demo-")
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = EmbeddedPostgres(folder / "postgres")
        ends.push_async_callback(asyncio.to_thread, postgres.delete)
        return postgres, await uninterrupted(postgres.start)
    except CannotServe as problem:
        raise CannotPlay(f"Postgres did not start: {problem}") from problem


async def _gateway(ends: AsyncExitStack, folder: Path) -> tuple[EmbeddedPostgres, Child]:
    postgres, database_url = await _postgres(ends)
    settings = {
        "TURNBACK_DATABASE_URL": database_url,
        "TURNBACK_STATE_DIR": str(folder / "state"),
        "TURNBACK_SECRET_KEY": secrets.token_hex(32),
        "TURNBACK_UPSTREAM_ALLOW": "127.0.0.1",
        "TURNBACK_INFERENCE_HOST": "127.0.0.1",
        "TURNBACK_INFERENCE_PORT": "0",
        "TURNBACK_ADMIN_PORT": "0",
        "TURNBACK_OPS_PORT": "0",
        "TURNBACK_LOG_FORMAT": "json",
    }
    child = await start("the gateway", GATEWAY, folder / "gateway.log", settings)
    ends.push_async_callback(end, child.process)
    return postgres, child


async def _server(ends: AsyncExitStack, version: str, folder: Path) -> Child:
    command = [sys.executable, "-m", "app.demo.model_server", "--version", version]
    child = await start(f"the model server of {version}", command, folder / f"{version}.log", ONE_THREAD)
    ends.push_async_callback(end, child.process)
    return child
