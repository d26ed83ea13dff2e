"""Whatever happens in whatever order, exactly the labels of an independent account are kept."""

import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from feedback.feedback_client import FRAUD, OTHER_KEY, Exchange, kept, made_desk, register
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.domain.evidence.labels import Result
from app.feedback.desk import FeedbackDesk
from app.store.labels import answers
from app.store.pg.database import Database

NOWHERE: Final = "postgresql://nobody@127.0.0.1:1/nothing"
# Few, so that what is said meets what was said before.
EXCHANGES: Final = 2
NAMES: Final = ("request_id", "client_key")
KEYED, NOBODY = "ann", "anonymous"
# Longer than a client's name has to wait before it is believed.
LATER_S: Final = 4.0


@dataclass(frozen=True)
class Give:
    """A label."""

    about: int
    by: str
    label: int
    supersedes: int | None
    source: str = KEYED

    @property
    def rank(self) -> int:
        return 2 if self.source == KEYED else int(self.by == "receipt")

    @property
    def is_refused(self) -> bool:
        return self.by == "forged" or (self.by == "client_key" and self.source == NOBODY)


@dataclass(frozen=True)
class Write:
    about: int


Step: TypeAlias = Give | Write | str

GIVES = st.builds(
    Give,
    st.integers(0, EXCHANGES - 1),
    st.sampled_from(["receipt", "forged", *NAMES, *NAMES]),
    st.integers(0, 2),
    st.sampled_from([None, None, None, 1, 1, 2]),
    st.sampled_from([KEYED, NOBODY]),
)
STEPS = st.lists(
    GIVES
    | GIVES
    | GIVES
    | st.builds(Write, st.integers(0, EXCHANGES - 1))
    | st.sampled_from(["sweep", "sweep", "kill", "away", "back", "drain"]),
    min_size=30,
    max_size=60,
)


@dataclass
class Account:
    """What the labels should be, told without any of the code under test."""

    kept: dict[tuple[int, str], list[Give]] = field(default_factory=dict)
    written: set[int] = field(default_factory=set)
    waiting: list[tuple[Give, int]] = field(default_factory=list)
    on_disk: list[tuple[Give, int]] = field(default_factory=list)
    places: set[tuple[object, ...]] = field(default_factory=set)
    is_away: bool = False
    turn: int = 0

    def give(self, item: Give) -> None:
        self.turn += 1
        if item.is_refused:
            return
        if self.is_away or self.on_disk:
            self._to_disk(item)
        else:
            self._hear(item, self.turn, is_fresh=True)

    def _to_disk(self, item: Give) -> None:
        if not self.on_disk:
            self.places.clear()
        place = (item.about, item.rank, item.supersedes is None)
        if item.source == NOBODY and place in self.places:
            return
        if item.source == NOBODY:
            self.places.add(place)
        self.on_disk.append((item, self.turn))

    def _hear(self, item: Give, turn: int, *, is_fresh: bool) -> None:
        named = [each for each in self.waiting if (each[0].about, each[0].by) == (item.about, item.by)]
        before = [give for give, _ in named if give.source == item.source]
        if item.by == "receipt" or (item.about in self.written and self._is_believed(item, before, is_fresh)):
            self._join(named)
            self._add(item)
        elif (item.supersedes is None or item.source == KEYED) and _goes_behind(before, item):
            self.waiting.append((item, turn))

    def _is_believed(self, item: Give, before: list[Give], is_fresh: bool) -> bool:
        return item.by == "request_id" or not is_fresh or (item.supersedes is not None and not before)

    def _add(self, item: Give) -> None:
        there = self.kept.setdefault((item.about, item.source), [])
        if _goes_behind(there, item):
            there.append(item)

    def _join(self, items: list[tuple[Give, int]]) -> None:
        for item, _ in sorted(items, key=lambda each: each[1]):
            self._add(item)
        self.waiting = [each for each in self.waiting if each not in items]

    def sweep(self) -> None:
        self._join([each for each in self.waiting if each[0].about in self.written])

    def drain(self) -> None:
        heard, self.on_disk = self.on_disk, []
        for item, turn in heard:
            self._hear(item, turn, is_fresh=False)


def _goes_behind(there: list[Give], item: Give) -> bool:
    if there and there[-1].rank != item.rank:
        return item.rank > there[-1].rank
    if item.supersedes is None:
        return not there
    return len(there) == item.supersedes and there[-1].label != item.label


@dataclass
class Gateway:
    """One process after the other, over one database and one disk."""

    live: Database
    gone: Database
    folder: Path
    exchanges: list[Exchange]
    account: Account = field(default_factory=Account)
    desks: list[FeedbackDesk] = field(default_factory=list)
    now: float = field(default_factory=time.time)

    @property
    def desk(self) -> FeedbackDesk:
        return self.desks[-1]

    def start(self) -> None:
        self.desks.append(made_desk(self.live, self.folder, clock=lambda: self.now))
        self._connect()

    def _connect(self) -> None:
        self.desk.intake._database = self.gone if self.account.is_away else self.live

    async def do(self, step: Step) -> None:
        match step:
            case Give():
                self.now += 0.001
                self.account.give(step)
                await self.desk.intake.take([self._item(step)], step.source)
            case Write(about):
                self.account.written.add(about)
                async with self.live.transaction() as tx:
                    await answers.add(tx, [self.exchanges[about].row])
            case "kill":
                # As the kernel ends a process: its locks are gone, its files are not.
                self.desk.intake._spool.close()
                self.account.places.clear()
                self.start()
            case "away" | "back":
                self.account.is_away = step == "away"
                self._connect()
            case _:
                await self._upkeep(step)

    async def _upkeep(self, step: str) -> None:
        if self.account.is_away:
            return
        self.now += LATER_S
        if step == "drain":
            self.account.drain()
            await self.desk.intake.drain()
        else:
            self.account.sweep()
            self.desk.intake._all_swept_at = float("-inf")
            await self.desk.intake.sweep()

    def _item(self, give: Give) -> dict[str, object]:
        about = self.exchanges[give.about]
        more = {} if give.supersedes is None else {"supersedes": give.supersedes}
        match give.by:
            case "receipt":
                return {"receipt": about.receipt(), "label": give.label, **more}
            case "forged":
                return {"receipt": about.receipt(OTHER_KEY), "label": give.label, **more}
            case by:
                return {"model": FRAUD, by: getattr(about, by), "label": give.label, **more}

    @property
    def joined(self) -> int:
        """As its figures say, over all lives."""
        return sum(desk.figures._results[FRAUD, Result.JOINED] for desk in self.desks)


async def _play(url: str, steps: list[Step]) -> None:
    live, gone = Database(url), Database(NOWHERE)
    try:
        async with live.transaction() as tx:
            await tx.execute(text("TRUNCATE answers, labels, parked_labels"))
        await register(live)
        with tempfile.TemporaryDirectory() as folder:
            exchanges = [Exchange(client_key=f"order-{number}") for number in range(EXCHANGES)]
            gateway = Gateway(live, gone, Path(folder), exchanges)
            gateway.start()
            for step in [*steps, "back", "drain", "sweep"]:
                await gateway.do(step)
            gateway.desk.intake._spool.close()
            await _compare(gateway)
    finally:
        await live.close()
        await gone.close()


async def _compare(gateway: Gateway) -> None:
    wanted = {
        (gateway.exchanges[about].id, "accuracy", source): [give.label for give in gives]
        for (about, source), gives in gateway.account.kept.items()
        if gives
    }
    found = await kept(gateway.live)
    assert found == wanted
    assert gateway.joined == sum(map(len, wanted.values()))
    async with gateway.live.transaction() as tx:
        assert await tx.scalar(text("SELECT count(*) FROM parked_labels")) == len(gateway.account.waiting)
    assert list((gateway.folder / "feedback").glob("*")) == []


@given(STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_interleaving_keeps_exactly_the_labels_of_an_independent_account(
    database_url: str, steps: list[Step]
) -> None:
    asyncio.run(_play(database_url, steps))
