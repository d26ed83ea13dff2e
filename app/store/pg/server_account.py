"""Whom the embedded PostgreSQL runs as: this process' user, or as root one made for it.

Rule: that user has one group, no shell and no variable of ours; nothing of it is given to others.
"""

import grp
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from app.errors import CannotServe

SYSTEM_USER = "pgserver"
# What Postgres needs of the environment; the rest may hold secrets, and a superuser's program would read them.
_HANDED_ON = ("PATH", "TZ", "LD_LIBRARY_PATH")
_NO_SHELLS = ("nologin", "false")
_SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_TRIES = 10
_TRY_AGAIN_S = 0.2
_SAID_LINES = 3

T = TypeVar("T")

_log = structlog.get_logger()


class ProgramFailed(RuntimeError):
    """One of PostgreSQL's programs ended with an error; the message is what it said last."""


@dataclass(frozen=True, slots=True)
class Account:
    """A system user.

    Attributes:
        is_other: Whether it is not the user of this process.
    """

    name: str
    uid: int
    gid: int
    is_other: bool

    @property
    def passing_group(self) -> int | None:
        """The group that may pass through folders on the way to the data; None without need."""
        return self.gid if self.is_other else None

    def run(self, command: Sequence[str]) -> None:
        """Run a program as this user. Raises: ProgramFailed, OSError."""
        # A file and not a pipe: the server inherits it, and a pipe would not end before the server does.
        with tempfile.TemporaryFile("w+", errors="replace") as said:
            status = self._status(command, said.fileno())
            if status != 0:
                said.seek(0)
                last = " | ".join(said.read().strip().splitlines()[-_SAID_LINES:])
                raise ProgramFailed(f"{Path(command[0]).name} ended with {status}: {last}")

    def may(self, test: str, *paths: Path) -> bool:
        """Whether `test -r` or `test -x` is true of all these paths for this user, whatever the modes seem to say."""
        if not self.is_other:
            return True
        loop = 'for path; do test "$0" "$path" || exit 1; done'
        return self._status(["/bin/sh", "-c", loop, test, *map(str, paths)], subprocess.DEVNULL) == 0

    def owns_privately(self, folder: Path) -> bool:
        """Whether that is a folder and no link, of this user, closed to all others."""
        try:
            found = folder.lstat()
        except FileNotFoundError:
            return False
        # S_IFDIR and the nine bits, all at once.
        return found.st_uid == self.uid and found.st_mode & 0o170777 == 0o040700

    def take(self, folder: Path) -> None:
        """Give a folder that was just made to this user. Raises: OSError."""
        if self.is_other:
            os.chown(folder, self.uid, self.gid, follow_symlinks=False)

    def _status(self, command: Sequence[str], output: int) -> int:
        return subprocess.run(  # noqa: S603 -- our own words, each an argument of its own
            command,
            cwd="/",
            env={name: os.environ[name] for name in _HANDED_ON if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            umask=0o077,
            user=self.uid if self.is_other else None,
            group=self.gid if self.is_other else None,
            extra_groups=[] if self.is_other else None,
            check=False,
        ).returncode


def server_account() -> Account:
    """Whom a server started by this process runs as; made if it must be. Raises: CannotServe."""
    uid = os.geteuid()
    if uid == 0:
        return _system_account()
    try:
        me = pwd.getpwuid(uid)
    except KeyError:
        raise CannotServe(
            f"The embedded Postgres asks who connects, and user {uid} has no name on this machine;"
            " add it to /etc/passwd, or set TURNBACK_DATABASE_URL."
        ) from None
    return Account(me.pw_name, uid, me.pw_gid, is_other=False)


def _system_account() -> Account:
    group = _ensured(lambda: grp.getgrnam(SYSTEM_USER), "groupadd", "--system", SYSTEM_USER)
    nologin = shutil.which("nologin", path=_SYSTEM_PATH) or "/bin/false"
    home = ("--no-create-home", "--home-dir", "/nonexistent")
    make = ("useradd", "--system", "--gid", SYSTEM_USER, *home, "--shell", nologin, SYSTEM_USER)
    user = _ensured(lambda: pwd.getpwnam(SYSTEM_USER), *make)
    if Path(user.pw_shell).name not in _NO_SHELLS:
        # Earlier versions made it with one.
        failure = _administer("usermod", "--shell", nologin, SYSTEM_USER)
        _log.warning("postgres.shell_taken", user=SYSTEM_USER, shell=user.pw_shell, failure=failure)
    return Account(SYSTEM_USER, user.pw_uid, group.gr_gid, is_other=True)


def _ensured(find: Callable[[], T], *make: str) -> T:
    """The entry that is found, made if it is missing. Raises: CannotServe."""
    failure: str | None = None
    for _ in range(_TRIES):
        try:
            return find()
        except KeyError:
            failure = _administer(*make)
        if failure is not None:
            # Another process may be making it.
            time.sleep(_TRY_AGAIN_S)
    raise CannotServe(
        f"As root the embedded Postgres runs as the system user {SYSTEM_USER}, which cannot be made ({failure});"
        f" make it by hand: {' '.join(make)}"
    )


def _administer(*command: str) -> str | None:
    """Change the machine's users; returns why it failed."""
    program = shutil.which(command[0], path=_SYSTEM_PATH)
    if program is None:
        return f"{command[0]} is missing"
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)  # noqa: S603 -- our own words
    return None if done.returncode == 0 else done.stderr.strip() or f"{command[0]} ended with {done.returncode}"
