"""The hot modules compiled to C by mypyc, used where a build of exactly these sources is there.

Rule: standard library only. The sources are the program: a build is found by their fingerprint, so an
edited file is never hidden by an old build, and TURNBACK_COMPILED=no ignores any build.
"""

import hashlib
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

VARIABLE = "TURNBACK_COMPILED"
PACKAGE = Path(__file__).resolve().parent
FOLDER = PACKAGE / "_compiled"
MODULES = (
    "app.domain.stats.latency_histogram",
    "app.domain.catalog.receipt",
    "app.proxy.alike",
    "app.proxy.asked",
    "app.proxy.brake",
    "app.proxy.cells",
    "app.proxy.chunks",
    "app.proxy.client_pace",
    "app.proxy.collected_body",
    "app.proxy.connection",
    "app.proxy.counted",
    "app.proxy.events",
    "app.proxy.exchange",
    "app.proxy.flaws",
    "app.proxy.forwarding",
    "app.proxy.framing",
    "app.proxy.gateway",
    "app.proxy.health",
    "app.proxy.histogram_cell",
    "app.proxy.journal",
    "app.proxy.judge",
    "app.proxy.limits",
    "app.proxy.listener",
    "app.proxy.mirror",
    "app.proxy.notes",
    "app.proxy.observed_cell",
    "app.proxy.observer",
    "app.proxy.outgoing",
    "app.proxy.own_paths",
    "app.proxy.own_port",
    "app.proxy.plain",
    "app.proxy.pools",
    "app.proxy.port",
    "app.proxy.problems",
    "app.proxy.receipts",
    "app.proxy.recorder",
    "app.proxy.request_body",
    "app.proxy.request_head",
    "app.proxy.response_head",
    "app.proxy.retry_budget",
    "app.proxy.routes",
    "app.proxy.slices",
    "app.proxy.sticky",
    "app.proxy.streams",
    "app.proxy.strict_connection",
    "app.proxy.totals",
    "app.proxy.trace_context",
    "app.proxy.units",
    "app.proxy.upstream_connection",
    "app.proxy.upstreams",
    "app.proxy.watched",
)


def source(module: str) -> Path:
    """The file a module's source is in."""
    return PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")


def build() -> Path:
    """The folder a build of the present sources for this interpreter has, whether it is there or not."""
    content = hashlib.sha256(EXTENSION_SUFFIXES[0].encode())
    for module in MODULES:
        content.update(source(module).read_bytes())
    return FOLDER / content.hexdigest()[:16]


class _Build(MetaPathFinder):
    """Finds the compiled modules, and what mypyc makes them share, before the sources."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        """As importlib.abc.MetaPathFinder; None leaves the module to its source."""
        if name not in MODULES and not name.endswith("__mypyc"):
            return None
        file = self._folder.joinpath(*name.split(".")).with_suffix(EXTENSION_SUFFIXES[0])
        return spec_from_file_location(name, file) if file.exists() else None


def prefer() -> None:
    """Let imports take the build, if there is one and nobody said no."""
    if not FOLDER.is_dir() or os.environ.get(VARIABLE) == "no":
        return
    folder = build()
    if folder.is_dir():
        sys.meta_path.insert(0, _Build(folder))


def is_in_use() -> bool:
    """Whether this process runs the build."""
    return any(isinstance(finder, _Build) for finder in sys.meta_path)
