"""Looks at exchanges after they ended: readings, slices, distributions, and the rows that are kept of them.

Rule: nothing here delays an answer, and a second is not called final before all that ended in it was
looked at. What waits for Postgres is bounded: readings add up, rows are dropped, the oldest first.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite
from typing import Final

from app.domain.catalog.declarations import Credentials, Prices, Signature
from app.domain.catalog.json_pointer import MISSING
from app.domain.evidence.observed import (
    COMPLETION_TOKENS,
    COST,
    MEGABYTES,
    PROMPT_TOKENS,
    SECONDS,
    AnsweredRow,
    Flaw,
    ObservedFlush,
    SliceCounts,
)
from app.domain.evidence.tally import Counter, Flush, Watermark
from app.proxy.http1.framing import BLANKS
from app.proxy.observing.note import Note
from app.proxy.observing.pending import WaitingRows
from app.proxy.observing.request_document import said_in
from app.proxy.observing.rows import ObservedCell
from app.proxy.observing.sanitize import plain, storable
from app.proxy.responses import reading as following
from app.proxy.responses.flaws import flaws_of
from app.proxy.responses.reading import Reading
from app.proxy.responses.streams import StreamJudge
from app.recording.arm import Arm
from app.recording.recorder import Recorder
from app.recording.tally_row import CANCELLED, CLIENT_ERROR, OK

# So many are looked at before the loop gets its turn.
_AT_ONCE: Final = 32
CLIENT_KEY_MAX: Final = 256
_NO_FLAWS: Final[frozenset[Flaw]] = frozenset()


class Observer:  # ADR 0091
    """Everything of one process.

    Attributes:
        rows: What waits for Postgres.
    """

    __slots__ = ("_final", "_monotonic", "_recorder", "_scheduled", "_waiting", "rows")

    def __init__(self, recorder: Recorder, monotonic: Callable[[], float]) -> None:
        self._recorder = recorder
        self._monotonic = monotonic
        self._waiting: deque[Note] = deque()
        self._scheduled = False
        self._final = -1
        self.rows = WaitingRows()

    def later(self, note: Note) -> None:
        """Look at this exchange once the loop has nothing more urgent."""
        self._waiting.append(note)
        self._schedule()

    def answered(self, arm: Arm, second: int, generation: int, exchange: bytes, request_id: bytes, status: int) -> None:
        """Keep that a version under trial answered, where nobody looks at what."""
        names = (arm.model, arm.version, generation, True, request_id.decode("ascii", "replace"), None, status)
        self.rows.keep(AnsweredRow(second, exchange.decode(), *names))

    def _schedule(self) -> None:
        if self._waiting and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._look_at_some)

    def _look_at_some(self) -> None:
        self._scheduled = False
        try:
            for _ in range(min(_AT_ONCE, len(self._waiting))):
                self._look(self._waiting.popleft())
        finally:
            self._schedule()

    def catch_up(self) -> None:
        """Look at all that has ended."""
        while self._waiting:
            self._look(self._waiting.popleft())

    @property
    def waiting(self) -> int:
        """Exchanges and rows that Postgres is not known to have."""
        return len(self._waiting) + len(self.rows)

    # ------------------------------------------------------------------ one exchange

    def _look(self, note: Note) -> None:
        reading = following.NOTHING if note.follower is None else note.follower.read(clean_end=note.clean_end)
        if note.sampled and reading.counters:
            self._recorder.count(note.arm, reading.counters, self._monotonic())
        is_counted, is_kept = note.is_counted, note.is_kept and note.status > 0
        if not is_counted and not is_kept:
            return
        plan = note.plan
        # An exchange that is kept and not counted has slices, and no features.
        is_asked = plan.slices.by_body or is_counted
        said = MISSING if note.body is None or not is_asked else said_in(note.body.data, note.request)
        slices = slices_of(note, said)
        if is_counted:
            self._count(note, reading, slices)
            if note.is_inference:
                self._spread(note, reading, said)
        if is_kept:
            self.rows.keep(_row(note, reading, slices))

    def _count(self, note: Note, reading: Reading, slices: Mapping[str, str]) -> None:
        """Count it for the arm and the second of its draw."""
        if note.outcome == CANCELLED:
            return
        bad = note.outcome > CLIENT_ERROR
        credentials = note.plan.credentials.get(note.arm.version)
        flaws = _flaws(note, reading, None if credentials is None else credentials.signature, bad=bad)
        counts = SliceCounts(1, int(bad), int(flaws is not None), int(bool(flaws)))
        arm = note.arm
        cell = self.rows.observed.cell(note.second, arm.model, note.generation, arm.version)
        cell.add(counts, flaws or (), slices)
        if note.outcome == OK:
            _measure(cell, note, reading, credentials)

    def _spread(self, note: Note, reading: Reading, said: object) -> None:
        """Add its values to the arm's distributions, whatever came of it: who left early is no one's choice."""
        features = note.plan.features
        is_missing = reading.withheld is Flaw.EMPTY or Counter.INVALID in reading.counters
        if not (features or is_missing or reading.predictions):
            return
        arm = note.arm
        cell = self.rows.spreads.cell(note.second, arm.model, note.generation, arm.version)
        if reading.predictions:
            first = reading.predictions[0]
            cell.predict(plain(first) if isinstance(first, str) else first)
        elif is_missing:
            cell.predict(None)
        if features:
            cell.ask(said, features)

    # ------------------------------------------------------------------ handing out

    def complete(self, flush: Flush) -> Flush:
        """The tallies, no second of them called final of which the next `collect` will lack something.

        To be called when all that ended was looked at.
        """
        left_out = self.rows.left_out()
        if left_out is not None:
            status = min(flush.watermark.status, left_out - 1)
            flush = replace(flush, watermark=Watermark(status, flush.watermark.latency))
        self._final = flush.watermark.status
        return flush

    def collect(self) -> ObservedFlush:
        """What changed since it was last acknowledged, and the oldest rows that wait."""
        return self.rows.flush()

    def acknowledge(self, flush: ObservedFlush) -> None:
        """The flush is in Postgres: forget what can no longer change."""
        self.rows.acknowledge(flush, self._final)


def _flaws(note: Note, reading: Reading, signature: Signature | None, *, bad: bool) -> frozenset[Flaw] | None:
    """What is wrong with the answer; None when it was not looked at."""
    said = Counter.READ in reading.counters or Counter.INVALID in reading.counters
    flaws = frozenset(flaws_of(reading, signature)) if said else _NO_FLAWS
    # How a stream ended is looked at in all of them.
    if isinstance(note.follower, StreamJudge):
        return flaws | {Flaw.STREAM} if bad else flaws
    return flaws if said else None


def slices_of(note: Note, said: object) -> Mapping[str, str]:
    """Slice key's name to the value told apart; `said` as `asked.said_in`."""
    reader = note.plan.slices
    slices = reader.of_fields(note.request.lines) if reader.by_header else {}
    if reader.by_body and note.reads:
        slices |= reader.of_body(said)
    return reader.bounded(slices) if slices else slices


def _row(note: Note, reading: Reading, slices: Mapping[str, str]) -> AnsweredRow:
    return AnsweredRow(
        note.second,
        note.exchange.decode(),
        note.arm.model,
        note.arm.version,
        note.generation,
        note.sampled,
        note.request_id.decode("ascii", "replace"),
        _client_key(note),
        note.status,
        tuple(map(storable, reading.predictions)),
        tuple(score for score in reading.scores if isfinite(score)),
        slices,
    )


def _client_key(note: Note) -> str | None:
    start = note.plan.client_key
    if start:
        for line in note.request.lines:
            if line[: len(start)].lower() == start:
                key = line[len(start) :].strip(BLANKS).decode("utf-8", "replace")
                return key if 0 < len(key) <= CLIENT_KEY_MAX and key.isprintable() else None
    return None


def _measure(cell: ObservedCell, note: Note, reading: Reading, credentials: Credentials | None) -> None:
    usage = reading.usage
    megabytes = note.size / 1e6
    cell.measure(SECONDS, note.seconds)
    cell.measure(MEGABYTES, megabytes)
    if usage is not None:
        cell.measure(PROMPT_TOKENS, usage.prompt)
        cell.measure(COMPLETION_TOKENS, usage.completion)
    prices = None if credentials is None else credentials.prices
    if prices is not None:
        cell.measure(COST, _cost(prices, note.seconds, megabytes, reading))


def _cost(prices: Prices, seconds: float, megabytes: float, reading: Reading) -> float:
    cost = prices.per_answer + prices.per_second * seconds + prices.per_megabyte * megabytes
    if reading.usage is not None:
        cost += prices.per_1k_prompt_tokens * reading.usage.prompt / 1_000
        cost += prices.per_1k_completion_tokens * reading.usage.completion / 1_000
    return min(cost, prices.cap)
