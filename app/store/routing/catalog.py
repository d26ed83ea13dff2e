"""Models and versions as registered; immutable once there."""

from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from app.domain.catalog.models import (
    Bulkhead,
    Match,
    Model,
    ModelName,
    Observation,
    Protocol,
    Timeouts,
    Version,
    VersionName,
)
from app.errors import NameTaken, UnknownModel, UnknownVersion
from app.store.pg import tables
from app.store.pg.codec import (
    as_json,
    credentials_from_json,
    features_from_json,
    feedback_from_json,
    slices_from_json,
)
from app.store.pg.complaints import read_each
from app.store.pg.database import Transaction, violated

# Unique indexes of `models`, what their violation means, and where in the request it was said.
_TAKEN = {
    "uq_models_match": ("another model is found at the same host and path", "/match"),
    "uq_models_takes_invocations": ("another model takes /invocations already", "/takes_invocations"),
}


async def models(tx: Transaction) -> tuple[list[Model], dict[ModelName, str]]:
    """All models by name; and those that cannot be read, each with the reason."""
    rows = await tx.execute(select(tables.models).order_by(tables.models.c.name))
    return read_each(rows, model_from_row, lambda row: row.name)


async def names(tx: Transaction) -> tuple[ModelName, ...]:
    """What all models are called, also those that cannot be read."""
    return tuple(map(ModelName, await tx.scalars(select(tables.models.c.name).order_by(tables.models.c.name))))


async def model(tx: Transaction, name: ModelName) -> Model:
    """Raises: UnknownModel."""
    row = (await tx.execute(select(tables.models).where(tables.models.c.name == name))).one_or_none()
    if row is None:
        raise UnknownModel(name)
    return model_from_row(row)


async def versions(tx: Transaction, of: ModelName) -> tuple[Version, ...]:
    """All versions of a model, the oldest first. Raises: UnknownModel."""
    await model(tx, of)
    table = tables.versions
    query = select(table).where(table.c.model == of).order_by(table.c.created_at, table.c.name)
    return tuple(map(version_from_row, await tx.execute(query)))


async def version(tx: Transaction, of: ModelName, name: VersionName) -> Version:
    """Raises: UnknownModel, UnknownVersion."""
    row = (await tx.execute(select(tables.versions).filter_by(model=of, name=name))).one_or_none()
    if row is None:
        await model(tx, of)
        raise UnknownVersion(of, name)
    return version_from_row(row)


async def add_model(tx: Transaction, new: Model) -> bool:
    """Store a model; False if the very same was there. Raises: NameTaken."""
    match = new.match or Match()
    statement = (
        insert(tables.models)
        .values(
            name=new.name,
            match_host=match.host,
            match_path_prefix=match.path_prefix,
            sticky_header=new.sticky_header,
            sticky_cookie=new.sticky_cookie,
            protocol=new.protocol,
            observation=None if new.observation is None else as_json(new.observation),
            takes_invocations=new.takes_invocations,
            feedback=None if new.feedback is None else as_json(new.feedback),
            slices=as_json(new.slices),
            features=as_json(new.features),
        )
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(tables.models.c.name)
    )
    try:
        added = (await tx.execute(statement)).first() is not None
    except IntegrityError as refused:
        taken = _TAKEN.get(violated(refused) or "")
        if taken is None:
            raise
        why, field = taken
        raise NameTaken(why, field=field) from refused
    if not added and await model(tx, new.name) != new:
        raise NameTaken(f"a different model is called {new.name!r}", field="/name", model=new.name)
    return added


async def add_version(tx: Transaction, new: Version) -> bool:
    """Store a version; False if the very same was there. Raises: UnknownModel, NameTaken."""
    await model(tx, new.model)
    statement = (
        insert(tables.versions)
        .values(
            model=new.model,
            name=new.name,
            urls=list(new.urls),
            health_path=new.health_path,
            connect_s=new.timeouts.connect_s,
            first_byte_s=new.timeouts.first_byte_s,
            idle_s=new.timeouts.idle_s,
            total_s=new.timeouts.total_s,
            concurrency=new.bulkhead.concurrency,
            queue=new.bulkhead.queue,
            path=new.path,
            served_model=new.served_model,
            server_name=new.server_name,
            credentials=as_json(new.credentials),
        )
        .on_conflict_do_nothing(index_elements=["model", "name"])
        .returning(tables.versions.c.name)
    )
    added = (await tx.execute(statement)).first() is not None
    if not added and await version(tx, new.model, new.name) != new:
        raise NameTaken(
            f"version {new.name!r} of model {new.model!r} is registered differently; a version never changes",
            model=new.model,
            version=new.name,
        )
    return added


def model_from_row(row: Row[Any]) -> Model:
    """A model out of the columns of `models`."""
    matched = row.match_host is not None or row.match_path_prefix is not None
    match = Match(row.match_host, row.match_path_prefix) if matched else None
    return Model(
        ModelName(row.name),
        match,
        row.sticky_header,
        row.sticky_cookie,
        Protocol(row.protocol),
        None if row.observation is None else Observation(**row.observation),
        row.takes_invocations,
        None if row.feedback is None else feedback_from_json(row.feedback),
        slices_from_json(row.slices),
        features_from_json(row.features),
    )


def version_from_row(row: Row[Any]) -> Version:
    """A version out of the columns of `versions`."""
    timeouts = Timeouts(row.connect_s, row.first_byte_s, row.idle_s, row.total_s)
    return Version(
        ModelName(row.model),
        VersionName(row.name),
        tuple(row.urls),
        timeouts,
        row.health_path,
        Bulkhead(row.concurrency, row.queue),
        row.path,
        row.served_model,
        row.server_name,
        credentials_from_json(row.credentials),
    )
