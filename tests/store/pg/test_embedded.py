"""The embedded server: starts anywhere, survives being killed, says nothing on stdout."""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from app.errors import CannotServe
from app.store.pg.database import Database
from app.store.pg.embedded import EmbeddedPostgres, temporary_folder


@pytest.fixture(scope="module")
def made() -> Iterator[EmbeddedPostgres]:
    folder = temporary_folder()
    server = EmbeddedPostgres(folder / "state" / "postgres", elsewhere=folder / "elsewhere")
    server.start()
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept (n integer)")
        connection.execute("INSERT INTO kept VALUES (1)")
    yield server
    server.delete()
    shutil.rmtree(folder)


@pytest.fixture
def server(made: EmbeddedPostgres) -> EmbeddedPostgres:
    """A running server with one row in its table `kept`."""
    made.start()
    return made


def pid_of(server: EmbeddedPostgres) -> int:
    return int((server.folder / "postmaster.pid").read_text().splitlines()[0])


def kept(server: EmbeddedPostgres) -> int | None:
    try:
        with psycopg.connect(server.url) as connection:
            (count,) = connection.execute("SELECT count(*) FROM kept").fetchone() or (0,)
    except psycopg.OperationalError:
        return None
    return int(count)


def test_it_lives_through_stops_and_crashes(server: EmbeddedPostgres, capfd: pytest.CaptureFixture[str]) -> None:
    assert server.start() == server.url
    for stop in (server.stop_immediately, server.stop):
        stop()
        assert not server.is_running()
        assert kept(server) is None
        server.start()
        assert kept(server) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("stop", [EmbeddedPostgres.stop, EmbeddedPostgres.stop_immediately])
def test_it_serves_and_stops_although_somebody_closed_a_parent_folder(
    server: EmbeddedPostgres, stop: Callable[[EmbeddedPostgres], None]
) -> None:
    # Run as root, the server is another user, who cannot reach its own folder any more.
    closed = server._asked.parent
    closed.chmod(0o700)
    assert kept(server) == 1
    stop(server)
    assert not server.is_running()
    assert not (server.folder / "postmaster.pid").exists()
    assert closed.stat().st_mode & 0o777 == 0o700
    server.start()
    assert kept(server) == 1


async def test_it_is_started_again_when_it_was_killed_and_not_when_it_was_stopped(server: EmbeddedPostgres) -> None:
    killed = pid_of(server)
    with capture_logs() as events:
        keeper = asyncio.create_task(server.keep_running(every_s=0.05))
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(20):
            while not server.is_running() or pid_of(server) == killed:  # noqa: ASYNC110 -- a process has no event
                await asyncio.sleep(0.05)
        server.stop()
        await asyncio.sleep(0.2)
        keeper.cancel()
    assert [event["event"] for event in events] == ["postgres.restarted"]
    assert not server.is_running()


def test_a_pid_file_of_another_process_is_not_taken_for_the_server(server: EmbeddedPostgres) -> None:
    server.stop()
    lines = [str(os.getpid()), str(server.folder), "1", "5432", str(server.folder), "", "1 1", "ready"]
    (server.folder / "postmaster.pid").write_text("\n".join(lines) + "\n")
    assert not server.is_running()
    server.start()
    assert pid_of(server) != os.getpid()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotServe, match="embedded Postgres"):
        EmbeddedPostgres(tmp_path / "file" / "postgres").start()


@pytest.mark.parametrize("name", ["with blanks in it", "x" * 120, "it's 100 %"])
def test_any_folder_will_do(name: str) -> None:
    folder = temporary_folder()
    server = EmbeddedPostgres(folder / name / "postgres", elsewhere=folder / "elsewhere")
    try:
        with psycopg.connect(server.start()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with psycopg.connect(Database(server.url).conninfo) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        url = server.url
        server.stop()
        # Clients that are there already know no other address.
        assert server.start() == url
    finally:
        server.delete()
        shutil.rmtree(folder)
