"""Processes the demo starts: each says in one line of JSON that it is ready, and each is ended by its id."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

T = TypeVar("T")

READY_WITHIN_S = 60.0
ENDED_WITHIN_S = 10.0
LOOK_S = 0.05
SHOWN_LINES = 5


class CannotPlay(Exception):
    """Something the demo needs did not start or stopped; the text is one sentence for people."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running process, what its ready line said, and everything else it said."""

    name: str
    process: Process
    ready: Mapping[str, Any]
    log: Path

    def check(self) -> None:
        """Raises: CannotPlay when it is gone."""
        if self.process.returncode is not None:
            raise CannotPlay(_gone(self.name, self.process.returncode, self.log))


async def start(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Child:
    """Start a process and wait until it says that it is ready.

    Args:
        name: Its name in a sentence.
        command: The program and its words.
        log: A file that gets its stdout and stderr.
        environment: Added to the caller's own, of which TURNBACK_ variables are not handed on.

    Raises:
        CannotPlay: It ended or stayed silent.
    """
    # A session of its own: Ctrl-C reaches the demo alone, which then ends its children in order.
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=DEVNULL,
            stdout=sink,
            stderr=STDOUT,
            env=_environment(environment or {}),
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            return Child(name, process, await _ready(name, process, log), log)
    except TimeoutError:
        await end(process)
        raise CannotPlay(f"{name} was not ready within {READY_WITHIN_S:.0f} s.{_last_words(log)}") from None
    except BaseException:
        await end(process)
        raise


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


async def uninterrupted(call: Callable[[], T]) -> T:
    """Run a blocking call in a thread; who is cancelled meanwhile stays until it has ended."""
    task = asyncio.create_task(asyncio.to_thread(call))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _ready(name: str, process: Process, log: Path) -> Mapping[str, Any]:
    """The line in which it says so. Raises: CannotPlay when it ends first."""
    while True:
        gone = process.returncode
        ready = _said_ready(log)
        if ready is not None:
            return ready
        if gone is not None:
            raise CannotPlay(_gone(name, gone, log))
        await asyncio.sleep(LOOK_S)


def _said_ready(log: Path) -> Mapping[str, Any] | None:
    """A model server says "ready": true, the gateway logs the event server.ready."""
    for line in log.read_bytes().splitlines():
        if line.startswith(b"{") and line.endswith(b"}"):
            said: Mapping[str, Any] = orjson.loads(line)
            if said.get("ready") is True or said.get("event") == "server.ready":
                return said
    return None


def _environment(added: Mapping[str, str]) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TURNBACK_")}
    return {**kept, **added}


def _gone(name: str, code: int, log: Path) -> str:
    return f"{name} ended with code {code}.{_last_words(log)}"


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
    return " It said last: " + " | ".join(lines) if lines else ""
