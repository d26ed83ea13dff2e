"""A cancellation always comes out of a transaction, at once, whatever the server does; the pool is whole afterwards."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest
from fakes.waiting import eventually
from psycopg import AsyncConnection
from sqlalchemy import text

from app.errors import DatabaseUnavailable
from app.store.pg import notifications
from app.store.pg.database import Database
from bench.fault_wire import FaultWire, Wire

# Far below what psycopg would wait for a server that hangs, far above what a busy machine takes.
AT_ONCE_S = 3.0
ONE = text("SELECT 1")

Body = Callable[[Database, asyncio.Event], Coroutine[None, None, None]]


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[FaultWire]:
    async with FaultWire(database_url).listening() as listening:
        yield listening


@pytest.fixture
async def single(wire: FaultWire) -> AsyncIterator[Database]:
    """A pool of one connection: what is not given back is missed at once."""
    database = Database(wire.url, connections_max=1)
    yield database
    await database.close()


async def in_statement(database: Database, broken: asyncio.Event) -> None:
    async with database.transaction() as tx:
        await tx.execute(ONE)
        await broken.wait()
        await tx.execute(text("SELECT pg_sleep(2)"))


async def in_pool(database: Database, broken: asyncio.Event) -> None:
    await broken.wait()
    async with database.transaction() as tx:
        await tx.execute(ONE)


async def in_rollback(database: Database, broken: asyncio.Event) -> None:
    async with database.transaction() as tx:
        await tx.execute(ONE)
        await broken.wait()
        raise ZeroDivisionError


async def in_commit(database: Database, broken: asyncio.Event) -> None:
    async with database.transaction() as tx:
        await tx.execute(ONE)
        await broken.wait()


async def between_statements(database: Database, _: asyncio.Event) -> None:
    async with database.transaction() as tx:
        await tx.execute(ONE)
        await asyncio.sleep(60)


async def in_copy(database: Database, broken: asyncio.Event) -> None:
    async with database.transaction() as tx:
        connection = (await tx.get_raw_connection()).driver_connection
        assert isinstance(connection, AsyncConnection)
        async with connection.cursor() as cursor:
            await cursor.execute("CREATE TEMPORARY TABLE copied (a text) ON COMMIT DROP")
            async with cursor.copy("COPY copied FROM STDIN") as copy:
                await broken.wait()
                while True:
                    await copy.write_row(("x" * 1_000_000,))


BODIES = (in_statement, in_pool, in_rollback, in_commit, between_statements, in_copy)


@pytest.mark.parametrize("mode", [Wire.HANGS, Wire.SWALLOWS], ids=str)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
async def test_a_cancellation_comes_out_at_once_though_the_server_is_silent(
    wire: FaultWire, single: Database, body: Body, mode: Wire
) -> None:
    await in_commit(single, _set())
    broken = asyncio.Event()
    task = asyncio.create_task(body(single, broken))
    await asyncio.sleep(0.1)
    wire.breaks(mode)
    broken.set()
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task}, timeout=AT_ONCE_S)
    assert task.cancelled()
    await wire.passes()
    await in_commit(single, _set())


@pytest.mark.parametrize("mode", [Wire.REFUSES, Wire.RESETS], ids=str)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
async def test_a_clean_up_that_fails_does_not_take_the_place_of_a_cancellation(
    wire: FaultWire, single: Database, body: Body, mode: Wire
) -> None:
    await in_commit(single, _set())
    broken = asyncio.Event()
    task = asyncio.create_task(body(single, broken))
    await asyncio.sleep(0.1)
    # In this order and without a pause: the body does not know that the connection is gone, and is cancelled already.
    wire.breaks(mode)
    await asyncio.sleep(0)
    task.cancel()
    broken.set()
    await asyncio.wait({task}, timeout=AT_ONCE_S)
    assert task.cancelled()
    await wire.passes()
    await in_commit(single, _set())


async def test_a_limit_that_runs_out_inside_is_a_timeout_and_nothing_else(wire: FaultWire, single: Database) -> None:
    async def limited() -> None:
        async with asyncio.timeout(0.1), single.transaction() as tx:
            wire.breaks(Wire.HANGS)
            await tx.execute(ONE)

    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(TimeoutError):
            await limited()
    await wire.passes()
    await in_commit(single, _set())


async def test_a_failure_comes_out_though_the_rollback_hangs(wire: FaultWire, single: Database) -> None:
    broken = asyncio.Event()
    task = asyncio.create_task(in_rollback(single, broken))
    await asyncio.sleep(0.1)
    wire.breaks(Wire.HANGS)
    broken.set()
    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(ZeroDivisionError):
            await task
    await wire.passes()
    await in_commit(single, _set())


@pytest.mark.parametrize("mode", list(Wire)[1:], ids=str)
async def test_a_transaction_has_no_more_time_than_it_was_given(wire: FaultWire, single: Database, mode: Wire) -> None:
    await in_commit(single, _set())
    wire.breaks(mode)
    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(DatabaseUnavailable):
            async with single.transaction(0.2) as tx:
                await tx.execute(ONE)
    await wire.passes()
    await in_commit(single, _set())


async def test_a_connection_that_is_cancelled_while_it_is_made_leaves_no_socket(
    wire: FaultWire, single: Database
) -> None:
    wire.breaks(Wire.SWALLOWS)
    gc.disable()
    try:
        for _ in range(5):
            task = asyncio.create_task(in_pool(single, _set()))
            await eventually(lambda: wire.open == 1)
            task.cancel()
            await asyncio.wait({task})
            await eventually(lambda: wire.open == 0)
    finally:
        gc.enable()


async def test_who_has_a_pool_apart_does_not_wait_for_the_others(single: Database) -> None:
    apart = single.apart(1)
    async with single.transaction(), apart.transaction(AT_ONCE_S) as tx:
        assert await tx.scalar(ONE) == 1


@pytest.mark.parametrize("mode", [Wire.PASSES, Wire.HANGS, Wire.SWALLOWS], ids=str)
async def test_listening_ends_at_once_when_it_is_cancelled(wire: FaultWire, single: Database, mode: Wire) -> None:
    heard = asyncio.Event()

    async def listen() -> None:
        async for _ in notifications.rings(single):
            heard.set()

    task = asyncio.create_task(listen())
    await asyncio.wait_for(heard.wait(), AT_ONCE_S)
    if mode is not Wire.PASSES:
        wire.breaks(mode)
    task.cancel()
    await asyncio.wait({task}, timeout=AT_ONCE_S)
    assert task.cancelled()


async def test_a_bell_whose_server_is_silent_is_left(
    wire: FaultWire, single: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "ASKED_EVERY_S", 0.1)
    heard: list[None] = []

    async def listen() -> None:
        async for ring in notifications.rings(single):
            heard.append(ring)
            wire.breaks(Wire.SWALLOWS)

    with pytest.raises(DatabaseUnavailable) as broken:
        await listen()
    assert len(heard) == 1
    assert broken.value.why == "no answer within 4 s"


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
