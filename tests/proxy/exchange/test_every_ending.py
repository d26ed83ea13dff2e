"""However exchanges end, and in whatever mixture, nothing stays held and everything is counted once."""

import asyncio
import random

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.serving import Urls, gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking
from proxy.upstream.test_bulkhead import holds_nothing
from proxy.upstream.test_upstream_faults import refusing, unanswering

from app.domain.catalog.models import Bulkhead, Timeouts
from app.proxy import Limits

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
ANSWERS = (
    ok(),
    ok(b"x" * 100_000),
    ok(b"last", b"connection: close"),
    b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
    HEAD + b"0\r\n\r\n",
    ok() + b"surplus",
)
ENDINGS = ("answer", "answer", "answer", "garbage", "close", "half", "hang", "hang in the middle")
SHORT = Timeouts(connect_s=0.15, first_byte_s=0.15, idle_s=0.15, total_s=0.5)


class Whimsical:
    """A model server that ends every exchange in a way of its own."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            await conversation.request()
            await asyncio.sleep(self._chance.choice((0.0, 0.0, 0.02)))
            ending = self._chance.choice(ENDINGS)
            if ending == "answer":
                await conversation.send(self._chance.choice(ANSWERS))
                continue
            if ending == "garbage":
                await conversation.send(b"garbage\r\n\r\n")
            elif ending.startswith("ha") and ending != "hang":
                await conversation.send(HEAD)
            if ending.startswith("hang"):
                await conversation.gone()
            return


async def one_client(port: int, chance: random.Random) -> None:
    """Sends a few requests, and may leave at any moment."""
    for _ in range(4):
        async with talking(port) as talk:
            request = chance.choice((post(), post(bytes(300_000)), get(), get("/m/fraud", "connection: close")))
            try:
                await talk.send(request)
                patience = chance.choice((0.0, 0.01, 0.1, None, None, None))
                if patience is not None:
                    await asyncio.sleep(patience)
                    talk.writer.transport.abort()
                    continue
                await talk.answer()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass


@pytest.mark.parametrize("seed", range(8))
async def test_nothing_is_held_and_everything_is_counted_after_any_mixture_of_endings(seed: int) -> None:
    chance = random.Random(seed)
    limits = Limits(sweep_s=0.02, ejected_s=0.05, rollback_drain_s=0.05)
    script = Whimsical(chance)
    async with upstream(script=script) as one, upstream(script=script) as other, upstream(script=script) as third:
        with refusing() as refused, unanswering() as unanswered:
            urls: Urls = {"v1": (one.url, other.url, refused), "v2": (third.url, refused, unanswered)}
            bulkheads = {"v1": Bulkhead(6, 3), "v2": Bulkhead(3, 2)}

            def at(generation: int, canary_bp: int) -> None:
                weights = {"v1": 10_000 - canary_bp, "v2": canary_bp}
                model = routed(urls, weights, timeouts=SHORT, bulkheads=bulkheads, generation=generation)
                gateway.swap(table_of(model, revision=generation))

            gateway = gateway_with(table_of(), coin=chance.random, limits=limits)
            at(1, 5_000)
            async with serving(gateway) as port:
                clients = asyncio.gather(*(one_client(port, chance) for _ in range(20)))
                for generation in range(2, 8):
                    await asyncio.sleep(0.05)
                    at(generation, chance.choice((0, 100, 5_000)))
                await clients
                await eventually(lambda: holds_nothing(gateway))
                totals = gateway.recorder.since_start().versions
                assert [version.in_flight for version in totals] == [0, 0]
                counted = [row.tally for row in gateway.recorder.collect().rows]
                assert sum(tally.exchanges for tally in counted) == sum(
                    sum(tally.outcomes.values()) for tally in counted
                )
                assert all(not pool.upstreams[0].tasks for pool in gateway.pools)
