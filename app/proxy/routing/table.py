"""The routing table compiled for the hot path: raw path bytes to a model, a coin to a version.

Rule: routes are found on the raw bytes of the path, never on a decoded one, so that what was
checked here is what the upstream sees.
"""

import re
from collections.abc import Mapping
from typing import Final

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.routing import FULL_BP, RoutedModel, RoutingTable
from app.proxy.bounds.learned import Learned
from app.proxy.bounds.memory import Room
from app.proxy.http1 import framing
from app.proxy.observing.plan import Watched
from app.proxy.responses.reader import Reader
from app.proxy.routing.arm import ServingArm
from app.proxy.routing.sticky import Sticky
from app.proxy.upstream.breaker import OpenCount

MAX_KNOWN_PATHS: Final = 4096
MAX_KNOWN_PATH: Final = 512
_DOT_SEGMENT: Final = re.compile(rb"/(?:\.|%2[eE]){1,2}(?:/|$)")
# The model's name stands after the prefix; only the first form is stripped before forwarding.
_STRIPPED: Final = b"/m/"
_NAMING: Final = (b"/v2/models/", b"/v1/models/", b"/predictions/", b"/explanations/", _STRIPPED)
# Meant for the model that a header names, or else for the one declared for it (SageMaker, MLflow).
_INVOCATIONS: Final = b"/invocations"


class CompiledRoute:
    """One model's route, ready to be drawn from.

    Attributes:
        open_brakes: Counts the open brakes of the whole process; without one nobody is held back.
        others: Arms with weight that are not stable, by name.
        stable_share: Stable owns [0, stable_share), the others what is above, in their order.
        arms: Every version of the model, by name.
        sticky: How callers keep their arm, or None.
        watched: What of its exchanges somebody looks at; is_watched: whether anybody does.
        signs_slices: Whether receipts name slices.
        mirror: Who gets copies, or None.
        mirror_share: Chance that a request is copied.
    """

    __slots__ = (
        "_model",
        "_room",
        "_thresholds",
        "arms",
        "is_watched",
        "latency_horizon_s",
        "mirror",
        "mirror_share",
        "open_brakes",
        "others",
        "signs_slices",
        "stable",
        "stable_share",
        "sticky",
        "watched",
    )

    def __init__(
        self,
        routed: RoutedModel,
        arms: Mapping[VersionName, ServingArm],
        open_brakes: OpenCount,
        room: Room,
        slice_values: dict[str, set[str]],
    ) -> None:
        """Compile a route.

        Args:
            routed: All that is known of the model.
            arms: Of all its versions.
            open_brakes: Of the whole process.
            room: What copies of answers may hold.
            slice_values: The values told apart so far, by slice key.
        """
        route = routed.route
        self._model = routed.model
        self._room = room
        self.open_brakes = open_brakes
        self.stable = arms[route.stable]
        self.others = tuple(
            arms[name] for name in sorted(arms) if name != route.stable and route.weights_bp.get(name, 0)
        )
        cumulative = route.weights_bp.get(route.stable, 0)
        self.stable_share = cumulative / FULL_BP
        self._thresholds: list[tuple[float, ServingArm]] = []
        for arm in self.others:
            cumulative += route.weights_bp.get(arm.version, 0)
            self._thresholds.append((cumulative / FULL_BP, arm))
        self.latency_horizon_s = route.latency_horizon_ms / 1000
        self.arms = {name.encode(): arm for name, arm in arms.items()}
        self.sticky = Sticky(routed.model, route) if routed.model.is_sticky else None
        self.watched = Watched(routed, slice_values)
        self.is_watched = self.watched.is_any
        self.signs_slices = self.watched.slices.by_header
        self.mirror = None if route.mirror is None else arms[route.mirror.version]
        self.mirror_share = 0.0 if route.mirror is None else route.mirror.share_bp / FULL_BP

    def reader(self, path: bytes) -> Reader:
        """Who reads the answers to a path."""
        return Reader(self._model, path, self._room)

    def is_held_back(self) -> bool:
        """Whether a brake keeps all exchanges on stable, so that no coin is tossed."""
        return any(arm.pool.brake.is_open for arm in self.others)

    def draw(self, point: float) -> ServingArm:
        """The arm that a uniform point in [0, 1) falls on, as app.domain.catalog.routing.draw."""
        if point < self.stable_share:
            return self.stable
        for threshold, arm in self._thresholds:
            if point < threshold:
                return arm
        return self.stable


class Target:
    """Where a path leads.

    Attributes:
        cut: How many bytes of the path's front name the model; 0 when it is named elsewhere.
        strips: Whether they are taken off before the path is forwarded.
        reader: Who reads the answers.
    """

    __slots__ = ("cut", "reader", "route", "strips")

    def __init__(self, route: CompiledRoute, path: bytes, cut: int = 0, *, strips: bool = False) -> None:
        self.route = route
        self.reader = route.reader(path)
        self.cut = cut
        self.strips = strips

    def forwarded(self, url: bytes, path: bytes | None) -> bytes:
        """The target as the upstream gets it.

        Args:
            url: As the client sent it.
            path: What a version wants in place of what names the model, or None.
        """
        if path is not None and self.cut:
            return path + url[self.cut :]
        if not self.strips:
            return url
        rest = url[self.cut :]
        return rest if rest.startswith(b"/") else b"/" + rest


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
            they lead.
        hosts_matter: Whether some model is matched by its host.
    """

    __slots__ = (
        "_any_host",
        "_by_host",
        "_by_name",
        "_invocations",
        "_named_paths",
        "_paths",
        "hosts_matter",
        "known",
        "table",
    )

    def __init__(self, table: RoutingTable, routes: Mapping[ModelName, CompiledRoute]) -> None:
        self.table = table
        self._by_name = {name.encode(): route for name, route in routes.items()}
        self._by_host: dict[bytes, dict[bytes, CompiledRoute]] = {}
        self._any_host: dict[bytes, CompiledRoute] = {}
        self._invocations: CompiledRoute | None = None
        self._paths: Learned[bytes, Target] = Learned(MAX_KNOWN_PATHS)
        self._named_paths: Learned[tuple[bytes, bytes], Target] = Learned(MAX_KNOWN_PATHS)
        self.known = self._paths.known
        for routed in table.models:
            match = routed.model.match
            if match is not None:
                prefixes = (
                    self._any_host if match.host is None else self._by_host.setdefault(match.host.lower().encode(), {})
                )
                prefixes[(match.path_prefix or "/").rstrip("/").encode()] = routes[routed.model.name]
            if routed.model.takes_invocations:
                self._invocations = routes[routed.model.name]
        self.hosts_matter = bool(self._by_host)

    def find_named(self, name: bytes, url: bytes) -> Target:
        """Where a request leads whose body or header names the model. Raises: NoRoute."""
        path = url.partition(b"?")[0]
        target = self._named_paths.known.get((name, path))
        if target is None:
            route = self._by_name.get(name)
            if route is None:
                raise NoRoute(name.decode("ascii", "replace"))
            target = Target(route, path)
            if len(path) <= MAX_KNOWN_PATH:
                self._named_paths.keep((name, path), target)
        return target

    def find(self, url: bytes, host: bytes, asked_model: bytes = b"") -> Target:
        """Where a request target leads.

        Args:
            url: The raw target.
            host: In lower case, without its port.
            asked_model: The model a header names; heard only where no path names one.

        Raises: NoRoute, BadTarget.
        """
        path = url.partition(b"?")[0]
        if not framing.TARGET.fullmatch(url):
            raise BadTarget
        key = host + path if self.hosts_matter else path
        target = self.known.get(key)
        if target is None:
            if _DOT_SEGMENT.search(path):
                raise BadTarget
            if path == _INVOCATIONS and asked_model:
                return self.find_named(asked_model, path)
            target = self._named(path) or self._matched(path, host)
            if len(key) <= MAX_KNOWN_PATH and path != _INVOCATIONS:
                self._paths.keep(key, target)
        return target

    def _named(self, path: bytes) -> Target | None:
        for prefix in _NAMING:
            if path.startswith(prefix):
                name = _segment(path, len(prefix))
                route = self._by_name.get(name)
                if route is not None:
                    return Target(route, path, len(prefix) + len(name), strips=prefix == _STRIPPED)
        return None

    def _matched(self, path: bytes, host: bytes) -> Target:
        for prefixes in (self._by_host.get(host), self._any_host):
            if prefixes:
                prefix = _longest_prefix(prefixes, path)
                if prefix is not None:
                    return Target(prefixes[prefix], path, len(prefix))
        if path == _INVOCATIONS and self._invocations is not None:
            return Target(self._invocations, path)
        raise NoRoute(_recognised(path))


def _segment(path: bytes, start: int) -> bytes:
    """The path segment from `start`, without a `:verb`."""
    end = path.find(b"/", start)
    return path[start : end if end >= 0 else len(path)].partition(b":")[0]


def _longest_prefix(prefixes: Mapping[bytes, CompiledRoute], path: bytes) -> bytes | None:
    """The prefix that covers most whole segments of the path."""
    prefix = path
    while prefix not in prefixes:
        if not prefix:
            return None
        prefix = prefix[: prefix.rfind(b"/")]
    return prefix


def _recognised(path: bytes) -> str | None:
    for prefix in _NAMING:
        if path.startswith(prefix):
            return _segment(path, len(prefix)).decode("ascii") or None
    return None
