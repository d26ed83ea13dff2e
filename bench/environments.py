"""Cached virtual environments for what must not share ours: peers and model servers from wheels.

Rule: one folder per set of requirements and interpreter, finished or not there; two who want the same
one at once build it once.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.errors import ErrorKind, TurnbackError

CACHE_VARIABLE = "XDG_CACHE_HOME"
BUILD_S = 900
_DONE = "turnback.done"


class EnvironmentUnavailable(TurnbackError):
    """It cannot be built on this machine; the message says why."""

    kind = ErrorKind.UNAVAILABLE
    title = "The environment could not be built"


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The Python of an environment that holds the requirements, built when it is not there yet.

    Args:
        name: A word for people who look into the cache.
        requirements: As pip takes them; pin them, or the cache keeps what was newest once.

    Raises: EnvironmentUnavailable.
    """
    folder = _folder(name, requirements)
    with _alone(folder):
        if not is_built(name, requirements):
            _build(folder, requirements)
    return folder / "bin" / "python"


def is_built(name: str, requirements: Sequence[str]) -> bool:
    """Whether `environment` would return at once."""
    return (_folder(name, requirements) / _DONE).exists()


def _folder(name: str, requirements: Sequence[str]) -> Path:
    cache = Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache")
    content = "\n".join((sys.version, *sorted(requirements)))
    return cache / "turnback" / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(folder: Path, requirements: Sequence[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(folder))
    python = str(folder / "bin" / "python")
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
    (folder / _DONE).touch()


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=BUILD_S)
    except subprocess.CalledProcessError as failed:
        lines = (failed.stderr or failed.stdout).strip().splitlines()
        raise EnvironmentUnavailable(lines[-1] if lines else f"exit code {failed.returncode}") from None
    except subprocess.TimeoutExpired:
        raise EnvironmentUnavailable(f"not built within {BUILD_S} s") from None
