"""The routing table compiled for the hot path: raw path bytes to a model, a coin to a version.

Rule: routes are found on the raw bytes of the path, never on a decoded one, so that what was
checked here is what the upstream sees.
"""

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from app.domain.catalog import ModelName, VersionName
from app.domain.routing import FULL_BP, RoutedModel, RoutingTable, sticky_point
from app.proxy import framing
from app.proxy.brake import OpenCount

if TYPE_CHECKING:
    from app.proxy.pools import Pool
    from app.proxy.cells import Cell
    from app.proxy.totals import Totals

MAX_KNOWN_PATHS: Final = 4096
MAX_KNOWN_PATH: Final = 512
_DOT_SEGMENT: Final = re.compile(rb"/(?:\.|%2[eE]){1,2}(?:/|$)")
# The model's name stands after the prefix; only the first form is stripped before forwarding.
_STRIPPED: Final = b"/m/"
_NAMING: Final = (b"/v2/models/", b"/v1/models/", b"/predictions/", _STRIPPED)


class Arm:
    """One version in one route: where its exchanges go and where they are counted."""

    __slots__ = ("cell", "cell_second", "generation", "model", "pool", "totals", "version")

    def __init__(self, model: ModelName, generation: int, version: VersionName, pool: "Pool", totals: "Totals") -> None:
        self.model = model
        self.generation = generation
        self.version = version
        self.pool = pool
        self.totals = totals
        self.cell: Cell | None = None
        self.cell_second = -1


class CompiledRoute:
    """One model's route, ready to be drawn from.

    Attributes:
        others: Arms with weight that are not stable, by name.
        stable_share: Stable owns [0, stable_share), the others what is above, in their order.
        sticky_line: Lower-case start of the field line that holds the caller's key, or None.
    """

    __slots__ = (
        "_open_brakes",
        "_thresholds",
        "latency_horizon_s",
        "others",
        "stable",
        "stable_share",
        "sticky_line",
        "sticky_salt",
    )

    def __init__(self, routed: RoutedModel, arms: Mapping[VersionName, Arm], open_brakes: OpenCount) -> None:
        route = routed.route
        self._open_brakes = open_brakes
        self.stable = arms[route.stable]
        self.others = tuple(
            arms[name] for name in sorted(arms) if name != route.stable and route.weights_bp.get(name, 0)
        )
        cumulative = route.weights_bp.get(route.stable, 0)
        self.stable_share = cumulative / FULL_BP
        self._thresholds: list[tuple[float, Arm]] = []
        for arm in self.others:
            cumulative += route.weights_bp.get(arm.version, 0)
            self._thresholds.append((cumulative / FULL_BP, arm))
        self.latency_horizon_s = route.latency_horizon_ms / 1000
        header = routed.model.sticky_header
        self.sticky_line = None if header is None else header.lower().encode() + b":"
        # Until rollouts carry a secret, the salt only has to be the same in every process.
        self.sticky_salt = blake2b(routed.model.name.encode(), digest_size=16).digest()

    def draw(self, coin: Callable[[], float], lines: list[bytes]) -> Arm | None:
        """The arm an exchange falls on, as app.domain.routing.draw; None without a coin: a brake is open.

        Args:
            coin: Uniform in [0, 1).
            lines: The request's fields, one of which may hold its caller's key.
        """
        if self._open_brakes.brakes and any(arm.pool.brake.is_open for arm in self.others):
            return None
        point = coin() if self.sticky_line is None else self._sticky_point(self.sticky_line, coin, lines)
        if point < self.stable_share:
            return self.stable
        for threshold, arm in self._thresholds:
            if point < threshold:
                return arm
        return self.stable

    def _sticky_point(self, start: bytes, coin: Callable[[], float], lines: list[bytes]) -> float:
        """Where a caller's key falls; a caller without one gets a coin."""
        for line in lines:
            if line[: len(start)].lower() == start:
                return sticky_point(line[len(start) :].strip(framing.BLANKS), self.sticky_salt)
        return coin()


class Target:
    """Where a path leads.

    Attributes:
        cut: Bytes to take off the path's front before it is forwarded.
    """

    __slots__ = ("cut", "route")

    def __init__(self, route: CompiledRoute, cut: int) -> None:
        self.route = route
        self.cut = cut


class NoRoute(Exception):
    """No model is served there; `model` is the name that was recognised, or None."""

    def __init__(self, model: str | None) -> None:
        super().__init__(model)
        self.model = model


class BadTarget(Exception):
    """The request target is not a plain path."""


class CompiledTable:
    """All routes at one instant.

    Attributes:
        known: Raw paths seen before (after the host where hosts take part in routing), and where
            they lead; empty again when full.
        hosts_matter: Whether some model is matched by its host.
    """

    __slots__ = ("_any_host", "_by_host", "_by_name", "hosts_matter", "known", "table")

    def __init__(self, table: RoutingTable, routes: Mapping[ModelName, CompiledRoute]) -> None:
        self.table = table
        self._by_name = {name.encode(): route for name, route in routes.items()}
        self._by_host: dict[bytes, dict[bytes, CompiledRoute]] = {}
        self._any_host: dict[bytes, CompiledRoute] = {}
        self.known: dict[bytes, Target] = {}
        for routed in table.models:
            match = routed.model.match
            if match is not None:
                prefixes = (
                    self._any_host if match.host is None else self._by_host.setdefault(match.host.lower().encode(), {})
                )
                prefixes[(match.path_prefix or "/").rstrip("/").encode()] = routes[routed.model.name]
        self.hosts_matter = bool(self._by_host)

    def find(self, url: bytes, host: bytes) -> Target:
        """Where a request target leads. Raises: NoRoute, BadTarget."""
        path = url.partition(b"?")[0]
        if not framing.TARGET.fullmatch(url):
            raise BadTarget
        key = host + path if self.hosts_matter else path
        target = self.known.get(key)
        if target is None:
            if _DOT_SEGMENT.search(path):
                raise BadTarget
            target = self._named(path) or self._matched(path, host)
            if len(key) <= MAX_KNOWN_PATH:
                if len(self.known) >= MAX_KNOWN_PATHS:
                    self.known.clear()
                self.known[key] = target
        return target

    def _named(self, path: bytes) -> Target | None:
        for prefix in _NAMING:
            if path.startswith(prefix):
                name = _segment(path, len(prefix))
                route = self._by_name.get(name)
                if route is not None:
                    return Target(route, len(prefix) + len(name) if prefix == _STRIPPED else 0)
        return None

    def _matched(self, path: bytes, host: bytes) -> Target:
        for prefixes in (self._by_host.get(host), self._any_host):
            if prefixes:
                route = _longest_prefix(prefixes, path)
                if route is not None:
                    return Target(route, 0)
        raise NoRoute(_recognised(path))


def _segment(path: bytes, start: int) -> bytes:
    """The path segment from `start`, without a `:verb`."""
    end = path.find(b"/", start)
    return path[start : end if end >= 0 else len(path)].partition(b":")[0]


def _longest_prefix(prefixes: Mapping[bytes, CompiledRoute], path: bytes) -> CompiledRoute | None:
    """The route whose prefix covers most whole segments of the path."""
    prefix = path
    while True:
        route = prefixes.get(prefix)
        if route is not None or not prefix:
            return route
        prefix = prefix[: prefix.rfind(b"/")]


def _recognised(path: bytes) -> str | None:
    for prefix in _NAMING:
        if path.startswith(prefix):
            return _segment(path, len(prefix)).decode("ascii") or None
    return None
