"""A real PostgreSQL from a wheel, for demo, development and tests.

Rule: its data stands in one folder of ours, it listens on a Unix socket only, and what it says goes
to its own log file. Who connects must be this process' user or the server's, by what the kernel says
of them (peer authentication), and no folder is opened for it (ADR 0140).
"""

import asyncio
import fcntl
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]  # comes without types
import structlog

from app import loops, private
from app.errors import CannotServe
from app.store.pg import server_place
from app.store.pg.server_account import Account, ProgramFailed, server_account
from app.store.pg.server_programs import find_programs

# What a Unix socket's address may take, less the name Postgres gives it.
SOCKET_FOLDER_MAX: Final = 107 - len("/.s.PGSQL.5432.lock")
START_MAX_S: Final = 60
STOP_MAX_S: Final = 60.0
STOP_LOOK_S: Final = 0.05
# A server without it is of an earlier version, which let everybody in who reached the socket.
CLOSED_SOCKET: Final = "unix_socket_permissions=0700"
ROLE: Final = "postgres"
# A start waits as long as a stop, and recovers from a crash meanwhile.
REVIVE_MAX_S: Final = 3 * STOP_MAX_S
_MAP: Final = "turnback"
_FIRST_LINE: Final = "# Turnback writes this file anew at every start.\n"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A running server as its own file `postmaster.pid` describes it (pidfile.h)."""

    pid: int
    sockets: Path

    @classmethod
    def of(cls, folder: Path) -> "Postmaster | None":
        """The live server of this very folder; None if there is none."""
        try:
            lines = (folder / "postmaster.pid").read_text().splitlines()
            found = cls(int(lines[0]), Path(lines[4]))
        except (OSError, ValueError, IndexError):
            return None  # missing, being written, or cut short by a crash
        return found if str(folder) in found.arguments() else None

    def arguments(self) -> list[str]:
        """Its command line; empty when it is gone or not a Postgres: numbers are used again."""
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE or not process.name().startswith("postgres"):
                return []
            return list(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return []


class EmbeddedPostgres:
    """One server and its folder. All methods block, except `keep_running`."""

    def __init__(self, folder: Path, *, elsewhere: Path = server_place.ELSEWHERE) -> None:
        """Nothing is made before `start`.

        Args:
            folder: Of the data; its parent is private, and made so if missing.
            elsewhere: As root, for what the server's user cannot reach otherwise.
        """
        # Not resolved: whether a link may be followed is for `start` to judge.
        self._asked = Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100 -- which resolves no link
        self._elsewhere = elsewhere
        self._folder: Path | None = None
        self._sockets: Path | None = None
        self._wanted = False
        # A stop waits for a start under way: what was stopped on purpose is not brought back by accident.
        self._one_at_a_time = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where the data is; once started it stays there, whatever becomes of a link to it."""
        return self._folder or self._asked.resolve()

    @property
    def url(self) -> str:
        """Where it listens; only after `start`."""
        return f"postgresql://{ROLE}@/postgres?host={quote(str(self._sockets or self.folder), safe='')}"

    def start(self) -> str:
        """Start it unless it runs; returns `url`. Raises: CannotServe."""
        with self._one_at_a_time:
            self._start()
        return self.url

    def is_running(self) -> bool:
        """Whether a postmaster of this very folder lives."""
        return Postmaster.of(self.folder) is not None

    def stop(self) -> None:
        """Stop it in order. Raises: CannotServe: it does not end."""
        # PostgreSQL manual, 18.5: SIGINT is its fast shutdown, SIGQUIT its immediate one.
        self._stop(signal.SIGINT)

    def stop_immediately(self) -> None:
        """Stop it as a crash would: no checkpoint, clients cut off, recovery at the next start. Raises: CannotServe."""
        self._stop(signal.SIGQUIT)

    def delete(self) -> None:
        """Stop it and delete its data, wherever they are. Raises: CannotServe: it does not end."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._asked.is_symlink():
            self._asked.unlink()

    async def keep_running(self, every_s: float = 1.0) -> None:
        """Start it again whenever it died without `stop`, until cancelled."""
        while True:
            loops.beat()
            await asyncio.sleep(every_s)
            try:
                if await asyncio.to_thread(self._revive):
                    _log.warning("postgres.restarted", folder=str(self.folder))
            except CannotServe as failure:
                _log.error("postgres.restart_failed", why=str(failure))

    def _start(self) -> None:
        try:
            account = server_account()
            private.make_folder(self._asked.parent, group=account.passing_group)
            with _no_other_process(self._asked.with_name(f"{self._asked.name}.lock")):
                self._run(account)
        except (OSError, ProgramFailed, subprocess.SubprocessError) as failure:
            raise CannotServe(f"The embedded Postgres under {self._asked} does not start: {failure}.") from failure
        self._wanted = True

    def _run(self, account: Account) -> None:
        """Take over the server that runs, or start one."""
        self._folder = self._asked.resolve()
        running = Postmaster.of(self.folder)
        if running is not None:
            if CLOSED_SOCKET in running.arguments() and account.owns_privately(running.sockets):
                self._sockets = running.sockets
                return
            _log.warning("postgres.stopped_for_access", pid=running.pid, why="an earlier version let everybody in")
            self._end(running, signal.SIGINT)
        self._folder = server_place.settle(self._asked, account, self._elsewhere)
        self._launch(account)

    def _launch(self, account: Account) -> None:
        folder = self.folder
        programs = find_programs(account, self._elsewhere)
        if not (folder / "PG_VERSION").exists():
            rules = ("--auth-local=peer", "--auth-host=reject", "--no-locale", "--encoding=UTF8")
            account.run([str(programs / "initdb"), *rules, "--username", ROLE, "--pgdata", str(folder)])
        _write_access(folder, account)
        self._sockets = self._socket_folder(account)
        self._forget_the_dead()
        options = " ".join(f"-c {shlex.quote(option)}" for option in _options(folder, self._sockets))
        wait = ("--wait", "--timeout", str(START_MAX_S), "--pgdata", str(folder), "--log", str(folder / "log"))
        account.run([str(programs / "pg_ctl"), *wait, "--options", options, "start"])

    def _socket_folder(self, account: Account) -> Path:
        """The data folder; if that has too long a path a fresh one, and the same again after a crash or a stop."""
        if len(os.fsencode(self.folder)) <= SOCKET_FOLDER_MAX:
            return self.folder
        folder = self._sockets
        if folder is not None and account.owns_privately(folder):
            return folder
        if folder is None or folder == self.folder:
            if account.is_other:
                server_place.make_reachable(self._elsewhere, account)
            folder = Path(tempfile.mkdtemp(prefix="turnback-", dir=self._elsewhere if account.is_other else None))
        else:
            # Clients know the name, so another one is no use; who took it meanwhile is not trusted with it.
            folder.mkdir(mode=private.MODE)
        account.take(folder)
        return folder

    def _revive(self) -> bool:
        with self._one_at_a_time:
            if not self._wanted or self.is_running():
                return False
            self._start()
            return True

    def _stop(self, how: signal.Signals) -> None:
        with self._one_at_a_time:
            self._wanted = False
            running = Postmaster.of(self.folder)
            if running is not None:
                self._end(running, how)
            if self._sockets is not None and self._sockets != self.folder:
                _remove_sockets(self._sockets)

    def _end(self, running: Postmaster, how: signal.Signals) -> None:
        # Not by pg_ctl: as root that runs as another user, whom any closed parent of the folder shuts out.
        with suppress(ProcessLookupError):
            os.kill(running.pid, how)
        give_up_at = time.monotonic() + STOP_MAX_S
        while str(self.folder) in running.arguments():
            if time.monotonic() > give_up_at:
                raise CannotServe(f"The embedded Postgres under {self.folder} does not stop; its `log` there says why.")
            time.sleep(STOP_LOOK_S)

    def _forget_the_dead(self) -> None:
        # After a kill the number may be a zombie's or another process' by now; Postgres would not start over it.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        for lock in (self._sockets or self.folder).glob(".s.PGSQL.*.lock"):
            lock.unlink()


def make_state_folder(path: Path) -> None:
    """Make a private folder that the server's user may pass through, or check it. Raises: CannotServe; OSError."""
    private.make_folder(path, group=server_account().passing_group)


def temporary_folder(prefix: str = "turnback-") -> Path:
    """A fresh private folder that the server's user may pass through. Raises: CannotServe; OSError."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    group = server_account().passing_group
    if group is not None:
        private.let_pass(folder, group)
    return folder


def _remove_sockets(folder: Path) -> None:
    """Only what a server leaves there, whatever folder it is."""
    with suppress(OSError):
        for left in folder.glob(".s.PGSQL.*"):
            left.unlink()
        folder.rmdir()


def _options(folder: Path, sockets: Path) -> Iterator[str]:
    """Stronger than any file of settings."""
    escaped = str(sockets).replace('"', '""')
    yield "listen_addresses="
    yield f'unix_socket_directories="{escaped}"'
    yield CLOSED_SOCKET
    yield "unix_socket_group="
    yield f"hba_file={folder / 'pg_hba.conf'}"
    yield f"ident_file={folder / 'pg_ident.conf'}"


def _write_access(folder: Path, account: Account) -> None:
    """Let in this process' user and the server's, and nobody else (PostgreSQL manual, 20.1 to 20.3)."""
    users = dict.fromkeys((pwd.getpwuid(os.geteuid()).pw_name, account.name))
    _replace(folder / "pg_hba.conf", f"local all all peer map={_MAP}\n", account)
    _replace(folder / "pg_ident.conf", "".join(f'{_MAP} "{name}" {ROLE}\n' for name in users), account)


def _replace(path: Path, content: str, account: Account) -> None:
    """Put a new file in its place: who owns the folder may have put a link there."""
    descriptor, aside = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(_FIRST_LINE + content)
        if account.is_other:
            os.fchown(descriptor, account.uid, account.gid)
    Path(aside).rename(path)


@contextmanager
def _no_other_process(path: Path) -> Iterator[None]:
    descriptor = private.open_file(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
