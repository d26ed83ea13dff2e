"""Processes the demo starts: each says in one line of JSON that it is ready, and each is ended by its id."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

READY_WITHIN_S = 60.0
ENDED_WITHIN_S = 10.0
SHOWN_LINES = 5


class CannotPlay(Exception):
    """Something the demo needs did not start or stopped; the text is one sentence for people."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running process and what its ready line said."""

    name: str
    process: Process
    ready: Mapping[str, Any]
    log: Path

    def check(self) -> None:
        """Raises: CannotPlay when it is gone."""
        if self.process.returncode is not None:
            raise CannotPlay(f"{self.name} ended with code {self.process.returncode}.{_last_words(self.log)}")


async def start(name: str, command: Sequence[str], log: Path, settings: Mapping[str, str] | None = None) -> Child:
    """Start a process and wait until it says that it is ready.

    Args:
        settings: TURNBACK_ variables; the caller's own are not handed on.
        log: Gets what it writes to stderr.

    Raises:
        CannotPlay: It ended or stayed silent.
    """
    # A session of its own: Ctrl-C reaches the demo alone, which then ends its children in order.
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=sink, env=_environment(settings or {}), start_new_session=True
        )
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            ready = await _ready_line(process)
    except TimeoutError:
        await end(process)
        raise CannotPlay(f"{name} was not ready within {READY_WITHIN_S:.0f} s.{_last_words(log)}") from None
    except BaseException:
        await end(process)
        raise
    child = Child(name, process, ready, log)
    if not ready:
        await end(process)
        child.check()
    return child


async def end(process: Process) -> None:
    """SIGTERM, and SIGKILL when that does not help."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        process.send_signal(sign)
        try:
            async with asyncio.timeout(ENDED_WITHIN_S):
                await process.wait()
        except TimeoutError:
            continue


async def _ready_line(process: Process) -> Mapping[str, Any]:
    """The first line of JSON on stdout; empty when it closes without one."""
    stdout = process.stdout
    while stdout is not None and (line := await stdout.readline()):
        if line.startswith(b"{"):
            ready: Mapping[str, Any] = orjson.loads(line)
            return ready
    return {}


def _environment(settings: Mapping[str, str]) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TURNBACK_")}
    return {**kept, **settings}


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-SHOWN_LINES:] if log.exists() else []
    return " It said last: " + " | ".join(lines) if lines else ""
