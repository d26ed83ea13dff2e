"""Hearing of routing changes at once, outside the pool.

Rule: a bell, not a message. It may ring too often or be lost (PgBouncer, a half-open connection);
whoever listens polls as well.
"""

from collections.abc import AsyncGenerator
from typing import Final

import psycopg

from app.errors import DatabaseUnavailable
from app.store.pg.complaints import complaint
from app.store.pg.database import Database
from app.store.pg.wire import CONNECTION, WireConnection

CHANNEL: Final = "turnback_routing"
# Without a ring for so long, the server is asked whether it is still there.
ASKED_EVERY_S: Final = 5.0


async def rings(database: Database) -> AsyncGenerator[None, None]:
    """One item when listening began, one for each notification, and one now and then when there is none.

    Raises: DatabaseUnavailable when the connection cannot be had or breaks.
    """
    try:
        connection = await WireConnection.connect(database.conninfo, autocommit=True, **CONNECTION)
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
            yield
            while True:
                async for _ in connection.notifies(timeout=ASKED_EVERY_S):
                    yield
                await connection.execute("SELECT 1")
                yield
        finally:
            # Without a word to the server, so that nothing can keep it from ending.
            connection.pgconn.finish()
    except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as broken:
        raise DatabaseUnavailable(complaint(broken)) from broken
