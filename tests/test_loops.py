"""Loops that end, fail, fall silent, and do not end when they are told to."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from app import loops
from app.loops import GRACE_S, PAUSE_S, Loop, Loops


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Watched:
    """Supervised loops under a clock that a test turns."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loops = Loops(self.clock)
        self.starts = 0

    def start(self, body: Callable[[], Awaitable[None]], silent_after_s: float = 5.0, *, once: bool = False) -> None:
        async def counted() -> None:
            self.starts += 1
            await body()

        self.loops.start(Loop("pull", counted, silent_after_s, once=once))

    async def later(self, seconds: float) -> None:
        """The clock goes on, everybody looks."""
        await settled()
        self.clock.now_s += seconds
        self.loops.look()
        await settled()

    @property
    def silent(self) -> list[str]:
        return [each.name for each in self.loops.silent]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def for_ever() -> None:
    await asyncio.Event().wait()


async def beating() -> None:
    while True:
        loops.beat()
        await asyncio.sleep(0)


async def fail() -> None:
    raise ZeroDivisionError


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    yield made
    await made.loops.end(1.0)


async def test_a_loop_that_beats_is_left_alone(watched: Watched) -> None:
    watched.start(beating)
    for _ in range(10):
        await watched.later(4.0)
    assert (watched.starts, watched.silent) == (1, [])


async def test_one_that_fails_starts_anew_after_a_pause(watched: Watched) -> None:
    with capture_logs() as logs:
        watched.start(fail)
        await watched.later(0.0)
        assert watched.starts == 1
        await watched.later(PAUSE_S)
        assert watched.starts == 2
    assert (logs[0]["event"], logs[0]["loop"]) == ("loop.failed", "pull")
    assert isinstance(logs[0]["exc_info"], ZeroDivisionError)


async def test_one_that_ends_starts_anew_and_one_that_is_done_does_not(watched: Watched) -> None:
    async def end() -> None:
        await asyncio.sleep(0)

    with capture_logs() as logs:
        watched.start(end)
        for _ in range(3):
            await watched.later(PAUSE_S)
        assert watched.starts > 1
        assert {each["event"] for each in logs} == {"loop.ended"}
    done = Watched()
    done.start(end, math.inf, once=True)
    for _ in range(3):
        await done.later(PAUSE_S)
    assert (done.starts, done.loops.heard) == (1, ())


async def test_a_silent_one_is_cancelled_started_anew_and_told_of_once(watched: Watched) -> None:
    with capture_logs() as logs:
        watched.start(for_ever, 5.0)
        await watched.later(4.9)
        assert (watched.starts, watched.silent) == (1, [])
        await watched.later(0.2)
        await watched.later(0.1)
        assert watched.starts == 2
    assert [(each["event"], each["silent_s"], each["gave_up"]) for each in logs] == [("loop.silent", 5.2, False)]


async def test_one_that_swallows_its_cancellation_is_given_up_and_ends_at_its_next_beat(watched: Watched) -> None:
    release, changed = asyncio.Event(), []

    async def deaf() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await release.wait()
        loops.beat()
        changed.append("too late")

    with capture_logs() as logs:
        watched.start(deaf, 5.0)
        await watched.later(5.1)
        await watched.later(GRACE_S - 0.1)
        assert watched.starts == 1
        await watched.later(0.2)
        assert watched.starts == 2
    assert [(each["event"], each["gave_up"]) for each in logs] == [("loop.silent", True)]
    release.set()
    await settled()
    assert changed == []


async def test_a_start_is_no_heartbeat(watched: Watched) -> None:
    watched.start(for_ever, 5.0)
    await watched.later(5.1)
    assert watched.silent == ["pull"]
    await watched.later(0.1)
    assert watched.starts == 2
    assert watched.silent == ["pull"]
    assert watched.loops.silent[0].age_s == pytest.approx(5.2)


async def test_the_end_waits_no_longer_than_it_was_told_and_names_who_is_left() -> None:
    watched, release = Watched(), asyncio.Event()

    async def never() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    watched.start(never)
    watched.loops.start(Loop("push", for_ever, 5.0))
    await settled()
    async with asyncio.timeout(10.0):
        assert await watched.loops.end(0.1) == ("pull",)
    release.set()
    await settled()


async def test_what_swallows_one_cancellation_gets_another() -> None:
    watched = Watched()

    async def deaf_once() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    watched.start(deaf_once)
    await settled()
    assert await watched.loops.end(10.0) == ()


async def test_waiting_for_an_event_beats(watched: Watched) -> None:
    event = asyncio.Event()

    async def wait() -> None:
        await loops.wait_beating(event, 0.001)
        await beating()

    watched.start(wait)
    for _ in range(3):
        await asyncio.sleep(0.01)
        await watched.later(4.0)
    assert (watched.starts, watched.silent) == (1, [])


async def test_a_beat_outside_of_any_loop_is_nothing() -> None:
    loops.beat()
