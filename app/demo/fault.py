"""Faults that happen on request while the story plays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from time import monotonic

from app.demo.children import uninterrupted
from app.demo.replay import Replay
from app.store.pg.embedded import EmbeddedPostgres

DOWN_S = 10.0
CANARY_ANSWERS = 20
LOOK_S = 0.1


class Fault(StrEnum):
    """The things that the demo can break."""

    POSTGRES = "postgres"  # stopped as a crash would, for 10 s


class Outage:
    """Postgres dies while a canary has traffic, and comes back.

    Attributes:
        down_s: How long it was really down, None until it is back.
        answers, failed: The client's counts meanwhile.
    """

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self._began = False
        self.down_s: float | None = None
        self.answers = 0
        self.failed = 0

    @asynccontextmanager
    async def under_way(self, replay: Replay, canary: str) -> AsyncIterator[None]:
        """The outage happens while the body runs, and is over when this ends; a canary without traffic is spared."""
        task = asyncio.create_task(self._happen(replay, canary))
        try:
            yield
            if self._began:
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _happen(self, replay: Replay, canary: str) -> None:
        while replay.counts.served[canary] < CANARY_ANSWERS:  # noqa: ASYNC110 -- a count, not an event
            await asyncio.sleep(LOOK_S)
        self._began = True
        answers, failed = replay.counts.answers, replay.counts.failed_by_gateway
        since = monotonic()
        await uninterrupted(self._postgres.stop_immediately)
        await asyncio.sleep(DOWN_S)
        self.answers = replay.counts.answers - answers
        self.failed = replay.counts.failed_by_gateway - failed
        await uninterrupted(self._postgres.start)
        self.down_s = monotonic() - since
