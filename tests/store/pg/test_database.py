"""The pool: one place that commits, foreign errors translated, limits that hold."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from app.domain.catalog.models import Model, ModelName
from app.errors import DatabaseUnavailable
from app.store.pg.database import Database
from app.store.routing import catalog

FRAUD = ModelName("fraud")


async def known(database: Database) -> int:
    async with database.transaction() as tx:
        return len((await catalog.models(tx))[0])


async def test_a_body_that_returns_is_committed_and_one_that_raises_is_not(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as tx:
            await catalog.add_model(tx, Model(FRAUD))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await known(database) == 0
    async with database.transaction() as tx:
        await catalog.add_model(tx, Model(FRAUD))
    assert await known(database) == 1


async def test_nobody_at_home_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"postgresql://nobody@/nothing?host={tmp_path}")
    with pytest.raises(DatabaseUnavailable):
        await known(database)
    await database.close()


async def test_a_timeout_of_the_body_stays_what_it_was(database: Database) -> None:
    async def wait() -> None:
        async with database.transaction(), asyncio.timeout(0):
            await asyncio.sleep(1)

    with pytest.raises(TimeoutError):
        await wait()


async def test_a_lock_that_does_not_come_free_is_given_up_after_a_second(database: Database) -> None:
    async with database.transaction() as holder:
        await holder.execute(text("UPDATE routing SET revision = revision"))
        with pytest.raises(DatabaseUnavailable):
            async with database.transaction() as tx:
                await tx.execute(text("UPDATE routing SET revision = revision"))


async def test_a_slow_statement_is_cut_off_and_the_connection_serves_again(database: Database) -> None:
    async def dawdle() -> None:
        async with database.transaction() as tx:
            await tx.execute(text("SET LOCAL statement_timeout = '50ms'"))
            await tx.execute(text("SELECT pg_sleep(10)"))

    with pytest.raises(DatabaseUnavailable):
        await dawdle()
    assert await known(database) == 0


async def test_limits_end_with_their_transaction(database: Database) -> None:
    async with database.transaction() as tx:
        assert await tx.scalar(text("SHOW statement_timeout")) == "3s"
        await tx.execute(text("COMMIT"))
        assert await tx.scalar(text("SHOW statement_timeout")) == "0"


async def test_nothing_is_prepared_so_that_pgbouncer_may_stand_between(database: Database) -> None:
    for _ in range(10):
        await known(database)
    async with database.transaction() as tx:
        assert await tx.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0


@pytest.mark.parametrize("url", ["sqlite://", "mysql://x/y"])
def test_only_postgres_is_spoken(url: str) -> None:
    with pytest.raises(ValueError, match="postgresql"):
        Database(url)
