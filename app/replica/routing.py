"""The routing table of one process: pulled from Postgres, from the disk at a cold start, and what is in force of it.

Rule: stable serves for ever from the last table known. A canary serves only while its model's routing is known
to be current, or was so not long ago, whatever keeps it from being read: nobody could turn it back.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

import structlog

from app import loops
from app.domain.catalog.models import ModelName
from app.domain.catalog.routing import EMPTY_TABLE, FULL_BP, NO_COIN, RoutedModel, RoutingTable
from app.errors import ModelUnusable
from app.replica.clock import DatabaseClock
from app.replica.snapshot import Snapshot
from app.store.pg.contact import Contact
from app.store.pg.database import Database
from app.store.routing import routes
from app.store.routing.routes import Reading

Swap: TypeAlias = Callable[[RoutingTable], None]

# A question that was not answered for so long gets company, so many at once; each has a connection.
ASK_AGAIN_S: Final = 0.4
QUESTIONS_MAX: Final = 4

log = structlog.get_logger()


class Unreadable(NamedTuple):
    """A model that is served from what was known of it before.

    Attributes:
        why: One line.
        age_s: Seconds since it was known to be current.
        withheld: Whether only stable gets its traffic.
    """

    why: str
    age_s: float
    withheld: bool


@dataclass(slots=True)
class _Trouble:
    """Why a model cannot be read, and since when what is known of it is not known to be current."""

    why: str
    since: float
    told_withheld: bool = False


class Routing:  # ADR 0132
    """Pulls tables and decides what of them is in force."""

    def __init__(
        self,
        database: Database,
        clock: DatabaseClock,
        *,
        swap: Swap,
        canary_max_stale_s: float,
        snapshot: Snapshot | None,
    ) -> None:
        """Start without a table.

        Args:
            database: Where to pull from; nothing else should wait for its connections.
            clock: Learns database time here.
            swap: Puts a table in force. Raises: ModelUnusable.
            canary_max_stale_s: So long a canary serves though nothing was heard.
            snapshot: The last table on this machine's disk.
        """
        self.database = database
        self._clock = clock
        self._swap = swap
        self._max_stale_s = canary_max_stale_s
        self._snapshot = snapshot
        self._in_force = EMPTY_TABLE
        self._trouble: dict[ModelName, _Trouble] = {}
        # When all but the unreadable was known to be current; at a cold start the start.
        self._current_at: float | None = None
        self._read_from_disk = False
        self.table = EMPTY_TABLE
        self.from_disk = self.withheld = False
        self.unsaved = asyncio.Event()
        self.contact = Contact("pull", clock.monotonic, lost="database.lost", returned="database.returned")

    @property
    def unreadable(self) -> Mapping[ModelName, Unreadable]:
        """Models that are not as Postgres has them, because that cannot be read."""
        now = self._clock.monotonic()
        return {
            name: Unreadable(each.why, now - each.since, self._is_stale(each.since))
            for name, each in self._trouble.items()
        }

    async def pull(self) -> bool:  # ADR 0020
        """Look once whether the routing changed; True if it is current now."""
        try:
            reading = await self._ask()
            # Who was given up meanwhile must not put in force what is old by now.
            loops.beat()
            if reading is not None:
                await self._adopt(reading, from_disk=False)
            with self._all_or_nothing():
                self._current_at = self._clock.monotonic()
                self.enforce()
        except Exception as odd:  # noqa: BLE001 -- whatever it was, there is no news
            self.contact.failed(odd)
            await self._start_from_disk()
            self.enforce()
            return False
        self.contact.works()
        return True

    def enforce(self) -> None:
        """Put in force what may serve by now. Raises: ModelUnusable."""
        withheld = self._is_stale(self._current_at)
        stale = {name for name, each in self._trouble.items() if withheld or self._is_stale(each.since)}
        models = self.table.models
        if withheld or stale:
            models = tuple(_without_canary(each) if withheld or each.model.name in stale else each for each in models)
        table = self.table if models is self.table.models else replace(self.table, models=models)
        if table is not self._in_force and table != self._in_force:
            self._swap(table)
        self._in_force = table
        self._tell_withheld(withheld, stale)

    # ------------------------------------------------------------------ asking

    async def _ask(self) -> Reading | None:
        """What changed. While a question is not answered others are asked beside it; what answers first counts.

        One alone would be deaf for as long as it waits over a connection that died; quick ones alone would never
        hear a server that is slow or far away. So the first is patient, and of the others the oldest gives way.
        """
        asked: list[asyncio.Task[Reading | None]] = []
        try:
            while True:
                if len(asked) == QUESTIONS_MAX:
                    await _dropped([asked.pop(1)])
                asked.append(asyncio.create_task(self._changed()))
                answered, _ = await asyncio.wait(asked, timeout=ASK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
                # Of two answers the younger one.
                for each in reversed(asked):
                    if each in answered:
                        return each.result()
        finally:
            await _dropped(asked)

    async def _changed(self) -> Reading | None:
        async with self.database.transaction() as tx:
            sent = self._clock.monotonic()
            found = await routes.revision(tx)
            self._clock.observe(sent, self._clock.monotonic(), found.at)
            # Different, not greater: after a failover the database's word counts, even an older one.
            # What cannot be read may be mended without a word to anybody.
            if found.revision == self.table.revision and not self.from_disk and not self._trouble:
                return None
            return await routes.read(tx)

    # ------------------------------------------------------------------ taking over

    async def _adopt(self, reading: Reading, *, from_disk: bool) -> None:
        """Make it the table that is known; of what cannot be read or used, what was known before stays."""
        why = dict(reading.unreadable)
        known = await self._known(why)
        table, trouble = self.table, self._trouble
        while True:
            try:
                with self._all_or_nothing():
                    self.table, self._trouble = self._merged(reading, why, known)
                    self._current_at = self._clock.monotonic()
                    self.enforce()
                break
            except ModelUnusable as refused:
                name = ModelName(refused.model)
                if name in why:
                    known.pop(name, None)
                why.setdefault(name, refused.why)
        self.from_disk = from_disk
        self._tell_trouble(trouble)
        if self.table is not table:
            self.unsaved.set()

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """What could not be put in force is not known either, and least of all to be current."""
        before = self.table, self._current_at, self._trouble
        try:
            yield
        except Exception:
            self.table, self._current_at, self._trouble = before
            raise

    def _merged(
        self, reading: Reading, why: Mapping[ModelName, str], known: Mapping[ModelName, RoutedModel]
    ) -> tuple[RoutingTable, dict[ModelName, _Trouble]]:
        """What was read and is sound, beside what was known of the rest; and what is wrong with the rest."""
        sound = [each for each in reading.table.models if each.model.name not in why]
        kept = [known[name] for name in why if name in known]
        table = replace(reading.table, models=tuple(sorted((*sound, *kept), key=lambda routed: routed.model.name)))
        # Until the last pull that worked all was well; before the first one nobody knows.
        since = self._clock.monotonic() if self._current_at is None else self._current_at
        trouble = {
            name: replace(self._trouble.get(name, _Trouble(reason, since)), why=reason) for name, reason in why.items()
        }
        return (self.table if table == self.table else table), trouble

    async def _known(self, wanted: Collection[ModelName]) -> dict[ModelName, RoutedModel]:
        """The models as they were known before; at a start, as they are on the disk."""
        known = {each.model.name: each for each in self.table.models}
        if not self._read_from_disk and any(name not in known for name in wanted):
            table = await self._load()
            known = {**{each.model.name: each for each in (() if table is None else table.models)}, **known}
        return known

    async def _start_from_disk(self) -> None:
        """Serve from the last table known, when none was ever pulled."""
        if self._snapshot is None or self._current_at is not None:
            return
        table = await self._load()
        # How old it is nobody knows; a canary's time without Postgres begins with this process.
        self._current_at = self._clock.monotonic()
        if table is not None:
            await self._adopt(Reading(table, {}), from_disk=True)
            log.warning("replica.started_from_disk", revision=table.revision)

    async def _load(self) -> RoutingTable | None:
        self._read_from_disk = True
        return None if self._snapshot is None else await asyncio.to_thread(self._snapshot.load)

    def _tell_trouble(self, before: Mapping[ModelName, _Trouble]) -> None:
        for name in self._trouble.keys() - before.keys():
            log.error("model.unreadable", model=name, why=self._trouble[name].why)
        for name in before.keys() - self._trouble.keys():
            log.warning("model.readable", model=name)

    # ------------------------------------------------------------------ withholding

    def _is_stale(self, since: float | None) -> bool:
        return since is not None and self._clock.monotonic() - since > self._max_stale_s

    def _tell_withheld(self, withheld: bool, stale: Collection[ModelName]) -> None:
        if withheld and not self.withheld:
            log.warning("replica.canaries_withheld", why=self.contact.why, stale_s=round(self._max_stale_s))
        self.withheld = withheld
        for name in stale:
            trouble = self._trouble[name]
            if not trouble.told_withheld:
                trouble.told_withheld = True
                log.warning("replica.canary_withheld", model=name, why=trouble.why, stale_s=round(self._max_stale_s))


async def _dropped(asked: Collection["asyncio.Task[Reading | None]"]) -> None:
    """Cancel questions; they end at once, since what is cancelled in a statement does not wait for the server."""
    for each in asked:
        each.cancel()
    if asked:
        await asyncio.wait(asked)
    for each in asked:
        if not each.cancelled():
            # Nobody asks any more how it ended.
            each.exception()


def _without_canary(routed: RoutedModel) -> RoutedModel:
    """The model without traffic for anything but stable; draws from a changed route are no evidence."""
    route = routed.route
    alone = {route.stable: FULL_BP}
    if dict(route.weights_bp) == alone:
        return routed
    return replace(routed, route=replace(route, generation=NO_COIN, weights_bp=alone))
