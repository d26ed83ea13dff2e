"""What all tests share: one Postgres server per run, one database per test."""

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString, Self

import psycopg
import pytest
from hypothesis import Phase, settings
from psycopg.sql import SQL, Composed, Identifier
from servers.pytest_hooks import pytest_terminal_summary, pytest_xdist_make_scheduler
from sqlalchemy import make_url

from app.store.pg import migrate
from app.store.pg.database import Database
from app.store.pg.embedded import EmbeddedPostgres, temporary_folder

# When workers run the tests, pytest looks for these only here.
__all__ = ["pytest_terminal_summary", "pytest_xdist_make_scheduler"]

EXTERNAL = "TURNBACK_TEST_DATABASE_URL"

# For docs/bench/mutation.md: a mutant need not be shrunk, and fewer examples can only leave more of them alive.
settings.register_profile(
    "mutants",
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_url(testrun: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for the whole run, shared by all xdist workers: who comes first starts it, the last one stops it."""
    external = os.environ.get(EXTERNAL)
    if external is not None:
        yield external
        return
    # Not under pytest's own temporary folder: that is closed to the server's system user.
    folder = Path(tempfile.gettempdir()) / f"turnback-{testrun}"
    server = EmbeddedPostgres(folder / "postgres")
    users = folder / "users"
    lock = tmp_path_factory.getbasetemp().parent / f"turnback-{testrun}.lock"
    with _locked(lock):
        url = server.start()
        # Nobody's data: durability would only cost time.
        _administer(url, "ALTER SYSTEM SET fsync = off")
        _administer(url, "SELECT pg_reload_conf()")
        users.write_text(str(_count(users) + 1))
    yield url
    with _locked(lock):
        users.write_text(str(_count(users) - 1))
        if _count(users) == 0:
            server.delete()
            shutil.rmtree(folder)


@pytest.fixture(scope="session")
def testrun() -> str:
    """The same in all workers of one run, different in every run."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)


@pytest.fixture(scope="session")
def databases(postgres_url: str) -> Iterator["Databases"]:
    with Databases(postgres_url) as made:
        yield made


@pytest.fixture
def database_url(databases: "Databases") -> Iterator[str]:
    """A fresh, migrated database of this test's own."""
    name = databases.take()
    yield on_database(databases.url, name)
    databases.drop(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A migrated server of this test's own, to be stopped; outside pytest's folder, see above."""
    folder = temporary_folder()
    server = EmbeddedPostgres(folder / "postgres")
    migrate.upgrade(server.start())
    yield server
    server.delete()
    shutil.rmtree(folder)


class Databases:
    """Clones of one migrated database; the next one is made while a test uses the last."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._template = f"turnback_template_{uuid.uuid4().hex}"
        self._worker = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Self:
        _administer(self.url, SQL("CREATE DATABASE {}").format(Identifier(self._template)))
        migrate.upgrade(on_database(self.url, self._template))
        self._next = self._worker.submit(self._clone)
        return self

    def take(self) -> str:
        ready, self._next = self._next.result(), self._worker.submit(self._clone)
        return ready

    def drop(self, name: str) -> None:
        self._worker.submit(_administer, self.url, SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def __exit__(self, *_: object) -> None:
        self.drop(self._next.result())
        self.drop(self._template)
        self._worker.shutdown()

    def _clone(self) -> str:
        name = f"turnback_test_{uuid.uuid4().hex}"
        clone = SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(self._template))
        _administer(self.url, clone)
        return name


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
