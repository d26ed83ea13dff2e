"""Who gets the next exchange: routes, weights, the draw.

Rule: weights are basis points that sum to 10,000; every change of them is a new generation,
and the generation is the id of the weight epoch that evidence is grouped by.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NamedTuple

from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.errors import InvalidInput

FULL_BP = 10_000
# The generation of weights that nobody decided, because a replica withholds a canary whose routing is too
# old; real ones begin at 1, and evidence never reads this one.
NO_COIN = 0

Weights = Mapping[VersionName, int]


@dataclass(frozen=True, slots=True)
class Mirror:  # ADR 0034
    """A version that gets copies of requests, and whose answers nobody sees.

    Attributes:
        share_bp: Chance that a request is copied, in basis points, 1 to 10,000.
    """

    version: VersionName
    share_bp: int


@dataclass(frozen=True, slots=True)
class Route:
    """One model's weights at one generation.

    Attributes:
        weights_bp: Version to weight; each 0 to 10,000, the sum 10,000. Never mutated.
        latency_horizon_ms: An exchange in flight for longer already counts as this slow
            (the largest latency threshold of the running rollout, or the first-byte timeout).
        mirror: Who gets copies, never stable; or None.
        salt: Secret, 16 bytes: where a sticky caller's key falls. Changed by the start of a rollout, while
            nobody is on the canary, so that no caller is moved back by it.
        salted_at: The generation that made the salt of the running rollout: the first exchange of a unit
            since then is its evidence. 0 while no rollout runs: nobody's first exchange is wanted.
    """

    model: ModelName
    generation: int
    stable: VersionName
    weights_bp: Weights
    latency_horizon_ms: int = 30_000
    mirror: Mirror | None = None
    salt: bytes = b""
    salted_at: int = 0


@dataclass(frozen=True, slots=True)
class RoutedModel:
    """All that the data plane must know of one model."""

    model: Model
    route: Route
    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """All routes at one instant; replaced whole, never changed.

    Attributes:
        revision: Grows with every committed change of any route or the catalog.
    """

    revision: int
    models: tuple[RoutedModel, ...]


EMPTY_TABLE = RoutingTable(revision=-1, models=())


def check_weights(weights_bp: Weights, field: str = "/weights_bp") -> Weights:
    """Return the weights unchanged. Raises: InvalidInput when they are not a distribution."""
    if any(not 0 <= weight <= FULL_BP for weight in weights_bp.values()):
        raise InvalidInput(field, "each weight must lie between 0 and 10,000 basis points")
    if sum(weights_bp.values()) != FULL_BP:
        raise InvalidInput(field, f"weights sum to {sum(weights_bp.values())}, not to 10,000 basis points")
    return weights_bp


def without_own_mirror(route: Route) -> Route:
    """The route; its mirror ended if the mirrored version has become stable and answers for itself."""
    if route.mirror is None or route.mirror.version != route.stable:
        return route
    return replace(route, mirror=None)


def draw(route: Route, point: float) -> VersionName:
    """The version that a uniform point in [0, 1) falls on; stable owns the low end."""
    threshold = point * FULL_BP
    cumulative = route.weights_bp.get(route.stable, 0)
    if threshold < cumulative:
        return route.stable
    for version in sorted(route.weights_bp):
        if version == route.stable:
            continue
        cumulative += route.weights_bp[version]
        if threshold < cumulative:
            return version
    return route.stable


class Place(NamedTuple):
    """Where a caller falls.

    Attributes:
        point: In [0, 1), as `draw` takes it.
        unit: Another 64 bits of the same hash, signed: names the caller without saying who it is.
    """

    point: float
    unit: int


def sticky_place(key: bytes, salt: bytes) -> Place:
    """Where a caller's key falls: the same for the same salt, unguessable without it.

    Raising the canary's weight never moves a caller from canary back to stable, because the
    canary owns the high end of [0, 1) and grows downwards.

    Args:
        key: The header's or cookie's value.
        salt: Secret of one rollout, 16 to 64 bytes.

    Source:
        RFC 7693 (keyed BLAKE2b).
    """
    digest = blake2b(key, key=salt, digest_size=16).digest()
    # 53 bits fit a float exactly; with 64 the highest points would round up to 1.0.
    point = (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53
    return Place(point, int.from_bytes(digest[8:], "big", signed=True))
