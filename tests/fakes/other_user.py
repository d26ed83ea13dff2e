"""A piece of code run as another user of the machine, for real; only root can."""

import os
import pwd
import warnings
from collections.abc import Callable

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def as_user(name: str, do: Callable[[], object]) -> str:
    """What it returned or raised, as text. A forked child: that user need not reach this interpreter's files."""
    user = pwd.getpwnam(name)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads at a fork; this child only does this
        child = os.fork()
    if child == 0:
        _become(user)
        os.write(writing, _said(do).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        answer = said.read()
    os.waitpid(child, 0)
    return answer


def _become(user: pwd.struct_passwd) -> None:
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def _said(do: Callable[[], object]) -> str:
    try:
        return str(do())
    except BaseException as failed:  # noqa: BLE001 -- the parent must hear of anything
        return f"{type(failed).__name__}: {failed}"
