"""How Alembic reaches the database: one transaction for all missing steps, one process at a time."""

from alembic import context
from sqlalchemy import NullPool, create_engine, text

from app.store.pg.database import psycopg_url
from app.store.pg.migrate import is_ours
from app.store.pg.tables import metadata
from app.store.pg.wire import CONNECTION

# Any number of processes may start at once. Within a transaction, because PgBouncer keeps no session.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtext('turnback.migrations'))")


def _run() -> None:
    url = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True).get("url")
    if url is None:
        raise SystemExit("say which database: alembic -x url=postgresql://… …")
    engine = create_engine(psycopg_url(url), poolclass=NullPool, connect_args=CONNECTION)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, include_name=is_ours)
        with context.begin_transaction():
            connection.execute(_ONE_AT_A_TIME)
            context.run_migrations()


_run()
