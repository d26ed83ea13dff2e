"""Many rows into a transaction at once: a binary COPY into a temporary table that goes with it.

Rule: nothing outlives the transaction, and what reaches the real table is the caller's statement.
"""

from collections.abc import Iterable, Mapping, Sequence

from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from app.store.pg.database import Transaction


async def copy_rows(tx: Transaction, name: str, columns: Mapping[str, str], rows: Iterable[Sequence[object]]) -> None:
    """Make the temporary table, in the place of one of that name, and fill it.

    Args:
        tx: Where; the table is gone when it ends.
        name: Of the temporary table.
        columns: Names to types of Postgres.
        rows: Values in the columns' order; each its type's, JSON wrapped for it.

    Raises: psycopg.Error.
    """
    connection = (await tx.get_raw_connection()).driver_connection
    if not isinstance(connection, AsyncConnection):
        raise TypeError("the driver is psycopg's asynchronous one")
    described = SQL(", ").join(
        SQL("{} {}").format(Identifier(column), Identifier(kind)) for column, kind in columns.items()
    )
    table = Identifier("pg_temp", name)
    async with connection.cursor() as cursor:
        made = SQL("DROP TABLE IF EXISTS {}; CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP")
        await cursor.execute(made.format(table, table, described))
        into = SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(table)
        async with cursor.copy(into) as copy:
            copy.set_types(list(columns.values()))
            for row in rows:
                await copy.write_row(row)
