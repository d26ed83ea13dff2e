"""Flights land: only then is it known whether they were late, and that goes back to the gateway as a label.

Rule: a label brings back the receipt of the answer it is about, and nothing else joins the two (ADR 0114).
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

import httpx
import orjson

from app.demo.children import CannotPlay
from app.demo.flights import AIR_MINUTES_PER_SECOND, THRESHOLD, History
from app.demo.replay import Answer

PATH = "/turnback/v1/feedback"
EVERY_S = 0.25
BATCH_MAX = 5_000
PATIENCE_S = 60.0


@dataclass(slots=True)
class Quality:
    """How good the answers were, which the client can tell because it has the flights' whole history.

    Attributes:
        predicted, wrong: Answers with a prediction, and those of them that were wrong, by version and month.
    """

    predicted: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: Counter[tuple[str, int]] = field(default_factory=Counter)

    def add(self, version: str, month: int, *, wrong: bool) -> None:
        self.predicted[version, month] += 1
        self.wrong[version, month] += wrong

    def wrong_of(self, version: str) -> int:
        return sum(count for (of, _), count in self.wrong.items() if of == version)

    def error_by_month(self, version: str) -> dict[int, float]:
        """Share of wrong answers."""
        months = sorted(month for of, month in self.predicted if of == version)
        return {month: self.wrong[version, month] / self.predicted[version, month] for month in months}


class Landing(NamedTuple):
    """The end of a flight; in order of time.

    Attributes:
        at: On the event loop's clock.
        receipt: Of the answer that predicted it.
    """

    at: float
    receipt: str
    late: bool


class Landings:
    """Hears every answer, waits until its flight has landed, and sends the label.

    Attributes:
        results: The labels that the gateway took, by its word for what became of them.
    """

    def __init__(self, history: History, client: httpx.AsyncClient) -> None:
        """Args: client: Of the inference listener."""
        self.quality = Quality()
        self.results: Counter[str] = Counter()
        self._late: Sequence[bool] = history.late.tolist()
        self._air_time: Sequence[int] = history.air_time.tolist()
        self._months = [flight.month for flight in history.flights]
        self._client = client
        self._clock = asyncio.get_running_loop().time
        self._air: list[Landing] = []
        self._landed: list[Landing] = []
        self._reporting: asyncio.Task[None] | None = None
        self._give_up_at: float | None = None

    @property
    def waiting(self) -> int:
        """Flights whose labels the gateway has not taken yet."""
        return len(self._air) + len(self._landed)

    def hear(self, answer: Answer) -> None:
        """Take an answer; one without a prediction gets no label."""
        if answer.chance is None or answer.flight is None:
            return
        late = self._late[answer.flight]
        self.quality.add(answer.version, self._months[answer.flight], wrong=(answer.chance >= THRESHOLD) != late)
        if answer.receipt:
            at = self._clock() + self._air_time[answer.flight] / AIR_MINUTES_PER_SECOND
            heappush(self._air, Landing(at, answer.receipt, late))

    def begin(self) -> None:
        """Send labels several times a second from now on."""
        self._reporting = asyncio.create_task(self._report())

    def check(self) -> None:
        """Find out whether labels are still sent. Raises: CannotPlay when the gateway refuses them."""
        if self._reporting is not None and self._reporting.done():
            self._reporting.result()

    async def end(self) -> None:
        """Wait until every flight in the air has landed and is labelled. Raises: CannotPlay."""
        self._give_up_at = self._clock() + PATIENCE_S
        if self._reporting is not None:
            await self._reporting

    def abandon(self) -> None:
        """Send no further labels."""
        if self._reporting is not None:
            self._reporting.cancel()

    async def _report(self) -> None:
        while self._give_up_at is None or (self.waiting and self._clock() < self._give_up_at):
            self._landed += self._landing(self._clock())
            if self._landed and await self._is_taken(self._landed[:BATCH_MAX]):
                del self._landed[:BATCH_MAX]
            await asyncio.sleep(EVERY_S)

    def _landing(self, now: float) -> Iterator[Landing]:
        while self._air and self._air[0].at <= now:
            yield heappop(self._air)

    async def _is_taken(self, batch: Sequence[Landing]) -> bool:
        """Whether the gateway took a batch; else it is sent again, and counts once. Raises: CannotPlay."""
        content = orjson.dumps([{"receipt": each.receipt, "label": int(each.late)} for each in batch])
        try:
            answer = await self._client.post(PATH, content=content, headers={"content-type": "application/json"})
        except httpx.TransportError:
            return False
        if answer.status_code == 503:
            return False
        if not answer.is_success:
            raise CannotPlay(f"the gateway refused labels: {answer.status_code} {answer.text}")
        self.results.update({name: count for name, count in answer.json().items() if type(count) is int})
        return True
