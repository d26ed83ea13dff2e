"""Folders and files that are this process' alone: made so, or refused.

Rule: what somebody else made or may change is never used, and a folder that was there before is
neither opened nor closed: the refusal says what to type (ADR 0141).
"""

import os
import pwd
import shlex
import stat
from pathlib import Path

MODE = 0o700
# Its group may pass through and see nothing.
PASSED_MODE = 0o710


class NotPrivate(PermissionError):
    """Somebody else owns it or may change it; the message is one sentence with the remedy."""


def make_folder(path: Path, *, group: int | None = None) -> None:
    """Make a folder that is only ours, with its parents; one that is there is checked.

    Args:
        path: The folder.
        group: May pass through a folder made here.

    Raises: NotPrivate; OSError.
    """
    if not path.parent.exists():
        make_folder(path.parent, group=group)
    try:
        path.mkdir(mode=MODE)
    except FileExistsError:
        check_folder(path)
        return
    if group is not None:
        let_pass(path, group)


def let_pass(path: Path, group: int) -> None:
    """Let a group pass through a folder that was just made. Raises: OSError."""
    os.chown(path, -1, group)
    path.chmod(PASSED_MODE)


def check_folder(path: Path) -> None:
    """Raises: NotPrivate: somebody else made it or may write to it; OSError."""
    me = os.geteuid()
    link = path.lstat()
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in {0, me}:
        raise NotPrivate(f"{path} is a link that {user_name(link.st_uid)} made; name another folder")
    folder = path.stat()
    if not stat.S_ISDIR(folder.st_mode):
        raise NotADirectoryError(f"{path} is not a folder")
    if folder.st_uid != me:
        raise NotPrivate(
            f"{path} belongs to {user_name(folder.st_uid)} and this process runs as {user_name(me)};"
            " name another folder, or one inside it that does not exist yet"
        )
    if folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotPrivate(f"others may write to {path}; look at what is in it, then type: {_close_command(path)}")


def open_file(path: Path, flags: int) -> int:
    """The descriptor of a file that only we read and write; an own one that others may read is closed to them.

    Args:
        path: In a private folder; a link is not followed.
        flags: Of `os.open`.

    Raises: NotPrivate; OSError.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _check_file(descriptor, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def user_name(uid: int) -> str:
    """The name of a user, or the number of one who has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _check_file(descriptor: int, path: Path) -> None:
    file = os.fstat(descriptor)
    if not stat.S_ISREG(file.st_mode):
        raise NotPrivate(f"{path} is not a file; look at it, then remove it")
    if file.st_uid != os.geteuid():
        raise NotPrivate(f"{path} belongs to {user_name(file.st_uid)}; look at it, then remove it")
    if file.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        os.fchmod(descriptor, 0o600)


def _close_command(path: Path) -> str:
    return f"chmod go-w {shlex.quote(str(path))}"
