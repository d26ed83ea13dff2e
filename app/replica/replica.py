"""One process' loops between its data plane and Postgres.

Rule: whatever Postgres does, nothing here raises or forgets: the last table stays, rows stay in the
recorder, and all is written when it takes them again. Each loop goes on, or fails, for itself.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol, TypeAlias, TypeVar

import structlog

from app import loops
from app.domain.catalog.models import ModelName
from app.domain.evidence.tally import TallyRow, UnitRow
from app.errors import DatabaseUnavailable, OutcomeUnknown
from app.loops import Loop
from app.recording.batch import Batch
from app.replica.clock import DatabaseClock
from app.replica.data_plane import DataPlane
from app.replica.routing import QUESTIONS_MAX, Routing, Unreadable
from app.replica.snapshot import Snapshot
from app.store.evidence import observed, randomization_units, tallies
from app.store.labels import answers
from app.store.pg import notifications
from app.store.pg.contact import Contact
from app.store.pg.database import TRANSACTION_MAX_S, Database, Transaction
from app.store.routing import replicas
from app.store.routing.replicas import Brake

DeadBoots: TypeAlias = Callable[[], Iterator["DeadBoot"]]
_Row = TypeVar("_Row")

# A push of so many rows may have left some behind; the next one does not wait.
BACKLOG_ROWS = 1_000
LISTEN_AGAIN_S = 1.0
RECOVER_EVERY_S = 30.0
# Rows of a dead boot in one transaction.
RECOVERED_ROWS = 2_000
# After a pull that failed the next one does not wait for longer than this, however slow the pace is.
PULL_AGAIN_S: Final = 0.25
WITHHOLD_EVERY_S: Final = 0.5
SAVE_LOOK_S: Final = 5.0
# A transaction, its clean-up, and an event loop that had other things to do.
STEP_MAX_S: Final = TRANSACTION_MAX_S + 5.0
# A disk may take long over a whole journal.
DISK_MAX_S: Final = 120.0

log = structlog.get_logger()


class DeadBoot(Protocol):
    """What a process that died had counted and perhaps not written.

    Attributes:
        boot: Its UUID, hexadecimal.
        bad_records: How much of it could not be read.
    """

    boot: str
    rows: tuple[TallyRow, ...]
    units: tuple[UnitRow, ...]
    bad_records: int

    def forget(self) -> None:
        """It is all in Postgres; blocks."""

    def let_go(self) -> None:
        """Somebody will have to try again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, in seconds."""

    poll_s: float = 0.5
    flush_s: float = 1.0
    canary_max_stale_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Status:
    """What telemetry and readiness want to know.

    Attributes:
        database_up: Whether tables are read; None before the first try.
        routing_age_s: Seconds since the applied table was known to be current; None before the first.
        pushed_age_s: Seconds since the last push was committed; None before the first.
        canary_withheld: Whether only stable gets traffic because Postgres was away too long.
        from_disk: Whether the table was read from this machine's disk and Postgres has not been heard since.
        contacts: What the loops found at Postgres.
        unreadable: Models that are served from what was known of them before.
    """

    database_up: bool | None
    applied_revision: int
    routing_age_s: float | None
    pushed_age_s: float | None
    canary_withheld: bool
    from_disk: bool
    contacts: tuple[Contact, ...] = ()
    unreadable: Mapping[ModelName, Unreadable] = field(default_factory=dict)


class Replica:
    """Pulls tables, pushes tallies, for one boot."""

    def __init__(
        self,
        database: Database,
        boot: str,
        role: str,
        *,
        data_plane: DataPlane,
        clock: DatabaseClock,
        pace: Pace = Pace(),
        dead_boots: DeadBoots = lambda: iter(()),
        snapshot: Snapshot | None = None,
    ) -> None:
        """Start without a table.

        Args:
            database: Where to pull from and push to.
            boot, role: A UUID of this process' life, hexadecimal, and what it does.
            data_plane: What is given tables, and counts.
            clock: Learns database time here.
            dead_boots: What other processes of this machine left, one after the other; blocks.
            snapshot: The last table on this machine's disk, for a start without Postgres.
        """
        self._database = database
        self._boot, self._role = boot, role
        self._data_plane = data_plane
        self._clock = clock
        self._pace = pace
        self._dead_boots = dead_boots
        self._snapshot = snapshot
        self._routing = Routing(
            database.apart(QUESTIONS_MAX),
            clock,
            swap=data_plane.swap,
            canary_max_stale_s=pace.canary_max_stale_s,
            snapshot=snapshot,
        )
        self._pushing = Contact("push", clock.monotonic, lost="database.lost", returned="database.returned")
        self._rung = asyncio.Event()

    @property
    def status(self) -> Status:
        routing = self._routing
        return Status(
            routing.contact.up,
            routing.table.revision,
            self._age(routing.contact.worked_at),
            self._age(self._pushing.worked_at),
            routing.withheld,
            routing.from_disk,
            (routing.contact, self._pushing),
            routing.unreadable,
        )

    def loops(self) -> tuple[Loop, ...]:
        """What must go on for as long as the process lives; whoever ends it calls `push` once more."""
        pace = self._pace
        return (
            Loop("pull", self._keep_pulling, pace.poll_s + STEP_MAX_S),
            Loop("withhold", self._keep_withholding, STEP_MAX_S),
            Loop("push", self._keep_pushing, pace.flush_s + STEP_MAX_S),
            Loop("listen", self._keep_listening, notifications.ASKED_EVERY_S + STEP_MAX_S),
            Loop("save", self._keep_saving, DISK_MAX_S),
            Loop("recover", self._keep_recovering, RECOVER_EVERY_S + DISK_MAX_S),
        )

    async def pull(self) -> bool:
        """Look once whether the routing changed; True if it is current now."""
        return await self._routing.pull()

    async def push(self) -> bool:
        """Write once what the data plane counted; True if Postgres took it."""
        return await self._push() is not None

    async def _push(self) -> int | None:
        """How many rows were written, None if nothing could be."""
        if not self._clock.measured:
            return None  # nothing was counted yet, and counting must not begin in any other clock's time
        try:
            async with self._database.transaction() as tx:
                # Only now: what was once handed out is never merged any more, however long Postgres is away.
                batch = self._data_plane.collect()
                await self._write(tx, batch)
        except Exception as odd:  # noqa: BLE001 -- whatever it was, nothing is acknowledged and so nothing is lost
            self._pushing.failed(odd)
            return None
        self._pushing.works()
        self._data_plane.acknowledge(batch)
        return batch.size

    async def _write(self, tx: Transaction, batch: Batch) -> None:
        """The batch and, of the same moment, what this process says of itself."""
        counted, read = batch.tallies, batch.observed
        await tallies.upsert(tx, self._boot, counted.rows)
        await randomization_units.upsert(tx, self._boot, counted.units)
        await observed.upsert(tx, self._boot, (*read.observed, *read.spreads))
        await answers.add(tx, read.answers)
        brakes = [Brake(each.model, each.version, each.cause) for each in self._data_plane.open_brakes()]
        revision = self._routing.table.revision
        await replicas.beat(tx, self._boot, self._role, counted.watermark, revision, brakes)

    async def recover(self) -> None:
        """Write what dead processes of this machine counted, in their name; what fails is left for the next time."""
        found = self._dead_boots()
        while (dead := await asyncio.to_thread(next, found, None)) is not None:
            loops.beat()
            try:
                await self._write_all(dead)
            except (DatabaseUnavailable, OutcomeUnknown):
                dead.let_go()
                return
            except Exception:
                # One folder that Postgres refuses must not keep the others, or the pulling, from going on.
                dead.let_go()
                log.exception("journal.not_recovered", boot=dead.boot)
                continue
            await asyncio.to_thread(dead.forget)
            exchanges = sum(row.tally.exchanges for row in dead.rows)
            log.warning("journal.recovered", boot=dead.boot, exchanges=exchanges, bad_records=dead.bad_records)

    async def _write_all(self, dead: DeadBoot) -> None:
        for rows in _pieces(dead.rows):
            loops.beat()
            async with self._database.transaction() as tx:
                await tallies.upsert(tx, dead.boot, rows)
        for first_exchanges in _pieces(dead.units):
            loops.beat()
            async with self._database.transaction() as tx:
                await randomization_units.upsert(tx, dead.boot, first_exchanges)

    async def _keep_pulling(self) -> None:
        while True:
            loops.beat()
            pause_s = self._pace.poll_s if await self.pull() else min(self._pace.poll_s, PULL_AGAIN_S)
            loops.beat()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._rung.wait()
            self._rung.clear()

    async def _keep_withholding(self) -> None:
        """Beside the pulling, which may be stuck just then."""
        while True:
            loops.beat()
            self._routing.enforce()
            await asyncio.sleep(WITHHOLD_EVERY_S)

    async def _keep_pushing(self) -> None:
        while True:
            loops.beat()
            started = self._clock.monotonic()
            written = await self._push()
            if written is None or written < BACKLOG_ROWS:
                await asyncio.sleep(max(0.0, started + self._pace.flush_s - self._clock.monotonic()))

    async def _keep_listening(self) -> None:
        while True:
            loops.beat()
            with suppress(DatabaseUnavailable):
                async with aclosing(notifications.rings(self._database)) as rings:
                    async for _ in rings:
                        loops.beat()
                        self._rung.set()
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def _keep_saving(self) -> None:
        """Beside the pulling, which must not wait for a disk."""
        unsaved = self._routing.unsaved
        while True:
            await loops.wait_beating(unsaved, SAVE_LOOK_S)
            unsaved.clear()
            if self._snapshot is not None:
                await asyncio.to_thread(self._snapshot.save, self._routing.table)

    async def _keep_recovering(self) -> None:
        while True:
            loops.beat()
            up = self._routing.contact.up
            if up:
                await self.recover()
            await asyncio.sleep(RECOVER_EVERY_S if up else LISTEN_AGAIN_S)

    def _age(self, since: float | None) -> float | None:
        return None if since is None else self._clock.monotonic() - since


def _pieces(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """At most RECOVERED_ROWS at once."""
    left = iter(rows)
    while piece := list(islice(left, RECOVERED_ROWS)):
        yield piece
