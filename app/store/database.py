"""The way to Postgres: one bounded pool, short timeouts, one place that commits.

Rule: nothing here or in any statement outlives its transaction (no session lock, no session
setting, no prepared statement), so that PgBouncer may stand between in transaction mode.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.errors import DatabaseUnavailable, OutcomeUnknown
from app.store.codec import to_json

Transaction: TypeAlias = AsyncConnection
"""An open transaction; what takes one never commits."""

TRANSACTION_MAX_S = 10.0

# Set per transaction: a session setting would leak to the next client of a pooled connection.
_LIMITS = text(
    "SELECT set_config('statement_timeout', '3s', true), set_config('lock_timeout', '1s', true),"
    " set_config('idle_in_transaction_session_timeout', '5s', true), set_config('TimeZone', 'UTC', true)"
)

# libpq: a server that vanished is noticed in seconds, not after the kernel's quarter of an hour.
CONNECTION: dict[str, Any] = {
    "connect_timeout": 3,
    "tcp_user_timeout": 4_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "prepare_threshold": None,
    "application_name": "turnback",
}


class Database:
    """A pool of connections to one Postgres. Connects when first used."""

    def __init__(self, url: str, *, connections_max: int = 8) -> None:
        """Args: url: `postgresql://…`; connections_max: all this process may hold, a listener excepted."""
        self._url = psycopg_url(url)
        self._engine = create_async_engine(
            self._url,
            pool_size=connections_max,
            max_overflow=0,
            pool_timeout=3.0,
            # A restarted server leaves dead connections behind; a person's first change must not meet one.
            pool_pre_ping=True,
            connect_args=CONNECTION,
            json_serializer=to_json,
        )

    @property
    def conninfo(self) -> str:
        """The address for a connection outside the pool."""
        _, options = self._engine.dialect.create_connect_args(self._url)
        # SQLAlchemy's own way to adapt types; not libpq's.
        options.pop("context", None)
        return make_conninfo(**options)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commit if the body returns, roll back if it raises.

        Raises:
            DatabaseUnavailable: not reachable or too slow; nothing was changed.
            OutcomeUnknown: the connection broke during the commit.
        """
        limit = asyncio.timeout(TRANSACTION_MAX_S)
        committing = False
        try:
            async with limit, self._engine.connect() as connection:
                await connection.execute(_LIMITS)
                yield connection
                committing = True
                await connection.commit()
        except (SQLAlchemyError, psycopg.Error, TimeoutError) as error:
            if not _is_missing(error, limit):
                raise
            raise (OutcomeUnknown() if committing else DatabaseUnavailable()) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def _is_missing(error: Exception, limit: asyncio.Timeout) -> bool:
    """Whether the error says that Postgres is gone, stuck, full or read-only, not that a statement is wrong."""
    if isinstance(error, TimeoutError):
        return limit.expired()
    if isinstance(error, OperationalError | InterfaceError | InternalError | PoolTimeout):
        return True
    # What is copied in goes past SQLAlchemy, which would have wrapped it.
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    # No table at all: some other process is still about to migrate.
    return error.connection_invalidated or isinstance(error.orig, psycopg.errors.UndefinedTable)


def violated(error: IntegrityError) -> str | None:
    """The name of the constraint that refused the statement."""
    return error.orig.diag.constraint_name if isinstance(error.orig, psycopg.Error) else None


def psycopg_url(url: str) -> URL:
    """The same address, spoken through psycopg 3. Raises: ValueError when it is not Postgres."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        raise ValueError("the database address must begin with postgresql://")
    return parsed.set(drivername="postgresql+psycopg")
