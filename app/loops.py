"""Loops that last as long as the process: each has a heartbeat, and starts anew when it ends, fails or falls silent.

Rule: nobody waits for a loop longer than was said. One that does not end when it is cancelled is given up: it runs into
a cancellation at its next beat, so that it changes nothing any more if it ever wakes (ADR 0131).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

LOOK_EVERY_S: Final = 0.25
# Between a failure and the next start.
PAUSE_S: Final = 1.0
# What a cancelled loop may take to end before it is given up.
GRACE_S: Final = 2.0
# At the end of the process, what swallowed one cancellation gets another.
CANCEL_AGAIN_S: Final = 0.25

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Loop:
    """Work that goes on until it is cancelled.

    Attributes:
        run: Does the work; calls `beat` at least once in `silent_after_s`.
        silent_after_s: How long its longest step may take. Infinite: nobody looks.
        once: Whether it is done when it returns.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    silent_after_s: float
    once: bool = False


class Heard(NamedTuple):
    """When a loop was last heard of, and how long it may be silent."""

    name: str
    age_s: float
    silent_after_s: float


class _Life:
    """One loop from one start to its end."""

    __slots__ = ("_monotonic", "beaten_at", "cancelled_at", "heard", "loop", "task")

    def __init__(self, loop: Loop, monotonic: Callable[[], float]) -> None:
        self.loop = loop
        self._monotonic = monotonic
        self.beaten_at = monotonic()
        self.heard = False
        self.cancelled_at: float | None = None
        self.task = asyncio.create_task(self._run(), name=loop.name)

    async def _run(self) -> None:
        _LIFE.set(self)
        await self.loop.run()

    def beat(self) -> None:
        if self.cancelled_at is not None:
            raise asyncio.CancelledError
        self.beaten_at = self._monotonic()
        self.heard = True

    def cancel(self) -> None:
        self.cancelled_at = self._monotonic()
        self.task.cancel()


_LIFE: ContextVar[_Life | None] = ContextVar("life", default=None)


def beat() -> None:
    """Say that the loop this runs in gets on. Raises: CancelledError: the loop was cancelled and must end here."""
    life = _LIFE.get()
    if life is not None:
        life.beat()


async def wait_beating(event: asyncio.Event, look_every_s: float = 1.0) -> None:
    """Wait for an event, beating meanwhile."""
    while not event.is_set():
        beat()
        with suppress(TimeoutError):
            async with asyncio.timeout(look_every_s):
                await event.wait()


class Loops:
    """Starts loops, looks after them, ends them."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nothing runs yet. Args: monotonic: seconds."""
        self._monotonic = monotonic
        self._lives: dict[str, _Life] = {}
        self._due: dict[str, tuple[float, Loop]] = {}
        # When each loop was last heard of, over all of its lives.
        self._heard_at: dict[str, float] = {}
        self._given_up: set[asyncio.Task[None]] = set()

    def start(self, loop: Loop) -> None:
        """Run it from now on, for as long as the process lives."""
        self._heard_at.setdefault(loop.name, self._monotonic())
        self._lives[loop.name] = _Life(loop, self._monotonic)

    @property
    def heard(self) -> tuple[Heard, ...]:
        """Every loop that runs or is about to, over all of its lives."""
        now = self._monotonic()
        for life in self._lives.values():
            self._hear(life)
        known = {name: life.loop for name, life in self._lives.items()}
        known |= {name: loop for name, (_, loop) in self._due.items()}
        return tuple(Heard(name, now - self._heard_at[name], loop.silent_after_s) for name, loop in known.items())

    @property
    def silent(self) -> tuple[Heard, ...]:
        """The loops that are silent now, whether they have been started anew or not."""
        return tuple(each for each in self.heard if each.age_s > each.silent_after_s)

    async def watch(self) -> None:
        """Look after all loops until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                self.look()
            except Exception:
                # Nobody looks after who looks after the others.
                log.exception("loop.look_failed")

    def look(self) -> None:
        """Look once: whoever ended, failed or is silent is started anew."""
        now = self._monotonic()
        for name, (at, loop) in list(self._due.items()):
            if now >= at:
                del self._due[name]
                self.start(loop)
        for life in list(self._lives.values()):
            if life.task.done():
                self._ended(life)
            elif life.cancelled_at is not None:
                if now >= life.cancelled_at + GRACE_S:
                    self._give_up(life)
            elif now - life.beaten_at > life.loop.silent_after_s:
                life.cancel()

    def _ended(self, life: _Life) -> None:
        failure = None if life.task.cancelled() else life.task.exception()
        if life.cancelled_at is not None:
            self._say_silent(life, gave_up=False)
        elif failure is not None:
            log.error("loop.failed", loop=life.loop.name, exc_info=failure)
        elif life.loop.once and not life.task.cancelled():
            del self._lives[life.loop.name]
            return
        else:
            log.error("loop.ended", loop=life.loop.name)
        self._start_anew(life, pause_s=PAUSE_S if life.cancelled_at is None else 0.0)

    def _give_up(self, life: _Life) -> None:
        self._say_silent(life, gave_up=True)
        self._given_up.add(life.task)
        life.task.add_done_callback(self._forget)
        self._start_anew(life, pause_s=0.0)

    def _forget(self, task: "asyncio.Task[None]") -> None:
        """Nobody asks any more how it ended."""
        self._given_up.discard(task)
        if not task.cancelled():
            task.exception()

    def _say_silent(self, life: _Life, *, gave_up: bool) -> None:
        silent_s = round(self._monotonic() - life.beaten_at, 1)
        log.error("loop.silent", loop=life.loop.name, silent_s=silent_s, gave_up=gave_up)

    def _hear(self, life: _Life) -> None:
        # A start is no heartbeat: who is started anew and stays silent must not look well for a while.
        if life.heard:
            self._heard_at[life.loop.name] = max(self._heard_at[life.loop.name], life.beaten_at)

    def _start_anew(self, life: _Life, pause_s: float) -> None:
        name = life.loop.name
        self._hear(life)
        del self._lives[name]
        if pause_s:
            self._due[name] = (self._monotonic() + pause_s, life.loop)
        else:
            self.start(life.loop)

    async def end(self, within_s: float) -> tuple[str, ...]:
        """Cancel all of them; returns the names of those that did not end in time, which are left alone."""
        self._due.clear()
        lives, self._lives = list(self._lives.values()), {}
        for life in lives:
            life.cancelled_at = self._monotonic()
        tasks = {life.task for life in lives} | self._given_up
        left = await _cancelled(tasks, within_s)
        for task in tasks - left:
            self._forget(task)
        return tuple(sorted({task.get_name() for task in left}))


async def _cancelled(tasks: "set[asyncio.Task[None]]", within_s: float) -> "set[asyncio.Task[None]]":
    """Those that are left when the time is over."""
    left = {task for task in tasks if not task.done()}
    end = asyncio.get_running_loop().time() + within_s
    while left and asyncio.get_running_loop().time() < end:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=min(CANCEL_AGAIN_S, within_s))
    return left
