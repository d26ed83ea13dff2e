"""Hearing of routing changes at once, outside the pool.

Rule: a bell, not a message. It may ring too often or be lost (PgBouncer, a half-open connection);
whoever listens polls as well.
"""

from collections.abc import AsyncGenerator

import psycopg

from app.errors import DatabaseUnavailable
from app.store.database import CONNECTION, Database
from app.store.routes import CHANNEL


async def rings(database: Database) -> AsyncGenerator[None, None]:
    """One item when listening began, and one for each notification.

    Raises: DatabaseUnavailable when the connection cannot be had or breaks.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(database.conninfo, autocommit=True, **CONNECTION)
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            yield
            async for _ in connection.notifies():
                yield
    except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as broken:
        raise DatabaseUnavailable from broken
