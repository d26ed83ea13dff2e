"""Whatever is asked, answered, collected and acknowledged in whatever order: what is read is what was done."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from fakes.upstream_server import Conversation, upstream
from hypothesis import given, settings
from hypothesis import strategies as st
from proxy.answering import V1, text
from proxy.serving import serving, table_of
from proxy.talking import Talk, post, talking
from proxy.watching import Postgres, declared

from app.domain.catalog.declarations import Credentials, Feature, Feedback, Prices, QualityKind, QualityMetric, SliceKey
from app.domain.catalog.models import Observation
from app.domain.catalog.receipt import opened
from app.domain.evidence.observed import COST, MEGABYTES, Flaw, ObservedFlush
from app.domain.evidence.tally import Counter as Accounting
from app.domain.evidence.tally import Tally, TallyKey
from app.domain.stats.histogram import histogram_of
from app.proxy import Gateway
from app.proxy.bounds.limits import Limits
from app.recording.batch import Batch

SAMPLED, WEIGHT = 0.6, 0.5
MODEL = {
    "observation": Observation(sample_bp=int(SAMPLED * 10_000)),
    "feedback": Feedback((QualityMetric("accuracy", QualityKind.ACCURACY),)),
    "slices": (SliceKey("tier", header="x-tier"), SliceKey("kind", pointer="/kind")),
    "features": (Feature("amount", "/amount"),),
}
PRICES = Prices(per_answer=2.0, per_megabyte=1_000.0, cap=2.05)

# What the server is asked to say, and which flaw that is.
SAYS = {
    "1": (text({"predictions": [1.5, 2.5]}), None),
    "a": (text({"predictions": ["a"]}), None),
    "nan": (b'{"predictions": [NaN]}', Flaw.NONFINITE),
    "none": (b'{"predictions": []}', Flaw.EMPTY),
    "odd": (b'{"prediction": 1}', Flaw.SCHEMA),
    "long": (text({"predictions": ["a"], "pad": "x" * 60}), None),
}
FIRST: Mapping[str, float | str | None] = {
    "1": 1.5,
    "a": "a",
    "nan": float("nan"),
    "none": None,
    "odd": None,
    "long": "a",
}
FAILS = ("500", "404", "reset")


@dataclass(frozen=True)
class Ask:
    """One exchange: where its coins fall, what is asked and what comes back."""

    on_canary: bool
    sampled: bool
    says: str
    tier: str | None
    kind: str | None
    amount: float | None

    @property
    def version(self) -> str:
        return "v2" if self.on_canary else "v1"


asks = st.builds(
    Ask,
    st.booleans(),
    st.booleans(),
    st.sampled_from((*SAYS, *FAILS)),
    st.sampled_from((None, "gold")),
    st.sampled_from((None, "x", "y")),
    st.sampled_from((None, 1.0, 2.5)),
)
steps = st.lists(st.one_of(asks, st.sampled_from(("collect", "acknowledge", "lose", "second"))), max_size=30)


async def answer(conversation: Conversation) -> None:
    """Say what the path's query asks for."""
    while True:
        request = await conversation.request()
        says = request.line.split(b" ")[1].partition(b"?")[2].decode()
        if says == "reset":
            return
        body, status = SAYS[says][0] if says in SAYS else b"no", says if says in FAILS else "200"
        await conversation.send(b"HTTP/1.1 %b X\r\ncontent-length: %d\r\n\r\n%b" % (status.encode(), len(body), body))


@dataclass
class World:
    """A gateway whose time and coins are told, Postgres, and what was asked."""

    now: float = 1_000.25
    coins: list[float] = field(default_factory=list)
    postgres: Postgres = field(default_factory=Postgres)
    asked: list[tuple[int, Ask, str | None]] = field(default_factory=list)
    tallies: dict[TallyKey, Tally] = field(default_factory=dict)
    handed_out: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gateway = Gateway(
            lambda: self.now,
            monotonic=lambda: self.now,
            coin=lambda: self.coins.pop(0),
            limits=Limits(sweep_s=60.0),
        )

    async def ask(self, talk: Talk, ask: Ask) -> None:
        self.coins = [0.9 if ask.on_canary else 0.1, 0.1 if ask.sampled else 0.9]
        document = {name: value for name, value in (("kind", ask.kind), ("amount", ask.amount)) if value is not None}
        fields = () if ask.tier is None else (f"x-tier: {ask.tier}",)
        got = await talk.ask(post(text(document), f"{V1}?{ask.says}", *fields))
        assert self.coins == []
        token = got.field("x-turnback-receipt")
        if token is None:
            assert ask.says == "reset"
            self.asked.append((int(self.now), ask, None))
            return
        receipt = opened(token, [self.gateway.receipts.key])
        assert (receipt.second, receipt.version, receipt.generation) == (int(self.now), ask.version, 3)
        self.asked.append((receipt.second, ask, receipt.exchange))

    def step(self, step: str) -> None:
        if step == "second":
            self.now += 1.0
        elif step == "collect":
            batch = self.gateway.collect()
            # Postgres has it, whether or not anybody hears of it.
            self.postgres.write(batch.observed)
            self.tallies |= {row.key: row.tally for row in batch.tallies.rows}
            self.handed_out.append(batch)
            self.check_through(batch.tallies.watermark.status)
        elif self.handed_out:
            batch = self.handed_out.pop()
            if step == "acknowledge":
                self.gateway.acknowledge(batch)

    def check_through(self, final: int) -> None:
        """What is called final is complete."""
        for version in ("v1", "v2"):
            expected = [ask for second, ask, _ in self.asked if second <= final and _counts(ask, version)]
            rows = [row for key, (_, row) in self.postgres.observed.items() if key.version == version]
            keys = [key for key in self.postgres.observed if key.version == version]
            counted = sum(row.judged for key, row in zip(keys, rows, strict=True) if key.second <= final)
            assert counted == len(expected)

    def check_all(self) -> None:
        for version in ("v1", "v2"):
            self._check_counts(version, [ask for _, ask, _ in self.asked if _counts(ask, version)])
        expected = {
            exchange: (second, ask)
            for second, ask, exchange in self.asked
            if exchange is not None and (ask.sampled or ask.on_canary)
        }
        assert self.postgres.answers.keys() == expected.keys()
        for exchange, (second, ask) in expected.items():
            row = self.postgres.answers[exchange]
            assert (row.second, row.version, row.sampled) == (second, ask.version, ask.sampled)
            assert row.slices == {"tier": ask.tier or "unknown", "kind": ask.kind or "unknown"}
            assert row.status == (int(ask.says) if ask.says in FAILS else 200)
            first = FIRST.get(ask.says)
            assert row.predictions[:1] == (() if first is None else (first if first == first else "nan",))  # noqa: PLR0124 -- not NaN

    def _check_counts(self, version: str, asked: list[Ask]) -> None:
        observed, spread = self.postgres.of(version), self.postgres.spread_of(version)
        read = [ask for ask in asked if ask.says in SAYS]
        counted = sum(
            (Counter(each.counters) for key, each in self.tallies.items() if key.version == version), Counter()
        )
        assert counted[Accounting.READ] + counted[Accounting.INVALID] == len(read)
        flaws = Counter(flaw for ask in read if (flaw := SAYS[ask.says][1]))
        assert (observed.judged, observed.read, observed.flawed) == (len(asked), len(read), sum(flaws.values()))
        assert observed.bad == sum(ask.says in {"500", "reset"} for ask in asked)
        assert observed.flaws == flaws
        for key, of in (("tier", [ask.tier for ask in asked]), ("kind", [ask.kind for ask in asked])):
            slices = observed.slices.get(key, {})
            judged = {value: counts.judged for value, counts in slices.items()}
            assert judged == Counter(each or "unknown" for each in of)
            assert sum(counts.flawed for counts in slices.values()) == sum(flaws.values())
        sizes = [len(SAYS[ask.says][0]) / 1e6 for ask in read]
        costs = [min(PRICES.cap, 2.0 + 1_000.0 * size) for size in sizes]
        for name, values in ((MEGABYTES, sizes), (COST, costs)):
            if values:
                measure = observed.measures[name]
                assert measure.n == len(values)
                assert abs(measure.total - sum(values)) < 1e-9
                assert abs(measure.squares - sum(each * each for each in values)) < 1e-9
        assert spread.predictions == histogram_of([FIRST[ask.says] for ask in read])
        assert spread.features.get("amount", histogram_of([])) == histogram_of([ask.amount for ask in asked])


def _counts(ask: Ask, version: str) -> bool:
    return ask.sampled and ask.version == version


async def play(script: list[Ask | str]) -> None:
    world = World()
    async with upstream(script=answer) as server:
        urls = {"v1": server.url, "v2": server.url}
        weights = {"v1": int(WEIGHT * 10_000), "v2": int(WEIGHT * 10_000)}
        routed = declared(urls, MODEL, Credentials(prices=PRICES), weights_bp=weights, generation=3)
        world.gateway.swap(table_of(routed))
        async with serving(world.gateway) as port, talking(port) as talk:
            for step in script:
                if isinstance(step, Ask):
                    await world.ask(talk, step)
                else:
                    world.step(step)
        world.now += 2.0
        world.step("collect")
        world.step("acknowledge")
        world.check_all()
        # All is known and over, so nothing is kept.
        world.step("collect")
        assert world.handed_out[-1].observed == ObservedFlush()
        assert world.gateway.waiting == 0


@given(steps)
@settings(max_examples=120)
def test_what_is_read_is_what_was_done_however_it_is_collected(script: list[Ask | str]) -> None:
    asyncio.run(play(script))
