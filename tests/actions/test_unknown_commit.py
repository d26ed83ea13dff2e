"""A connection that breaks during the commit: the change is found or made once, never twice, never guessed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.cut_wire import SOCKET, Cut, CutWire
from sqlalchemy import make_url

from app.actions.context import Means
from app.actions.routes import RouteChange, change_route
from app.domain.catalog.models import ModelName, VersionName
from app.errors import DatabaseUnavailable, OutcomeUnknown
from app.store.pg.database import Database
from app.store.rollouts import decisions
from app.store.routing import routes

FRAUD, V1, V2 = ModelName("fraud"), VersionName("v1"), VersionName("v2")


@pytest.fixture
async def wire(database_url: str, tmp_path: Path) -> AsyncIterator[CutWire]:
    socket_folder = make_url(database_url).query.get("host")
    if not isinstance(socket_folder, str):
        pytest.skip("the wire is a Unix socket; the server given by TURNBACK_TEST_DATABASE_URL has none")
    wire = CutWire(Path(socket_folder) / SOCKET)
    async with wire.listening(tmp_path):
        yield wire


@pytest.fixture
async def wired(fraud: Means, database_url: str, wire: CutWire, tmp_path: Path) -> AsyncIterator[Means]:
    """Means whose database is reached over the wire."""
    url = make_url(database_url).update_query_dict({"host": str(tmp_path)})
    database = Database(url.render_as_string(hide_password=False))
    yield replace(fraud, database=database)
    await database.close()


@pytest.mark.parametrize("cut", [Cut.REQUEST, Cut.ANSWER])
async def test_a_change_whose_commit_got_no_answer_happens_exactly_once(wired: Means, wire: CutWire, cut: Cut) -> None:
    async with wired.database.transaction() as tx:
        before = await routes.route(tx, FRAUD)
    assert before is not None
    # Reading commits too; what is cut is the commit of the change itself.
    counted = CommitCounter(wire, cut, nth=2)
    change = RouteChange({V1: 9_000, V2: 1_000})
    decision = await change_route(replace(wired, entropy=counted), FRAUD, change, actor="ann", reason="a test")
    assert wire.next_cut is Cut.NOTHING
    async with wired.database.transaction() as tx:
        route = await routes.route(tx, FRAUD)
        made = await decisions.made(tx, model=FRAUD)
    assert route is not None
    assert route.generation == before.generation + 1
    assert made[0] == decision
    assert [each.action for each in made] == ["set_weights", "register"]


async def test_a_transaction_says_that_it_does_not_know(wired: Means, wire: CutWire) -> None:
    async def announce() -> None:
        async with wired.database.transaction() as tx:
            await routes.announce(tx)
            wire.next_cut = Cut.REQUEST

    with pytest.raises(OutcomeUnknown):
        await announce()


async def test_a_connection_that_breaks_before_the_commit_changed_nothing(wired: Means, wire: CutWire) -> None:
    async def end_own_connection() -> None:
        async with wired.database.transaction() as tx:
            await routes.announce(tx)
            await tx.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    async with wired.database.transaction() as tx:
        before = await routes.revision(tx)
    with pytest.raises(DatabaseUnavailable):
        await end_own_connection()
    async with wired.database.transaction() as tx:
        assert (await routes.revision(tx)).revision == before.revision


class CommitCounter:
    """Random bytes as the change asks for them, which is right before its commit; then the wire is cut."""

    def __init__(self, wire: CutWire, cut: Cut, nth: int) -> None:
        self._wire = wire
        self._cut = cut
        self._left = nth

    def __call__(self, size: int) -> bytes:
        self._left -= 1
        if self._left == 0:
            self._wire.next_cut = self._cut
        return bytes([self._left % 256] * size)
