"""What all tests share: one Postgres server per run, one database per test."""

import fcntl
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy import make_url

from app.store import migrate
from app.store.database import Database
from app.store.embedded import EmbeddedPostgres

EXTERNAL = "TURNBACK_TEST_DATABASE_URL"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for the whole run, shared by all xdist workers: who comes first starts it, the last one stops it."""
    external = os.environ.get(EXTERNAL)
    if external is not None:
        yield external
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    server = EmbeddedPostgres(shared / "postgres")
    users = shared / "postgres.users"
    with _locked(shared / "postgres.lock"):
        url = server.start()
        # Nobody's data: durability would only cost time.
        _administer(url, "ALTER SYSTEM SET fsync = off")
        _administer(url, "SELECT pg_reload_conf()")
        users.write_text(str(_count(users) + 1))
    yield url
    with _locked(shared / "postgres.lock"):
        users.write_text(str(_count(users) - 1))
        if _count(users) == 0:
            server.stop()


@pytest.fixture(scope="session")
def template(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database to clone; every worker has its own, so that nobody waits for another's."""
    name = f"turnback_template_{uuid.uuid4().hex}"
    _administer(postgres_url, SQL("CREATE DATABASE {}").format(Identifier(name)))
    migrate.upgrade(on_database(postgres_url, name))
    yield name
    _administer(postgres_url, SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """A fresh, migrated database of this test's own."""
    name = f"turnback_test_{uuid.uuid4().hex}"
    _administer(postgres_url, SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template)))
    yield on_database(postgres_url, name)
    _administer(postgres_url, SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


def on_database(url: str, name: str) -> str:
    """The same server, another database."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _administer(url: str, statement: LiteralString | Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _count(users: Path) -> int:
    return int(users.read_text()) if users.exists() else 0
