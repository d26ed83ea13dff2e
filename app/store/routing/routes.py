"""Routes, their history, and the one number that tells replicas to look.

Rule: a route changes only by compare-and-set on its generation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Insert, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.domain.catalog.models import ModelName, Version, VersionName
from app.domain.catalog.routing import Mirror, Route, RoutedModel, RoutingTable, Weights, check_weights
from app.errors import StaleGeneration
from app.store.pg import tables
from app.store.pg.codec import as_json, weights_from_json
from app.store.pg.complaints import complaint
from app.store.pg.database import Transaction, violated
from app.store.pg.notifications import CHANNEL
from app.store.routing import catalog

# Only put in order by: a time that no datetime holds must not make the whole table unreadable.
_UNREAD = frozenset({"created_at"})
_MODEL = [column for column in tables.models.c if column.key not in _UNREAD]
_VERSION = [column for column in tables.versions.c if column.key not in _UNREAD]


@dataclass(frozen=True, slots=True)
class Revision:
    """The routing revision and the database's clock, read in one statement."""

    revision: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Reading:
    """The routing table as it could be read.

    Attributes:
        unreadable: Models that the table lacks because a row of theirs makes no sense, each with the reason.
    """

    table: RoutingTable
    unreadable: Mapping[ModelName, str]


@dataclass(frozen=True, slots=True)
class Generation:
    """The weights of one generation, in force from `at` until the next one."""

    model: ModelName
    generation: int
    at: datetime
    stable: VersionName
    weights_bp: Weights


async def route(tx: Transaction, model: ModelName) -> Route | None:
    """The model's route; None while it has no version. Raises: UnknownModel."""
    row = (await tx.execute(select(tables.routes).filter_by(model=model))).one_or_none()
    if row is None:
        await catalog.model(tx, model)
        return None
    return _route(row)


async def table(tx: Transaction) -> RoutingTable:
    """Everything the data plane needs, but for models that cannot be read."""
    return (await read(tx)).table


async def read(tx: Transaction) -> Reading:
    """The same, and which models are missing from it: one that makes no sense keeps no other from being read.

    Three statements see three instants. The revision is read first, so a table never claims to be newer
    than it is; versions, which are only ever added, last, so whatever a route names is there.
    """
    current = await revision(tx)
    joined = tables.models.join(tables.routes, tables.models.c.name == tables.routes.c.model)
    query = select(*_MODEL, tables.routes).select_from(joined).order_by(tables.models.c.name)
    models = (await tx.execute(query)).all()
    versions: dict[str, dict[str, Version | str]] = {}
    for row in await tx.execute(select(*_VERSION).order_by(tables.versions.c.created_at, tables.versions.c.name)):
        versions.setdefault(row.model, {})[row.name] = _version_or_why(row)
    routed: list[RoutedModel] = []
    unreadable: dict[ModelName, str] = {}
    for row in models:
        try:
            routed.append(_routed(row, versions.get(row.name, {})))
        except Exception as odd:  # noqa: BLE001 -- whatever is in one model's rows, the others must be read
            unreadable[ModelName(row.name)] = complaint(odd)
    return Reading(RoutingTable(current.revision, tuple(routed)), unreadable)


def _version_or_why(row: Row[Any]) -> Version | str:
    """A version, or why it cannot be read: only a route that names it suffers from that."""
    try:
        return catalog.version_from_row(row)
    except Exception as odd:  # noqa: BLE001 -- as above
        return complaint(odd)


def _routed(row: Row[Any], versions: Mapping[str, Version | str]) -> RoutedModel:
    """Raises: whatever is wrong with the model's rows."""
    route = _route(row)
    check_weights(route.weights_bp)
    for name in (route.stable, *route.weights_bp, *(() if route.mirror is None else (route.mirror.version,))):
        found = versions.get(name, "it is not there")
        if isinstance(found, str):
            raise ValueError(f"its route names version {name!r}, and {found}")  # noqa: TRY004 -- of the row, not of the call
    readable = tuple(version for version in versions.values() if isinstance(version, Version))
    return RoutedModel(catalog.model_from_row(row), route, readable)


async def revision(tx: Transaction) -> Revision:
    """The number that grows with every committed change of routes or catalog."""
    row = (await tx.execute(select(tables.routing.c.revision, func.clock_timestamp()))).one()
    return Revision(*row)


async def announce(tx: Transaction) -> None:
    """Bump the revision and ring the bell; both take effect with the commit."""
    # The row stays locked until the commit, so this comes last in a transaction.
    await tx.execute(update(tables.routing).values(revision=tables.routing.c.revision + 1))
    await tx.execute(select(func.pg_notify(CHANNEL, "")))


async def add(tx: Transaction, first: Route, at: datetime) -> None:
    """Store a model's first route and generation. Raises: StaleGeneration when it has one."""
    try:
        await tx.execute(insert(tables.routes).values(_columns(first)))
    except IntegrityError as refused:
        if violated(refused) != "pk_routes":
            raise
        raise StaleGeneration(first.model, 0) from refused
    await tx.execute(_history(first, at))


async def replace(tx: Transaction, new: Route, at: datetime) -> None:  # ADR 0004
    """Put `new` in the place of generation `new.generation - 1`. Raises: StaleGeneration."""
    seen = new.generation - 1
    changed = await tx.execute(update(tables.routes).filter_by(model=new.model, generation=seen).values(_columns(new)))
    if changed.rowcount != 1:
        raise StaleGeneration(new.model, seen)
    await tx.execute(_history(new, at))


async def set_latency_horizon(tx: Transaction, model: ModelName, latency_horizon_ms: int) -> bool:
    """Change the horizon within a generation; False if it was that already."""
    table = tables.routes
    changed = await tx.execute(
        update(table)
        .where(table.c.model == model, table.c.latency_horizon_ms != latency_horizon_ms)
        .values(latency_horizon_ms=latency_horizon_ms)
    )
    return changed.rowcount == 1


async def generations(tx: Transaction, model: ModelName, since: int) -> tuple[Generation, ...]:
    """All generations from `since` on, the oldest first."""
    table = tables.generations
    query = select(table).where(table.c.model == model, table.c.generation >= since).order_by(table.c.generation)
    return tuple(map(_generation, await tx.execute(query)))


async def canary_weights(tx: Transaction, model: ModelName, canary: VersionName, since: int) -> Mapping[int, int]:
    """Generation to the canary's weight, from generation `since` on; what `absorb` wants."""
    return {each.generation: each.weights_bp.get(canary, 0) for each in await generations(tx, model, since)}


async def first_exposed(tx: Transaction, model: ModelName, version: VersionName) -> datetime | None:
    """When the version first had a weight; None if it never had."""
    table = tables.generations
    had = table.c.weights_bp[version].as_integer() > 0
    query = select(table.c.at).where(table.c.model == model, had).order_by(table.c.generation).limit(1)
    first: datetime | None = await tx.scalar(query)
    return first


async def live(tx: Transaction, model: ModelName, at: datetime) -> Generation | None:
    """What was in force at that time; None before the first generation. Raises: UnknownModel."""
    table = tables.generations
    query = select(table).where(table.c.model == model, table.c.at <= at).order_by(table.c.generation.desc()).limit(1)
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        await catalog.model(tx, model)
        return None
    return _generation(row)


def _columns(route: Route) -> dict[str, Any]:
    return {
        "model": route.model,
        "generation": route.generation,
        "stable": route.stable,
        "weights_bp": dict(route.weights_bp),
        "latency_horizon_ms": route.latency_horizon_ms,
        "mirror": None if route.mirror is None else as_json(route.mirror),
        "salt": route.salt,
        "salted_at": route.salted_at,
    }


def _history(route: Route, at: datetime) -> Insert:
    columns = _columns(route)
    return insert(tables.generations).values(
        at=at, **{name: columns[name] for name in ("model", "generation", "stable", "weights_bp")}
    )


def _route(row: Row[Any]) -> Route:
    return Route(
        ModelName(row.model),
        row.generation,
        VersionName(row.stable),
        weights_from_json(row.weights_bp),
        row.latency_horizon_ms,
        None if row.mirror is None else Mirror(VersionName(row.mirror["version"]), row.mirror["share_bp"]),
        row.salt,
        row.salted_at,
    )


def _generation(row: Row[Any]) -> Generation:
    return Generation(
        ModelName(row.model), row.generation, row.at, VersionName(row.stable), weights_from_json(row.weights_bp)
    )
