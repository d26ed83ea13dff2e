"""Where checked labels go: into Postgres, or on the disk until it is back.

Rule: what was accepted is never lost and never counts twice; while anything waits on the disk,
what comes later waits behind it, so that a correction never arrives before what it corrects.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple, ParamSpec, Protocol, TypeVar

import structlog

from app import loops
from app.domain.catalog.models import ModelName
from app.domain.catalog.receipt import Receipt
from app.domain.evidence.labels import Attributed, Named, Rank, Result, Settled
from app.errors import DatabaseUnavailable, OutcomeUnknown
from app.feedback.figures import FeedbackFigures
from app.feedback.items import Checked, Reader, Refused
from app.feedback.room import Room
from app.feedback.spool import Spool, SpoolFile
from app.store.labels import answers, labels, pending
from app.store.labels.answers import Name
from app.store.labels.labels import KeptLabel
from app.store.pg.complaints import blames_tables
from app.store.pg.contact import Contact
from app.store.pg.database import Database, Transaction

# Labels in one transaction, and items between two pauses: some milliseconds of the event loop each.
AT_ONCE: Final = 2_000
CHECKED_AT_ONCE: Final = 200
EVERY_S: Final = 1.0
# A label that waits for longer is looked for once a minute only.
FRESH_S: Final = 120.0
ALL_EVERY_S: Final = 60.0
FIND_EVERY_S: Final = 30.0
KEPT_S: Final = 86_400.0
# One transaction, or a disk that takes its time over one file.
STEP_MAX_S: Final = 60.0
WAITS: Final = Settled(
    Result.DUPLICATE, None, "a label of this exchange without a key waits on the disk; send another when it is written"
)

_P = ParamSpec("_P")
_T = TypeVar("_T")

log = structlog.get_logger()


class TakeRoom(Protocol):
    """Room for labels that are to wait for their exchange."""

    def __call__(self, tx: Transaction, /, *, wanted: int) -> Awaitable[int]: ...


class Taken(NamedTuple):
    """What became of a batch.

    Attributes:
        items: Each item's verdict, in their order.
        spooled: Whether some of it waits on the disk.
    """

    items: Sequence[Settled]
    spooled: bool


class Intake:
    """One process' way for labels."""

    def __init__(
        self,
        database: Database,
        reader: Reader,
        spool: Spool,
        figures: FeedbackFigures,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """Args: clock: Unix seconds in database time; monotonic: seconds."""
        self._database = database
        self._reader = reader
        self._spool = spool
        self._figures = figures
        self._clock = clock
        self._monotonic = monotonic
        self._room = Room(monotonic, lambda model: figures.add(model, Result.ORPHAN))
        self._disk = asyncio.Lock()
        # Places of labels without a key that may wait on the disk.
        self._on_disk: set[int] = set()
        self._all_swept_at = float("-inf")
        self.contact = Contact("feedback", monotonic, lost="feedback.stuck", returned="feedback.unstuck")

    async def take(self, items: Sequence[object], source: str) -> Taken:
        """Check, attribute and keep a batch; its good items whatever the others are. Raises: SpoolFull."""
        verdicts: dict[int, Settled] = {}
        good: dict[int, Checked] = {}
        now = self._now()
        for at, item in enumerate(items):
            try:
                good[at] = self._reader.read(item, source, now)
            except Refused as refused:
                verdicts[at] = Settled(refused.result, None, str(refused))
                self._figures.add(refused.model, refused.result)
            if at % CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)
        kept, spooled = await self._keep(list(good.values()), source)
        verdicts.update(zip(good, kept, strict=True))
        return Taken([verdicts[at] for at in range(len(items))], spooled)

    async def of_exchange(self, receipt: Receipt, source: str) -> tuple[KeptLabel, ...]:
        """One exchange's labels that this source may see. Raises: DatabaseUnavailable."""
        async with self._database.transaction() as tx:
            return await labels.of_exchange(tx, receipt.exchange, receipt.second, source)

    async def _keep(self, good: Sequence[Checked], source: str) -> tuple[list[Settled], bool]:
        verdicts: list[Settled] = []
        if self._spool.is_empty:
            try:
                for some in _pieces(good):
                    verdicts += await self._write(some, partial(self._room.take, source=source))
            except (DatabaseUnavailable, OutcomeUnknown):
                pass
            else:
                return verdicts, False
        left = good[len(verdicts) :]
        if not left:
            return verdicts, False
        told, on_disk = self._admitted(left)
        if on_disk:
            await self._with_disk(self._spool.append, on_disk, source)
            self._on_disk.update(_place(item) for item in on_disk if item.rank is not Rank.KEY)
        return [*verdicts, *told], bool(on_disk)

    def _admitted(self, left: Sequence[Checked]) -> tuple[list[Settled], list[Checked]]:
        """What each label on its way to the disk counts as, and those that go there.

        Of an exchange and metric one label without a key waits, and one correction: who has one receipt must
        not fill the disk with it.
        """
        if self._spool.is_empty:
            self._on_disk.clear()
        places = set(self._on_disk)
        told: list[Settled] = []
        on_disk: list[Checked] = []
        for item in left:
            place = _place(item)
            if item.rank is not Rank.KEY and place in places:
                told.append(WAITS)
                continue
            places.add(place)
            told.append(Settled(Result.PENDING))
            on_disk.append(item)
        return told, on_disk

    async def _write(self, some: Sequence[Checked], room: TakeRoom) -> list[Settled]:
        """All of it in one transaction. Raises: DatabaseUnavailable, OutcomeUnknown."""
        async with self._database.transaction() as tx:
            done = await _settled(tx, some, room, self._now())
        self._count([*done.earlier, *done.items])
        return [verdict for _, verdict in done.items]

    def _count(self, done: Sequence[tuple[Checked, Settled]]) -> None:
        for item, verdict in done:
            model = item.model if isinstance(item, Named) else item.exchange.model
            self._figures.add(model, verdict.result)
            if isinstance(item, Attributed) and verdict.result is Result.JOINED:
                self._figures.add_lag(model, item.label.received_at.timestamp() - item.exchange.second)

    async def _with_disk(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Let the spool do something, one after the other.

        A cancellation comes out at once and leaves the thread behind, which keeps its turn until it has done:
        two at once would write over each other's labels.
        """
        await self._disk.acquire()
        working = asyncio.get_running_loop().run_in_executor(None, partial(work, *args, **kwargs))
        working.add_done_callback(lambda _: self._disk.release())
        return await asyncio.shield(working)

    # ------------------------------------------------------------------ beside the requests

    async def run(self) -> None:
        """Write what waits on the disk, join what waits for its exchange, until cancelled."""
        found_at = float("-inf")
        while True:
            loops.beat()
            if self._monotonic() >= found_at + FIND_EVERY_S:
                found_at = self._monotonic()
                await self._with_disk(self._spool.take_over)
            try:
                await self.drain()
                await self.sweep()
            except Exception as odd:  # noqa: BLE001 -- whatever it was, what waits is tried again
                self.contact.failed(odd)
            else:
                self.contact.works()
            await asyncio.sleep(EVERY_S)

    async def drain(self) -> None:
        """Write what waits on the disk, the oldest first. Raises: DatabaseUnavailable, OutcomeUnknown."""
        while True:
            loops.beat()
            file = await self._with_disk(self._spool.oldest)
            if file is None:
                return
            try:
                await self._write_file(file)
            except (DatabaseUnavailable, OutcomeUnknown):
                raise
            except Exception as refused:
                if blames_tables(refused):
                    raise
                # One file that Postgres refuses must not keep all others waiting.
                log.exception("feedback.spool_refused", labels=file.labels)
                await self._end(self._spool.refuse, file)
            else:
                log.info("feedback.spool_written", labels=file.labels)
                await self._end(self._spool.done, file)

    async def _write_file(self, file: SpoolFile) -> None:
        batches = await asyncio.to_thread(lambda: list(file.batches()))
        for batch in batches:
            for some in _pieces(batch):
                loops.beat()
                # What an older release has left may name an exchange in a way that needs a key by now.
                vouched_for = [item for item in some if isinstance(item, Attributed) or item.is_vouched_for]
                await self._write(vouched_for, _as_much_as_wanted)

    async def _end(self, how: Callable[[SpoolFile], None], file: SpoolFile) -> None:
        await self._with_disk(how, file)

    async def sweep(self) -> None:
        """Join parked labels whose exchange is there by now. Raises: DatabaseUnavailable, OutcomeUnknown."""
        now = self._now()
        begin_again = self._monotonic() >= self._all_swept_at + ALL_EVERY_S
        since = now - timedelta(seconds=KEPT_S if begin_again else FRESH_S)
        place: pending.Place | None = pending.START
        while place is not None:
            loops.beat()
            async with self._database.transaction() as tx:
                swept = await pending.sweep(tx, place, since, now, most=AT_ONCE)
            self._count(swept.settled)
            place = swept.next
        if begin_again:
            await self._make_room(now)
            self._all_swept_at = self._monotonic()

    async def _make_room(self, now: datetime) -> None:
        """Drop what waited for a day, and of sources that have no room left what nobody can have served."""
        await self._forget(now - timedelta(seconds=KEPT_S))
        async with self._database.transaction() as tx:
            crowded = await pending.crowded(tx)
        for source in crowded:
            await self._forget(now - timedelta(seconds=pending.ORPHAN_S), source)

    async def _forget(self, before: datetime, source: str | None = None) -> None:
        orphans: Sequence[ModelName] | None = None
        while orphans is None or len(orphans) == AT_ONCE:
            loops.beat()
            async with self._database.transaction() as tx:
                orphans = await pending.forget(tx, before, most=AT_ONCE, source=source)
            for model in orphans:
                self._figures.add(model, Result.ORPHAN)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


class _Done(NamedTuple):
    """What a transaction did with some labels, and with those that had waited for the same exchanges."""

    items: Sequence[tuple[Checked, Settled]]
    earlier: Sequence[tuple[Checked, Settled]]


async def _as_much_as_wanted(_tx: Transaction, *, wanted: int) -> int:
    """What was on the disk has been accepted, so it must wait whatever waits already."""
    return wanted


async def _settled(tx: Transaction, some: Sequence[Checked], room: TakeRoom, now: datetime) -> _Done:
    """Join what can be joined and park the rest; what was said before about the same exchanges comes first."""
    known, found = await _looked_up(tx, some, now)
    earlier = await pending.take(tx, found, now)
    to_join = [*earlier, *(item for item in known if isinstance(item, Attributed))]
    to_park = [item for item in known if isinstance(item, Named)]
    joined = await labels.add(tx, to_join) if to_join else []
    late = iter(joined[len(earlier) :])
    waiting = iter(await pending.park(tx, to_park, await room(tx, wanted=len(to_park))) if to_park else ())
    verdicts = []
    for asked, item in zip(some, known, strict=True):
        if item is None:
            verdicts.append((asked, pending.AMBIGUOUS))
        else:
            verdicts.append((item, next(late if isinstance(item, Attributed) else waiting)))
    return _Done(verdicts, list(zip(earlier, joined, strict=False)))


async def _looked_up(
    tx: Transaction, some: Sequence[Checked], now: datetime
) -> tuple[list[Checked | None], Mapping[Name, answers.Answered]]:
    """The labels, attributed where their exchange is known for sure; None where several have its name.

    Returns:
        And the exchanges that were found.
    """
    named = [item for item in some if isinstance(item, Named)]
    if not named:
        return list(some), {}
    there = await answers.find(tx, map(_name, named))
    sure = iter(await pending.sure(tx, named, now))
    known: list[Checked | None] = []
    found: dict[Name, answers.Answered] = {}
    for item in some:
        if not isinstance(item, Named):
            known.append(item)
            continue
        is_sure, name = next(sure), _name(item)
        answered = there.get(name)
        if answered is not None and is_sure:
            found[name] = answered
            known.append(Attributed(answered.exchange, item.label, answered.slices, by_receipt=False))
        else:
            known.append(None if answered is None and name in there else item)
    return known, found


def _place(item: Checked) -> int:
    """Which exchange and metric a label is about, how it came, and whether it corrects one; hashed, to be small."""
    about = item.handle if isinstance(item, Named) else item.exchange.id
    return hash((about, item.label.metric, item.rank, item.label.supersedes is None))


def _name(item: Named) -> Name:
    return Name(item.model, item.named_by, item.handle)


def _pieces(items: Sequence[Checked]) -> Iterator[Sequence[Checked]]:
    return (items[at : at + AT_ONCE] for at in range(0, len(items), AT_ONCE))
