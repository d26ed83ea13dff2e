"""Where the embedded PostgreSQL keeps its data: where it was asked to, unless its user cannot get there.

Rule: no folder that is there is opened for it. Data under a closed folder is moved once, by one
rename, and a link takes its place; where that cannot be done, the refusal says what to type.
"""

import errno
import os
import pwd
import secrets
import shlex
import stat
from pathlib import Path

import structlog

from app import private
from app.errors import CannotServe
from app.store.pg.server_account import Account

ELSEWHERE = Path("/var/lib/turnback-postgres")

_log = structlog.get_logger()


def settle(asked: Path, account: Account, elsewhere: Path) -> Path:
    """Make the data folder or find it, where the server's user reaches it; returns it, and `asked` leads there.

    Args:
        asked: In a private folder.
        account: Who owns the data.
        elsewhere: For what that user cannot reach.

    Raises: CannotServe; OSError.
    """
    _end_move(asked)
    if asked.exists():
        _check_owner(asked, account)
        # The way there, not the way by the link: the server is told the former.
        if not account.may("-x", asked.resolve()):
            _move(asked, account, elsewhere)
    elif asked.is_symlink():
        raise CannotServe(
            f"{asked} leads to {asked.readlink()}, which is gone;"
            f" bring the data back, or begin without it: rm {shlex.quote(str(asked))}"
        )
    else:
        _make(asked, account, elsewhere)
    folder = asked.resolve()
    if account.is_other:
        tell_open_home(folder, Path(pwd.getpwuid(os.geteuid()).pw_dir))
    return folder


def make_reachable(elsewhere: Path, account: Account) -> None:
    """Make or check the folder for what the server's user cannot reach. Raises: CannotServe; OSError."""
    private.make_folder(elsewhere, group=account.passing_group)
    if not account.may("-x", elsewhere):
        raise CannotServe(f"{_closed(elsewhere, account)}; open the way, or set TURNBACK_DATABASE_URL.")


def _make(asked: Path, account: Account, elsewhere: Path) -> None:
    folder = asked
    if not account.may("-x", asked.parent):
        folder = _new_place(account, elsewhere)
        asked.symlink_to(folder)
        _log.warning("postgres.data_elsewhere", folder=str(folder), why=_closed(asked, account))
    folder.mkdir(mode=private.MODE)
    account.take(folder)


def _move(asked: Path, account: Account, elsewhere: Path) -> None:
    if asked.is_symlink():
        raise CannotServe(f"{_closed(asked.resolve(), account)}; move it to where that user can get.")
    target = _new_place(account, elsewhere)
    link = _moving(asked)
    # The link comes first: whoever starts after a crash between the two knows where the data went.
    link.symlink_to(target)
    try:
        asked.rename(target)
    except OSError as failed:
        link.unlink()
        if failed.errno != errno.EXDEV:
            raise
        old, new = shlex.quote(str(asked)), shlex.quote(str(target))
        raise CannotServe(
            f"{_closed(asked, account)}, and {elsewhere} is on another file system;"
            f" move the data by hand: mv {old} {new} && ln -s {new} {old}"
        ) from None
    link.rename(asked)
    _log.warning("postgres.data_moved", folder=str(target), before=str(asked), why=_closed(asked, account))


def _end_move(asked: Path) -> None:
    """A process may have ended between the two renames of a move."""
    link = _moving(asked)
    if link.is_symlink():
        if os.path.lexists(asked):
            link.unlink()
        else:
            link.rename(asked)


def _moving(asked: Path) -> Path:
    return asked.with_name(f"{asked.name}.moving")


def _new_place(account: Account, elsewhere: Path) -> Path:
    make_reachable(elsewhere, account)
    return elsewhere / f"data-{secrets.token_hex(8)}"


def _check_owner(asked: Path, account: Account) -> None:
    """Raises: CannotServe: the data is not the server's."""
    folder = asked.resolve()
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{folder} is not a folder")
    if found.st_uid == account.uid:
        return
    if found.st_uid == os.geteuid() and not any(folder.iterdir()):
        account.take(folder)
        return
    raise CannotServe(
        f"{folder} belongs to {private.user_name(found.st_uid)}, and the embedded Postgres runs as {account.name};"
        " name another state folder, or remove this one if you do not know whose it is."
    )


def tell_open_home(folder: Path, home: Path) -> None:
    """Earlier versions opened root's home on the way to the data; closing it is for a person to decide."""
    if home in folder.parents and home.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning(
            "postgres.home_is_open",
            home=str(home),
            why="an earlier version may have opened it for the server",
            remedy=f"chmod 700 {shlex.quote(str(home))}, and the next start moves the data",
        )


def _closed(folder: Path, account: Account) -> str:
    return f"{account.name}, the user of the embedded Postgres, cannot get to {folder}: it or a folder above is closed"
