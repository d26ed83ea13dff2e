"""A gateway that watches, a model server that answers as asked, and everything that is read of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from fakes.upstream_server import UpstreamServer, upstream
from proxy.serving import Urls, routed, serving, table_of
from proxy.talking import Talk, talking

from app.domain.catalog.declarations import Credentials
from app.domain.catalog.models import Observation
from app.domain.catalog.routing import RoutedModel
from app.domain.evidence.observed import AnsweredRow, Observed, ObservedFlush
from app.domain.evidence.tally import TallyKey
from app.domain.stats.histogram import Spread
from app.proxy import Gateway
from app.proxy.bounds.limits import Limits

READ_ALL = Observation()
FORCED = ("x-turnback-override-key: operators", "x-turnback-force-version: v2")


def declared(
    urls: Urls, model: Mapping[str, object], credentials: Credentials | None = None, **more: object
) -> RoutedModel:
    """A model with these fields of `Model`; the credentials are every version's."""
    plain = routed(urls, **more)  # type: ignore[arg-type]  # as routed takes them
    versions = tuple(replace(each, credentials=credentials or Credentials()) for each in plain.versions)
    return replace(plain, model=replace(plain.model, **model), versions=versions)  # type: ignore[arg-type]


@dataclass
class Postgres:
    """What was written, as Postgres keeps it: the row with the highest sequence."""

    observed: dict[TallyKey, tuple[int, Observed]] = field(default_factory=dict)
    spreads: dict[TallyKey, tuple[int, Spread]] = field(default_factory=dict)
    answers: dict[str, AnsweredRow] = field(default_factory=dict)

    def write(self, flush: ObservedFlush) -> None:
        for row in flush.observed:
            if row.sequence > self.observed.get(row.key, (0, None))[0]:
                self.observed[row.key] = (row.sequence, row.observed)
        for spread in flush.spreads:
            if spread.sequence > self.spreads.get(spread.key, (0, None))[0]:
                self.spreads[spread.key] = (spread.sequence, spread.spread)
        for answer in flush.answers:
            assert self.answers.setdefault(answer.exchange, answer) == answer

    def push(self, gateway: Gateway) -> None:
        """As a replica does."""
        batch = gateway.collect()
        self.write(batch.observed)
        gateway.acknowledge(batch)

    def of(self, version: str = "v1") -> Observed:
        """All that was read of a version."""
        return sum((each for key, (_, each) in self.observed.items() if key.version == version), Observed())

    def spread_of(self, version: str = "v1") -> Spread:
        return sum((each for key, (_, each) in self.spreads.items() if key.version == version), Spread())


@dataclass
class Watching:
    """Everything a test needs."""

    gateway: Gateway
    talk: Talk
    servers: Mapping[str, UpstreamServer]

    def read(self) -> Postgres:
        """What an idle process has handed out in the end."""
        postgres = Postgres()
        postgres.push(self.gateway)
        return postgres


@asynccontextmanager
async def watching(
    answer: bytes,
    model: Mapping[str, object],
    credentials: Credentials | None = None,
    *,
    weights_bp: Mapping[str, int] | None = None,
    versions: tuple[str, ...] = ("v1",),
) -> AsyncIterator[Watching]:
    """Serve one model whose every version always answers with these bytes."""
    async with upstream(answer) as server:
        gateway = Gateway(lambda: 1_000.25, limits=Limits(sweep_s=0.02), override_key=b"operators")
        urls = dict.fromkeys(versions, server.url)
        gateway.swap(table_of(declared(urls, model, credentials, weights_bp=weights_bp)))
        async with serving(gateway) as port, talking(port) as talk:
            yield Watching(gateway, talk, dict.fromkeys(versions, server))
