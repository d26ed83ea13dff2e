"""The way to Postgres: bounded pools, short timeouts, one place that commits.

Rule: nothing here or in any statement outlives its transaction (no session lock, no session
setting, no prepared statement), so that PgBouncer may stand between in transaction mode. A
cancellation always comes out, at once: what it interrupts is not tidied up but thrown away.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.errors import DatabaseUnavailable, OutcomeUnknown
from app.store.pg.codec import to_json
from app.store.pg.complaints import complaint
from app.store.pg.wire import CONNECTION, WireConnection

Transaction: TypeAlias = AsyncConnection
"""An open transaction; what takes one never commits."""

TRANSACTION_MAX_S = 10.0
# A rollback is one round trip; a connection that takes longer for it is not worth keeping.
ROLLBACK_MAX_S = 1.0

# Set per transaction: a session setting would leak to the next client of a pooled connection.
_LIMITS = text(
    "SELECT set_config('statement_timeout', '3s', true), set_config('lock_timeout', '1s', true),"
    " set_config('idle_in_transaction_session_timeout', '5s', true), set_config('TimeZone', 'UTC', true)"
)


class Database:  # ADR 0007
    """A pool of connections to one Postgres. Connects when first used."""

    def __init__(self, url: str, *, connections_max: int = 8) -> None:
        """Args: url: `postgresql://…`; connections_max: all this pool may hold, a listener excepted."""
        self._address = url
        self._url = psycopg_url(url)
        self._apart: list[Database] = []
        self._engine = create_async_engine(
            self._url,
            pool_size=connections_max,
            max_overflow=0,
            pool_timeout=3.0,
            # A restarted server leaves dead connections behind; a person's first change must not meet one.
            pool_pre_ping=True,
            connect_args={**CONNECTION, "async_creator_fn": WireConnection.connect},
            json_serializer=to_json,
        )

    def apart(self, connections_max: int) -> "Database":
        """A pool of its own to the same server: whoever has it never waits for anybody else. Closed with this one."""
        made = Database(self._address, connections_max=connections_max)
        self._apart.append(made)
        return made

    @property
    def conninfo(self) -> str:
        """The address for a connection outside the pool."""
        _, options = self._engine.dialect.create_connect_args(self._url)
        # SQLAlchemy's own way to adapt types; not libpq's.
        options.pop("context", None)
        return make_conninfo(**options)

    @asynccontextmanager
    async def transaction(self, within_s: float = TRANSACTION_MAX_S) -> AsyncIterator[Transaction]:  # ADR 0023
        """Commit if the body returns, roll back if it raises.

        Args:
            within_s: All the time there is, the waiting for a connection included.

        Raises:
            DatabaseUnavailable: not reachable or too slow; nothing was changed.
            OutcomeUnknown: the connection broke during the commit.
        """
        task, limit = asyncio.current_task(), asyncio.timeout(within_s)
        cancelled_before = 0 if task is None else task.cancelling()
        committing = False
        try:
            async with limit, self._connection() as connection:
                await connection.execute(_LIMITS)
                yield connection
                committing = True
                await connection.commit()
        except (SQLAlchemyError, psycopg.Error, TimeoutError) as error:
            if task is not None and task.cancelling() > cancelled_before:
                # What broke while this was being cancelled must not be taken for the whole story.
                raise asyncio.CancelledError from error
            if not _is_missing(error, limit):
                raise
            why = f"no answer within {within_s:g} s" if limit.expired() else complaint(error)
            raise (OutcomeUnknown(why) if committing else DatabaseUnavailable(why)) from error

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        """One of the pool; back in it if all went well or a rollback did, thrown away otherwise."""
        connection = await self._engine.connect()
        try:
            yield connection
        except BaseException as error:
            await _give_back(connection, rolling_back=isinstance(error, Exception))
            raise
        # After a commit nothing is said to the server any more.
        await connection.close()

    async def close(self) -> None:
        """Close all connections."""
        for each in self._apart:
            await each.close()
        await self._engine.dispose()


async def _give_back(connection: AsyncConnection, *, rolling_back: bool) -> None:  # ADR 0130
    """Clean up after a failure; raises nothing that could take the failure's place, but for a cancellation."""
    rolled_back = False
    try:
        if rolling_back:
            async with asyncio.timeout(ROLLBACK_MAX_S):
                await connection.rollback()
            rolled_back = True
    except (SQLAlchemyError, psycopg.Error, TimeoutError):
        pass
    finally:
        if not rolled_back:
            # Closes the socket without a word; the server rolls back when it sees that.
            await connection.invalidate()
        await connection.close()


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
