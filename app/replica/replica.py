"""One process' loops between its data plane and Postgres.

Rule: without Postgres nothing here raises or forgets: the last table stays, rows stay in the
recorder, and all is written when it is back.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, TypeAlias, TypeVar

import structlog

from app.domain.catalog.routing import EMPTY_TABLE, FULL_BP, NO_COIN, RoutedModel, RoutingTable
from app.domain.evidence.observed import ObservedFlush
from app.domain.evidence.tally import Flush, TallyRow, UnitRow
from app.errors import DatabaseUnavailable, OutcomeUnknown
from app.replica.clock import DatabaseClock
from app.replica.snapshot import Snapshot
from app.store import answers, bell, observed, replicas, routes, tallies, units
from app.store.database import Database
from app.store.replicas import Brake

Swap: TypeAlias = Callable[[RoutingTable], None]
Collect: TypeAlias = Callable[[], Flush]
Acknowledge: TypeAlias = Callable[[Flush], None]
CollectObserved: TypeAlias = Callable[[], ObservedFlush]
AcknowledgeObserved: TypeAlias = Callable[[ObservedFlush], None]
DeadBoots: TypeAlias = Callable[[], Iterator["DeadBoot"]]
OpenBrakes: TypeAlias = Callable[[], Iterable[Brake]]
_Row = TypeVar("_Row")

# A push of so many rows may have left some behind; the next one does not wait.
BACKLOG_ROWS = 1_000
LISTEN_AGAIN_S = 1.0
RECOVER_EVERY_S = 30.0
# Rows of a dead boot in one transaction.
RECOVERED_ROWS = 2_000

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
        database_up: Whether the last contact worked; None before the first try.
        routing_age_s: Seconds since the applied table was known to be current; None before the first.
        pushed_age_s: Seconds since the last push was committed; None before the first.
        canary_withheld: Whether only stable gets traffic because Postgres was away too long.
        from_disk: Whether the table was read from this machine's disk and Postgres has not been heard since.
    """

    database_up: bool | None
    applied_revision: int
    routing_age_s: float | None
    pushed_age_s: float | None
    canary_withheld: bool
    from_disk: bool = False


class Replica:
    """Pulls tables, pushes tallies, for one boot."""

    def __init__(
        self,
        database: Database,
        boot: str,
        role: str,
        *,
        swap: Swap,
        collect: Collect,
        acknowledge: Acknowledge,
        collect_observed: CollectObserved = ObservedFlush,
        acknowledge_observed: AcknowledgeObserved = lambda _: None,
        open_brakes: OpenBrakes,
        clock: DatabaseClock,
        pace: Pace = Pace(),
        dead_boots: DeadBoots = lambda: iter(()),
        snapshot: Snapshot | None = None,
    ) -> None:
        """Start without a table.

        Args:
            database: Where to pull from and push to.
            boot, role: A UUID of this process' life, hexadecimal, and what it does.
            swap: Puts a table in force.
            collect: What changed since the last acknowledged flush; called only when Postgres listens.
            collect_observed: The same of what was read of answers; called right after `collect`.
            acknowledge, acknowledge_observed: Are told each flush that was committed.
            open_brakes: What this process refuses now.
            clock: Learns database time here.
            dead_boots: What other processes of this machine left, one after the other; blocks.
            snapshot: The last table on this machine's disk, for a start without Postgres.
        """
        self._database = database
        self._boot, self._role = boot, role
        self._swap = swap
        self._collect, self._collect_observed = collect, collect_observed
        self._acknowledge, self._acknowledge_observed = acknowledge, acknowledge_observed
        self._open_brakes = open_brakes
        self._clock = clock
        self._pace = pace
        self._dead_boots = dead_boots
        self._snapshot = snapshot
        self._stale_since: float | None = None
        self._from_disk = self._withheld = False
        self._unsaved = asyncio.Event()
        self._table = EMPTY_TABLE
        self._up: bool | None = None
        self._pulled_at: float | None = None
        self._pushed_at: float | None = None
        self._rung = asyncio.Event()

    @property
    def status(self) -> Status:
        return Status(
            self._up,
            self._table.revision,
            self._age(self._pulled_at),
            self._age(self._pushed_at),
            self._withheld,
            self._from_disk,
        )

    async def run(self) -> None:
        """Pull, push and listen until cancelled; whoever ends the process calls `push` once more."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._keep_pulling())
            loops.create_task(self._keep_pushing())
            loops.create_task(self._keep_listening())
            loops.create_task(self._keep_saving())
            loops.create_task(self._keep_recovering())

    async def pull(self) -> bool:
        """Look once whether the routing changed; True if Postgres answered."""
        try:
            table = await self._changed_table()
        except (DatabaseUnavailable, OutcomeUnknown):
            self._reached(up=False)
            await self._start_from_disk()
            self._withhold_if_stale()
            return False
        self._reached(up=True)
        self._pulled_at = self._stale_since = self._clock.monotonic()
        if table is not None:
            self._swap(table)
            self._table = table
            self._withheld = False
            self._from_disk = False
            self._unsaved.set()
        return True

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
                flush, seen = self._collect(), self._collect_observed()
                await tallies.upsert(tx, self._boot, flush.rows)
                await units.upsert(tx, self._boot, flush.units)
                await observed.upsert(tx, self._boot, (*seen.observed, *seen.spreads))
                await answers.add(tx, seen.answers)
                await replicas.beat(
                    tx, self._boot, self._role, flush.watermark, self._table.revision, self._open_brakes()
                )
        except (DatabaseUnavailable, OutcomeUnknown):
            self._reached(up=False)
            return None
        self._reached(up=True)
        self._acknowledge(flush)
        self._acknowledge_observed(seen)
        self._pushed_at = self._clock.monotonic()
        return len(flush.rows) + len(flush.units) + len(seen.observed) + len(seen.spreads) + len(seen.answers)

    async def recover(self) -> None:
        """Write what dead processes of this machine counted, in their name; what fails is left for the next time."""
        found = self._dead_boots()
        while (dead := await asyncio.to_thread(next, found, None)) is not None:
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
            async with self._database.transaction() as tx:
                await tallies.upsert(tx, dead.boot, rows)
        for first_exchanges in _pieces(dead.units):
            async with self._database.transaction() as tx:
                await units.upsert(tx, dead.boot, first_exchanges)

    async def _start_from_disk(self) -> None:
        """Serve from the last table known, when none was ever pulled."""
        if self._snapshot is None or self._stale_since is not None:
            return
        table = await asyncio.to_thread(self._snapshot.load)
        # How old it is nobody knows; a canary's time without Postgres begins with this process.
        self._stale_since = self._clock.monotonic()
        if table is not None:
            self._swap(table)
            self._table = table
            self._from_disk = True
            log.warning("replica.started_from_disk", revision=table.revision)

    async def _changed_table(self) -> RoutingTable | None:
        async with self._database.transaction() as tx:
            sent = self._clock.monotonic()
            found = await routes.revision(tx)
            self._clock.observe(sent, self._clock.monotonic(), found.at)
            # Different, not greater: after a failover the database's word counts, even an older one.
            is_current = found.revision == self._table.revision and not self._from_disk
            if is_current and not self._withheld:
                return None
            return await routes.table(tx)

    async def _keep_pulling(self) -> None:
        while True:
            await self.pull()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.poll_s):
                    await self._rung.wait()
            self._rung.clear()

    async def _keep_pushing(self) -> None:
        while True:
            started = self._clock.monotonic()
            written = await self._push()
            if written is None or written < BACKLOG_ROWS:
                await asyncio.sleep(max(0.0, started + self._pace.flush_s - self._clock.monotonic()))

    async def _keep_listening(self) -> None:
        while True:
            with suppress(DatabaseUnavailable):
                async with aclosing(bell.rings(self._database)) as rings:
                    async for _ in rings:
                        self._rung.set()
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def _keep_saving(self) -> None:
        """Beside the pulling, which must not wait for a disk."""
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            if self._snapshot is not None:
                await asyncio.to_thread(self._snapshot.save, self._table)

    async def _keep_recovering(self) -> None:
        while True:
            if self._up:
                await self.recover()
            await asyncio.sleep(RECOVER_EVERY_S if self._up else LISTEN_AGAIN_S)

    def _withhold_if_stale(self) -> None:
        age_s = self._age(self._stale_since)
        if self._withheld or age_s is None or age_s <= self._pace.canary_max_stale_s:
            return
        self._withheld = True
        self._swap(stable_only(self._table))
        log.warning("replica.canaries_withheld", stale_s=round(age_s))

    def _reached(self, *, up: bool) -> None:
        if up is not self._up and (self._up is not None or not up):
            log.warning("database.returned" if up else "database.lost", role=self._role)
        self._up = up

    def _age(self, since: float | None) -> float | None:
        return None if since is None else self._clock.monotonic() - since


def stable_only(table: RoutingTable) -> RoutingTable:
    """The table without traffic for anything but stable; draws from a changed route are no evidence."""
    return replace(table, models=tuple(map(_without_canary, table.models)))


def _without_canary(routed: RoutedModel) -> RoutedModel:
    route = routed.route
    alone = {route.stable: FULL_BP}
    if dict(route.weights_bp) == alone:
        return routed
    return replace(routed, route=replace(route, generation=NO_COIN, weights_bp=alone))


def _pieces(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """At most RECOVERED_ROWS at once."""
    left = iter(rows)
    while piece := list(islice(left, RECOVERED_ROWS)):
        yield piece
