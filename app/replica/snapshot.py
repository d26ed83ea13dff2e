"""The last routing table on disk, for a start at which Postgres does not answer.

Rule: a file is whole or it is not read: written aside, synced, renamed, checked by its digest; the
one before is kept. It holds the rollouts' salts, so nobody else may read it.
"""

import os
from contextlib import suppress
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import structlog
from pydantic import TypeAdapter, ValidationError

from app import private
from app.domain.catalog.routing import RoutingTable
from app.store.pg.codec import to_json

SCHEMA = 1
NAME = "routing.json"
PREVIOUS = "routing.previous.json"

log = structlog.get_logger()


class SnapshotRefused(Exception):
    """The file is not what this version of Turnback wrote; the message says why."""


class Snapshot:  # ADR 0052
    """Where one machine's processes keep the last table they applied."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._previous = folder / PREVIOUS
        self._silent = False

    def save(self, table: RoutingTable) -> None:
        """Put it in the place of the one before, which is kept; a failure is logged once. Blocks."""
        try:
            self._write(encoded(table))
        except OSError as failed:
            if not self._silent:
                log.warning("snapshot.not_written", why=str(failed))
            self._silent = True
        else:
            self._silent = False

    def load(self) -> RoutingTable | None:
        """The newest table that can be trusted; None when there is none. Blocks."""
        for path in (self._path, self._previous):
            try:
                with os.fdopen(private.open_file(path, os.O_RDONLY), "rb") as file:
                    return decoded(file.read())
            except FileNotFoundError:
                continue
            except (OSError, SnapshotRefused) as refused:
                log.warning("snapshot.refused", file=path.name, why=str(refused))
        return None

    def _write(self, content: bytes) -> None:
        private.make_folder(self._path.parent)
        if self._path.exists() and self._path.read_bytes() == content:
            return
        # Several processes of one machine may share the folder; each writes aside under its own name.
        aside = self._path.with_suffix(f".{os.getpid()}.tmp")
        descriptor = private.open_file(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            self._path.replace(self._previous)
        aside.replace(self._path)


def encoded(table: RoutingTable) -> bytes:
    """The file's content: one JSON document with its schema and the digest of the table in it."""
    without_salts = replace(
        table, models=tuple(replace(routed, route=replace(routed.route, salt=b"")) for routed in table.models)
    )
    salts = {routed.model.name: routed.route.salt.hex() for routed in table.models}
    body = orjson.dumps({"table": orjson.loads(to_json(without_salts)), "salts": salts}).decode()
    return orjson.dumps({"schema": SCHEMA, "sha256": sha256(body.encode()).hexdigest(), "body": body})


def decoded(content: bytes) -> RoutingTable:
    """What `encoded` wrote. Raises: SnapshotRefused."""
    try:
        document = orjson.loads(content)
        schema, digest, body = document["schema"], document["sha256"], document["body"]
    except (ValueError, TypeError, KeyError):
        raise SnapshotRefused("it is no snapshot") from None
    if schema != SCHEMA:
        raise SnapshotRefused(f"its schema is {schema}, not {SCHEMA}")
    if not isinstance(body, str) or sha256(body.encode()).hexdigest() != digest:
        raise SnapshotRefused("its checksum is wrong")
    try:
        return _table(orjson.loads(body))
    except (ValidationError, ValueError, KeyError):
        raise SnapshotRefused("its table makes no sense") from None


def _table(body: dict[str, Any]) -> RoutingTable:
    table = _routing_table().validate_python(body["table"])
    salts = {name: bytes.fromhex(salt) for name, salt in body["salts"].items()}
    models = (replace(each, route=replace(each.route, salt=salts[each.model.name])) for each in table.models)
    return replace(table, models=tuple(models))


@cache
def _routing_table() -> TypeAdapter[RoutingTable]:
    return TypeAdapter(RoutingTable)
