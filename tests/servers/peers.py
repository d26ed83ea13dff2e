"""Peers: model servers and clients of others, their pinned packages, their processes.

Rule: a peer runs in a cached environment of its own, never in ours, and a peer's whole process
group ends with the test module that started it.
"""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from bench.environments import EnvironmentUnavailable, environment, is_built

WANTED = "TURNBACK_TEST_SERVERS"
PROGRAMS = Path(__file__).with_name("programs")
READY_WITHIN_S = 90.0
# Triton takes its time to end, and leaves shared memory behind when it is killed.
GRACE_S = 30.0
_ANSWERED_WITHIN_S = 60.0
_LOG_END = 3000


@dataclass(frozen=True)
class Peer:
    """Somebody else's program.

    Attributes:
        requirements: As pip takes them, pinned; the first one is what the peer is known by.
        program: What runs in its environment, a file in `programs`.
        ready_path: Answers 200 when a server may be asked; empty for a client.
    """

    name: str
    requirements: tuple[str, ...]
    program: str
    ready_path: str = ""

    @property
    def label(self) -> str:
        """Package and version, as in `litserve 0.2.19`."""
        package, _, version = self.requirements[0].partition("==")
        return f"{package} {version}"

    def python(self) -> Path:
        """The Python of its environment; the test is skipped where there is none and none may be built."""
        if not is_built(self.name, self.requirements) and not self._is_wanted():
            pytest.skip(f"{self.label} is not there: `{WANTED}={self.name} python3 -m app test -m servers` brings it")
        try:
            return environment(self.name, self.requirements)
        except EnvironmentUnavailable as reason:
            pytest.skip(f"{self.label} cannot be had here: {reason}")

    def _is_wanted(self) -> bool:
        wanted = os.environ.get(WANTED, "").split(",")
        return "all" in wanted or self.name in wanted


# What mlflow's scoring server imports without asking pip for it.
_SCORING = ("fastapi==0.165.0", "uvicorn==0.54.0", "pandas==3.1.1", "numpy==2.4.6")

LITSERVE = Peer("litserve", ("litserve==0.2.19",), "litserve_chat.py", "/health")
KSERVE = Peer("kserve", ("kserve==0.21.0",), "kserve_models.py", "/v2/health/ready")
MLSERVER = Peer(
    "mlserver", ("mlserver==1.7.1", "mlserver-sklearn==1.7.1"), "mlserver_models.py", "/v2/models/iris/ready"
)
MLFLOW = Peer("mlflow", ("mlflow-skinny==3.17.2", *_SCORING), "mlflow_model.py", "/ping")
BENTOML = Peer("bentoml", ("bentoml==1.4.40",), "bentoml_service.py", "/readyz")
PYTRITON = Peer("pytriton", ("nvidia-pytriton==0.7.0",), "triton_models.py", "/v2/models/spell/ready")

OPENAI = Peer("openai", ("openai==3.57.0",), "ask_with_openai.py")
REQUESTS = Peer("requests", ("requests==2.34.2",), "ask_with_requests.py")
TRITONCLIENT = Peer("tritonclient", ("tritonclient[http]==2.73.0",), "ask_with_tritonclient.py")


@dataclass(frozen=True)
class Running:
    """A peer's process."""

    peer: Peer
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        """Raises: AssertionError when it ends or stays unready, with the end of what it said."""
        until = time.monotonic() + READY_WITHIN_S
        with httpx.Client(trust_env=False, timeout=5) as http:
            while not self._is_ready(http):
                assert self.process.poll() is None, f"{self.peer.label} ended: {self._last_words()}"
                assert time.monotonic() < until, f"{self.peer.label} is not ready: {self._last_words()}"
                time.sleep(0.1)

    def _is_ready(self, http: httpx.Client) -> bool:
        try:
            return http.get(f"{self.url}{self.peer.ready_path}").status_code == 200
        except httpx.TransportError:
            return False

    def _last_words(self) -> str:
        return self.log.read_text("utf-8", "replace")[-_LOG_END:]

    def stop(self) -> None:
        """Let it end by itself, then end what it left of its process group."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_S)
        while _is_alive(self.process.pid):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            time.sleep(0.05)
        self.process.wait()


def _is_alive(group: int) -> bool:
    """Whether a process of the group runs; those that only wait to be reaped do not (proc_pid_stat(5))."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(") ")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False


@contextmanager
def running(peer: Peer, folder: Path, *words: str) -> Iterator[Running]:
    """A ready peer.

    Args:
        folder: Its working directory; the log stays there.
        words: More arguments of its program.
    """
    port = free_port()
    python = str(peer.python())
    log = folder / f"{peer.name}-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 -- a program of ours, each word an argument of its own
            [python, str(PROGRAMS / peer.program), "--port", str(port), *words],
            cwd=folder,
            env=_environment(python),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = Running(peer, process, port, log)
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.stop()


async def ask(client: Peer, *words: str) -> Any:  # noqa: ANN401 -- whatever document the program prints
    """Run a client's program to its end; the JSON it printed."""
    python = await anyio.to_thread.run_sync(client.python)
    with anyio.fail_after(_ANSWERED_WITHIN_S):
        finished = await anyio.run_process(
            [str(python), str(PROGRAMS / client.program), *words], env=_environment(str(python)), check=False
        )
    assert finished.returncode == 0, finished.stderr.decode()[-_LOG_END:]
    return json.loads(finished.stdout)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def _environment(python: str) -> dict[str, str]:
    """Ours without settings of Turnback, of Python, of proxies; the peer's own commands first."""
    changing = re.compile(r"TURNBACK_|PYTHON|.*_proxy$", re.IGNORECASE)
    plain = {name: value for name, value in os.environ.items() if not changing.match(name)}
    return plain | {"PATH": f"{Path(python).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
