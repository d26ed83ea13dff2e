"""The hot modules compiled to C by mypyc, used where a build of exactly these sources is there.

Rule: standard library only. The sources are the program: a build is found by their fingerprint, so an
edited file is never hidden by an old build, and TURNBACK_COMPILED=no ignores any build (ADR 0056).
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
    "app.proxy.http1.head_cache",
    "app.proxy.http1.request_heads",
    "app.proxy.bounds.learned",
    "app.recording.arm",
    "app.proxy.routing.arm",
    "app.proxy.observing.request_document",
    "app.proxy.upstream.breaker",
    "app.recording.tally_row",
    "app.proxy.http1.chunks",
    "app.proxy.bounds.client_pace",
    "app.proxy.downstream.whole_body",
    "app.proxy.downstream.clock",
    "app.proxy.downstream.connection",
    "app.recording.accounting",
    "app.proxy.responses.sse",
    "app.proxy.exchange.context",
    "app.proxy.exchange.exchange",
    "app.proxy.exchange.forwarded_request",
    "app.proxy.exchange.witness",
    "app.proxy.responses.flaws",
    "app.proxy.http1.forwarded",
    "app.proxy.http1.framing",
    "app.proxy.gateway",
    "app.proxy.upstream.health",
    "app.proxy.observing.histogram_row",
    "app.recording.journal",
    "app.proxy.http1.llhttp_check",
    "app.proxy.bounds.limits",
    "app.proxy.downstream.listener",
    "app.proxy.exchange.mirror",
    "app.proxy.observing.note",
    "app.proxy.observing.rows",
    "app.proxy.observing.observer",
    "app.proxy.exchange.attempt",
    "app.proxy.downstream.own_paths",
    "app.proxy.downstream.own_port",
    "app.proxy.observing.sanitize",
    "app.proxy.upstream.pool",
    "app.proxy.downstream.port",
    "app.proxy.http1.problems",
    "app.proxy.http1.receipts",
    "app.recording.recorder",
    "app.proxy.http1.request_body",
    "app.proxy.http1.request_head",
    "app.proxy.http1.response_head",
    "app.proxy.bounds.retry_budget",
    "app.proxy.routing.table",
    "app.proxy.observing.slices",
    "app.proxy.routing.sticky",
    "app.proxy.responses.streams",
    "app.recording.totals",
    "app.proxy.http1.trace_context",
    "app.recording.randomization_units",
    "app.proxy.upstream.connection",
    "app.proxy.upstream.endpoint",
    "app.proxy.observing.plan",
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
