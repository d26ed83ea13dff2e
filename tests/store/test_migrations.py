"""Migrations and tables say the same, and every step has a way back."""

import psycopg
from alembic import command

from app.store import migrate


def test_the_migrations_make_exactly_the_tables_of_the_code(database_url: str) -> None:
    command.check(migrate.config(database_url))


def test_every_migration_can_be_taken_back_and_applied_again(database_url: str) -> None:
    command.downgrade(migrate.config(database_url), "base")
    with psycopg.connect(database_url) as connection:
        left = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()
    assert {name for (name,) in left} == {"alembic_version", "alembic_version_pkc"}
    migrate.upgrade(database_url)
    command.check(migrate.config(database_url))
