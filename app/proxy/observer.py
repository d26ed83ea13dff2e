"""Looks at exchanges after they ended: readings, slices, distributions, and the rows that are kept of them.

Rule: nothing here delays an answer, and a second is not called final before all that ended in it was
looked at. What waits for Postgres is bounded: readings add up, rows are dropped, the oldest first.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import orjson

from app.domain.declared import Credentials, Prices
from app.domain.json_pointer import MISSING
from app.domain.observed import (
    COMPLETION_TOKENS,
    COST,
    MEGABYTES,
    PROMPT_TOKENS,
    SECONDS,
    SPREAD_S,
    AnsweredRow,
    Flaw,
    ObservedFlush,
    SliceCounts,
)
from app.domain.routing import NO_COIN
from app.domain.tally import Counter, TallyKey
from app.proxy import following
from app.proxy.cells import CANCELLED, CLIENT_ERROR, OK
from app.proxy.copies import MAX_BODY
from app.proxy.flaws import flaws_of
from app.proxy.following import Reading
from app.proxy.framing import BLANKS
from app.proxy.notes import NOT_ENDED, Note
from app.proxy.observed_cell import ObservedCell, SpreadCell
from app.proxy.recorder import Recorder

# So many are looked at before the loop gets its turn.
_AT_ONCE: Final = 32
ROWS_MAX: Final = 200_000
ROWS_PER_FLUSH: Final = 20_000
CLIENT_KEY_MAX: Final = 256


class Observer:
    """Everything of one process.

    Attributes:
        dropped: Rows of exchanges that Postgres will never have.
    """

    __slots__ = ("_cells", "_monotonic", "_recorder", "_rows", "_scheduled", "_spreads", "_waiting", "dropped")

    def __init__(self, recorder: Recorder, monotonic: Callable[[], float]) -> None:
        self._recorder = recorder
        self._monotonic = monotonic
        self._waiting: deque[Note] = deque()
        self._scheduled = False
        self._cells: dict[TallyKey, ObservedCell] = {}
        self._spreads: dict[TallyKey, SpreadCell] = {}
        self._rows: deque[AnsweredRow] = deque()
        self.dropped = 0

    def later(self, note: Note) -> None:
        """Look at this exchange once the loop has nothing more urgent."""
        self._waiting.append(note)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._look_at_some)

    def _look_at_some(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._waiting))):
            self._look(self._waiting.popleft())
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._look_at_some)

    def catch_up(self) -> None:
        """Look at all that has ended."""
        while self._waiting:
            self._look(self._waiting.popleft())

    # ------------------------------------------------------------------ one exchange

    def _look(self, note: Note) -> None:
        reading = following.NOTHING if note.follower is None else note.follower.read(clean_end=note.clean_end)
        if reading.counters:
            self._recorder.count(note.arm, reading.counters, self._monotonic())
        watched = note.route.watched
        request = _request_of(note) if watched.reads_requests and note.sampled else MISSING
        slices = _slices(note, request)
        # Of a sticky model an exchange is no unit: its callers are, and they are counted elsewhere.
        if note.sampled and note.by_coin and note.outcome != NOT_ENDED and not watched.is_sticky:
            self._observe(note, reading, slices)
            for name, at in watched.features:
                self._spread(note).feature(name, _first(MISSING if request is MISSING else at.value_in(request)))
        if note.status and _is_kept(note):
            self._keep(_row(note, reading, slices))

    def _observe(self, note: Note, reading: Reading, slices: Mapping[str, str]) -> None:
        """Count it for the arm and the second of its draw."""
        flaws: tuple[Flaw, ...] = ()
        was_read = Counter.READ in reading.counters or Counter.INVALID in reading.counters
        credentials = note.route.watched.credentials.get(note.arm.version)
        if was_read:
            flaws = tuple(flaws_of(reading, None if credentials is None else credentials.signature))
        elif note.follower is not None and OK < note.outcome != CANCELLED and 200 <= note.status < 300:
            was_read, flaws = True, (Flaw.STREAM,)
        bad = note.outcome not in {OK, CLIENT_ERROR, CANCELLED}
        counts = SliceCounts(int(note.outcome != CANCELLED), int(bad), int(was_read), int(bool(flaws)))
        cell = self._cell(note)
        cell.add(counts, flaws, slices)
        if 200 <= note.status < 300 and note.clean_end:
            _measure(cell, note, reading, credentials)
        if reading.predictions:
            self._spread(note).predict(reading.predictions[0])

    def _cell(self, note: Note) -> ObservedCell:
        arm = note.arm
        key = TallyKey(note.second, arm.model, arm.generation, arm.version)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = ObservedCell()
        return cell

    def _spread(self, note: Note) -> SpreadCell:
        arm = note.arm
        key = _ten_of(TallyKey(note.second, arm.model, arm.generation, arm.version))
        cell = self._spreads.get(key)
        if cell is None:
            cell = self._spreads[key] = SpreadCell()
        return cell

    def _keep(self, row: AnsweredRow) -> None:
        self._rows.append(row)
        if len(self._rows) > ROWS_MAX:
            self._rows.popleft()
            self.dropped += 1

    # ------------------------------------------------------------------ handing out

    def collect(self) -> ObservedFlush:
        """What changed since it was last acknowledged, and the oldest rows that wait.

        To be called right after the recorder's tallies were collected: what is final there is complete here.
        """
        observed = [cell.row(key) for key, cell in self._cells.items() if cell.sequence > cell.acknowledged]
        spreads = [cell.row(key) for key, cell in self._spreads.items() if cell.sequence > cell.acknowledged]
        most = min(ROWS_PER_FLUSH, len(self._rows))
        return ObservedFlush(tuple(observed), tuple(spreads), tuple(self._rows[at] for at in range(most)))

    def acknowledge(self, flush: ObservedFlush) -> None:
        """The flush is in Postgres: forget what can no longer change."""
        sent = set(map(id, flush.answers))
        while self._rows and id(self._rows[0]) in sent:
            self._rows.popleft()
        for row in flush.observed:
            cell = self._cells.get(row.key)
            if cell is not None:
                cell.acknowledged = max(cell.acknowledged, row.sequence)
        for spread in flush.spreads:
            spread_cell = self._spreads.get(spread.key)
            if spread_cell is not None:
                spread_cell.acknowledged = max(spread_cell.acknowledged, spread.sequence)
        self._forget()

    def _forget(self) -> None:
        """Drop what Postgres has and no exchange can still be added to."""
        growing = self._recorder.growing()
        self._cells = {
            key: cell for key, cell in self._cells.items() if key in growing or cell.sequence > cell.acknowledged
        }
        tens = {_ten_of(key) for key in growing}
        self._spreads = {
            key: cell for key, cell in self._spreads.items() if key in tens or cell.sequence > cell.acknowledged
        }


def _ten_of(key: TallyKey) -> TallyKey:
    return TallyKey(key.second - key.second % SPREAD_S, key.model, key.generation, key.version)


def _slices(note: Note, request: object) -> Mapping[str, str]:
    reader = note.route.watched.slices
    slices = reader.of_fields(note.lines) if reader.by_header else {}
    if reader.by_body and note.sampled:
        slices |= reader.of_body(request)
    return reader.bounded(slices) if slices else slices


def _is_kept(note: Note) -> bool:
    watched = note.route.watched
    on_trial = note.arm.version != note.route.stable.version
    return on_trial or watched.keeps_all or (watched.keeps_rows and note.sampled)


def _row(note: Note, reading: Reading, slices: Mapping[str, str]) -> AnsweredRow:
    arm = note.arm
    return AnsweredRow(
        note.second,
        note.exchange.decode(),
        arm.model,
        arm.version,
        arm.generation if note.by_coin else NO_COIN,
        note.sampled,
        note.request_id.decode("ascii", "replace"),
        _client_key(note),
        note.status,
        reading.predictions,
        reading.scores,
        slices,
    )


def _client_key(note: Note) -> str | None:
    start = note.route.watched.client_key
    if start:
        for line in note.lines:
            if line[: len(start)].lower() == start:
                key = line[len(start) :].strip(BLANKS)
                return key.decode("utf-8", "replace") if 0 < len(key) <= CLIENT_KEY_MAX else None
    return None


def _request_of(note: Note) -> object:
    """The request's body as JSON; MISSING when it is none, or not at hand."""
    tail = note.tail
    if tail is None or not 2 < len(tail) <= MAX_BODY:
        return MISSING
    try:
        return orjson.loads(tail[2:])
    except orjson.JSONDecodeError:
        return MISSING


def _first(value: object) -> float | str | None:
    """One value of an exchange: the first of a list, for what came together says no more than once."""
    while isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return float("inf")
    return value[:64] if isinstance(value, str) else None


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
