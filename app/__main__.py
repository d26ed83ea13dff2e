"""`python3 -m app VERB`: makes .venv from the lock file on the first run, then calls the CLI.

Rule: standard library only, in a syntax that old interpreters parse, so that they get a sentence.
Packages go to .venv in the project's folder and nowhere else; set-up speaks on stderr only (ADR 0002).
"""

import contextlib
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11) or os.name != "posix":
    sys.stderr.write(
        "turnback: Python 3.11 or newer on Linux or macOS is needed, and this is "
        f"Python {sys.version_info[0]}.{sys.version_info[1]} on {sys.platform}; "
        "start again with a newer one, for example `python3.12 -m app`.\n"
    )
    raise SystemExit(2)

import fcntl
from collections.abc import Callable, Iterator

from app.cli import answered_without_packages
from app.cli.verbs import VERBS, is_checkout

PROJECT = Path(__file__).resolve().parents[1]
VENV = PROJECT / ".venv"
STAMP = VENV / "turnback.stamp"
LOG = VENV / "turnback-setup.log"
RUN_LOCK, DEV_LOCK = PROJECT / "requirements.lock", PROJECT / "requirements-dev.lock"

_PYTHON = VENV / "bin" / "python"
_BUILDING = "building"

_NETWORK = (
    "the package index cannot be reached; check the network (or PIP_INDEX_URL and the proxy settings) and start again"
)
# What pip or uv print, in the order of what explains most, and what to do about it.
_REMEDIES = (
    ("DO NOT MATCH THE HASHES", "a downloaded package is not the one in {lock}; do not use that package index"),
    ("Hash mismatch", "a downloaded package is not the one in {lock}; do not use that package index"),
    ("No space left on device", "the disk is full; make room and start again"),
    ("name resolution", _NETWORK),
    ("Name or service not known", _NETWORK),
    ("nodename nor servname", _NETWORK),
    ("Failed to establish a new connection", _NETWORK),
    ("Connection refused", _NETWORK),
    ("Network is unreachable", _NETWORK),
    ("Max retries exceeded", _NETWORK),
    ("timed out", _NETWORK),
    (
        "No matching distribution found",
        "the package index lacks a locked package for this Python; {log} names it",
    ),
)


class SetupFailed(Exception):
    """The environment could not be made; the message is one sentence with the remedy."""


def main() -> None:
    """Run the command in sys.argv inside the environment it needs."""
    arguments = sys.argv[1:]
    code = answered_without_packages(arguments)
    if code is not None:
        raise SystemExit(int(code))
    if is_checkout():
        try:
            _enter(DEV_LOCK if VERBS[arguments[0]].needs_checkout else RUN_LOCK, arguments)
        except SetupFailed as failed:
            raise SystemExit(f"turnback: {failed}") from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None
    importlib.import_module("app.cli").main()


def _enter(lock: Path, arguments: list[str]) -> None:
    """Come back inside a current .venv, or start anew there."""
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    if not _is_current(lock):
        _set_up(lock)
    elif inside:
        return
    sys.stderr.flush()
    os.execv(_PYTHON, [str(_PYTHON), "-m", "app", *arguments])


def _is_current(lock: Path) -> bool:
    """Whether .venv holds what the lock file says, for this Python."""
    try:
        stamped = STAMP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return _python_line() in stamped and _lock_line(lock) in stamped and _PYTHON.exists()


def _python_line() -> str:
    return f"python {sys.version_info.major}.{sys.version_info.minor}"


def _lock_line(lock: Path) -> str:
    return f"{lock.name} {hashlib.sha256(lock.read_bytes()).hexdigest()}"


def _set_up(lock: Path) -> None:
    """Make or renew .venv while every other start waits.

    Raises:
        SetupFailed: with the remedy.
    """
    try:
        VENV.mkdir(exist_ok=True)
        with _alone():
            # Whoever held the lock may have done the work.
            if not _is_current(lock):
                _make_environment()
                _install(lock)
                _stamp(lock)
    except OSError as error:
        where = error.filename or VENV
        raise SetupFailed(
            f"cannot write {where} ({error.strerror}); make the folder writable, or start from a copy you may write to."
        ) from None


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the set-up lock; the kernel drops it with the process, so it is never stale."""
    with (VENV / "turnback.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another start is setting up .venv; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _make_environment() -> None:
    """An empty environment, unless one for this Python is there already.

    Raises:
        SetupFailed: when Python came without venv, or the folder holds somebody else's environment.
    """
    stamped = STAMP.read_text(encoding="utf-8").splitlines() if STAMP.exists() else []
    if _python_of_environment() == _python_line() and _BUILDING not in stamped:
        return
    if not stamped and (VENV / "pyvenv.cfg").exists():
        raise SetupFailed(
            f"{VENV} is an environment for another Python that this program did not make; remove or rename it."
        )
    _say(f"making {VENV} for {_python_line()}")
    _empty()
    STAMP.write_text(f"{_BUILDING}\n", encoding="utf-8")
    try:
        venv = importlib.import_module("venv")
    except ImportError:
        raise SetupFailed(_no_venv("venv")) from None
    venv.EnvBuilder(symlinks=True).create(VENV)


def _python_of_environment() -> str:
    """The line of the stamp for the Python in .venv; empty when there is none that starts."""
    command = [str(_PYTHON), "-c", "import sys; print('python %d.%d' % sys.version_info[:2])"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()


def _empty() -> None:
    """Remove all of .venv but the lock that is held."""
    for entry in VENV.iterdir():
        if entry.name == "turnback.lock":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _no_venv(module: str) -> str:
    return (
        f"this Python came without its {module} module; install it (Debian and Ubuntu: apt install python3-venv) "
        "or uv, and start again."
    )


def _install(lock: Path) -> None:  # ADR 0003
    """Install what the lock file names, every file checked against its hash."""
    total = sum(1 for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line and line[0].isalnum())
    _say(f"installing {total} packages from {lock.name} into .venv")
    uv = shutil.which("uv")
    if uv is not None:
        command = [uv, "pip", "install", "--python", str(_PYTHON), "--require-hashes", "--compile-bytecode"]
        if _run([*command, "--no-progress", "-r", str(lock)], lambda _: None) == 0:
            return
        _say("uv did not succeed; trying pip")
    _ensure_pip()
    command = [str(_PYTHON), "-m", "pip", "install", "--require-hashes", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "-r", str(lock)]
    if _run(command, _Progress(total)) != 0:
        raise SetupFailed(_remedy(lock))


def _ensure_pip() -> None:
    """Put pip into .venv, from the copy that Python brings."""
    if _run([str(_PYTHON), "-m", "pip", "--version"], lambda _: None) == 0:
        return
    try:
        importlib.import_module("ensurepip")
    except ImportError:
        raise SetupFailed(_no_venv("ensurepip")) from None
    if _run([str(_PYTHON), "-m", "ensurepip", "--default-pip"], lambda _: None) != 0:
        raise SetupFailed(f"pip could not be put into .venv; {LOG} says why.")


def _run(command: list[str], on_line: Callable[[str], None]) -> int:
    """Run a command to its end, its output in the log and line by line to `on_line`."""
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n")
        process = subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        with process:
            for line in process.stdout or ():
                log.write(line)
                on_line(line)
        return process.returncode


class _Progress:
    """One line that counts: redrawn on a terminal, said at each quarter elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._seen = 0

    def __call__(self, line: str) -> None:
        if line.startswith(("Collecting ", "Requirement already satisfied: ", "Ignoring ")):
            self._seen += 1
            self._show(f"{self._seen}/{self._total} packages", quarter=self._seen % max(1, self._total // 4) == 0)
        elif line.startswith("Installing collected packages"):
            self._show("unpacking", quarter=True)
        elif line.startswith("Successfully installed"):
            self._show("done", quarter=True)
            if sys.stderr.isatty():
                sys.stderr.write("\n")

    def _show(self, text: str, *, quarter: bool) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[Kturnback: {text}")
            sys.stderr.flush()
        elif quarter:
            _say(text)


def _remedy(lock: Path) -> str:
    """One sentence for what the log of the failed installation says."""
    text = LOG.read_text(encoding="utf-8", errors="replace")
    text = text[text.rindex("\n$ ") :] if "\n$ " in text else text
    for sign, sentence in _REMEDIES:
        if sign in text:
            return f"setting up .venv failed: {sentence.format(lock=lock.name, log=LOG)}."
    last = next((line for line in reversed(text.splitlines()) if line.startswith("ERROR")), "pip ended with an error")
    return f"setting up .venv failed: {last.removeprefix('ERROR: ').rstrip('.')}; {LOG} has all of it."


def _stamp(lock: Path) -> None:
    """Note what .venv holds; the development lock contains the other one."""
    held = (RUN_LOCK, DEV_LOCK) if lock == DEV_LOCK else (RUN_LOCK,)
    lines = [_python_line(), *(_lock_line(each) for each in held)]
    fresh = STAMP.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fresh.replace(STAMP)


def _say(text: str) -> None:
    sys.stderr.write(f"turnback: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
