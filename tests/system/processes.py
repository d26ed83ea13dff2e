"""Real processes under test: gateways in any role, and model servers. Each ends with the test that started it."""

import asyncio
import os
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import orjson

from app.store.pg.embedded import temporary_folder

MODEL_SERVER = Path(__file__).with_name("model_server.py")
READY_WITHIN_S = 60.0
NEVER = {
    "loop.failed",
    "loop.ended",
    "loop.silent",
    "loop.not_ended",
    "loop.look_failed",
    "gateway.sweep_failed",
    "model.unreadable",
    "rollout.unreadable",
    "admin.request_failed",
    "rollout.look_failed",
    "tallies.not_all_written",
}
# What signs receipts; the same in all processes of a test.
SECRET_KEY = "-".join(("of", "the", "tests") * 4)
SERVE = "from app import main, settings; raise SystemExit(main.serve(settings.load(), main.Role({role!r})))"
FEW_DESCRIPTORS = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({count}, {count})); "


def clean_environment(**given: str) -> dict[str, str]:
    """This process's environment without any setting of Turnback, with the given ones."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TURNBACK_")}
    return {**inherited, **{f"TURNBACK_{name.upper()}": value for name, value in given.items()}}


@dataclass
class Gateway:
    """One `serve` process and what it said on stderr."""

    process: asyncio.subprocess.Process
    events: list[dict[str, Any]] = field(default_factory=list)
    other_lines: list[str] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    _heard: "asyncio.Task[None] | None" = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def start(
        cls, role: str, *, wait_for: str = "server.ready", descriptors: int | None = None, **settings: str
    ) -> Self:
        ports = {"inference_port": "0", "admin_port": "0", "ops_port": "0", "inference_host": "127.0.0.1"}
        keys = {"secret_key": SECRET_KEY} if "database_url" in settings else {}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            (FEW_DESCRIPTORS.format(count=descriptors) if descriptors else "") + SERVE.format(role=role),
            env=clean_environment(**{**ports, **keys, **settings}),
            stderr=asyncio.subprocess.PIPE,
        )
        gateway = cls(process)
        gateway._heard = asyncio.create_task(gateway._listen())
        if wait_for:
            gateway.addresses = await gateway.event(wait_for)
        return gateway

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                self.events.append(orjson.loads(line))
            except ValueError:
                self.other_lines.append(line.decode().rstrip())
            self._changed.set()
        self._changed.set()

    async def event(self, name: str, within_s: float = READY_WITHIN_S) -> dict[str, Any]:
        """The first event of that name, now or later."""
        async with asyncio.timeout(within_s):
            while True:
                for event in self.events:
                    if event["event"] == name:
                        return event
                if self._heard is None or self._heard.done():
                    raise AssertionError(f"ended without {name}: {self.other_lines[-20:]} {self.events[-5:]}")
                self._changed.clear()
                await self._changed.wait()

    async def serves(self, *models: str) -> None:
        """Until the data plane knows these models."""
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(10):
            known = ""
            while not all(f'turnback_generation{{model="{model}"}}' in known for model in models):
                await asyncio.sleep(0.02)
                known = (await http.get(f"{self.url('ops')}/metrics")).text

    @property
    def inference_port(self) -> int:
        return int(self.addresses["inference"].rpartition(":")[2])

    def url(self, listener: str) -> str:
        return f"http://{self.addresses[listener]}"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.returncode is None:
            self.process.terminate()
        return await self.ended()

    async def ended(self, within_s: float = 30.0) -> int:
        async with asyncio.timeout(within_s):
            status = await self.process.wait()
            if self._heard is not None:
                await self._heard
        return status

    async def end(self) -> None:
        """Stop it without waiting for a drain; an embedded server must not outlive it."""
        if self.process.returncode is None:
            self.process.terminate()
            self.process.terminate()
        try:
            await self.ended()
        except TimeoutError:
            self.process.kill()
            raise

    @property
    def bugs(self) -> list[dict[str, Any]]:
        """What it reported of itself that must never happen; a trace is of what nobody foresaw."""
        return [event for event in self.events if event["event"] in NEVER or "exception" in event]


@dataclass
class ModelServer:
    """One model server process."""

    process: asyncio.subprocess.Process
    port: int

    @classmethod
    async def start(
        cls, name: str, *, error_rate: float = 0.0, delay_ms: float = 0.0, says: float | None = None
    ) -> Self:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(MODEL_SERVER),
            *("--name", name, "--error-rate", str(error_rate), "--delay-ms", str(delay_ms)),
            *(() if says is None else ("--says", str(says))),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        return cls(process, int(await process.stdout.readline()))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        # Reads the pipe to its end too: an unread one is a leak.
        await self.process.communicate()


class Admin:
    """The admin API as a person uses it: every call must succeed."""

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(base_url=f"{url}/v1", trust_env=False, timeout=10)

    async def __call__(self, method: str, path: str, **body: object) -> Any:  # noqa: ANN401 -- a document
        answer = await self.http.request(method, path, json=body or None)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def register(self, model: str, **servers: ModelServer) -> None:
        """A model and its versions; the first one becomes stable."""
        await self("POST", "/models", name=model)
        await self.register_versions(model, **servers)

    async def register_versions(self, model: str, **servers: ModelServer) -> None:
        """Versions of a model that is there."""
        for version, server in servers.items():
            await self("PUT", f"/models/{model}/versions/{version}", urls=[server.url], health_path="/ready")

    async def phase_after(self, rollout_id: str, *phases: str, within_s: float = 60.0) -> Any:  # noqa: ANN401 -- a document
        """The rollout as soon as it has reached one of the phases."""
        async with asyncio.timeout(within_s):
            while True:
                rollout = await self("GET", f"/rollouts/{rollout_id}")
                if rollout["phase"] in phases:
                    return rollout
                await asyncio.sleep(0.1)


class Stage:
    """Everything one test starts, ended in reverse order whatever happened."""

    def __init__(self) -> None:
        self._started: list[Gateway | ModelServer] = []
        self._admins: list[Admin] = []
        self._state = temporary_folder()

    async def gateway(self, role: str, *, descriptors: int | None = None, **settings: str) -> Gateway:
        # Never the working folder's: a process recovers what it finds there.
        settings.setdefault("state_dir", str(self._state))
        gateway = await Gateway.start(role, descriptors=descriptors, **settings)
        self._started.append(gateway)
        return gateway

    async def model_server(
        self, name: str, *, error_rate: float = 0.0, delay_ms: float = 0.0, says: float | None = None
    ) -> ModelServer:
        server = await ModelServer.start(name, error_rate=error_rate, delay_ms=delay_ms, says=says)
        self._started.append(server)
        return server

    def admin(self, gateway: Gateway) -> Admin:
        admin = Admin(gateway.url("admin"))
        self._admins.append(admin)
        return admin

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for admin in self._admins:
            await admin.http.aclose()
        for each in reversed(self._started):
            await each.end()
        shutil.rmtree(self._state, ignore_errors=True)
        bugs = [bug for each in self._started if isinstance(each, Gateway) for bug in each.bugs]
        assert bugs == [], bugs
