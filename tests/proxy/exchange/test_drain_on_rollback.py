"""What still runs on a version that lost its traffic: it finishes, or is cut after a while."""

import asyncio
import time

import pytest
from fakes.held_answers import HeldAnswers
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.downstream.test_clients_leaving import streaming
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking
from proxy.upstream.test_bulkhead import holds_nothing

from app.domain.catalog.routing import NO_COIN, RoutingTable
from app.domain.evidence.tally import Outcome
from app.proxy import Gateway, Limits

ALL_CANARY = {"v1": 0, "v2": 10_000}
DRAINING = Limits(sweep_s=0.02, rollback_drain_s=0.1)


class Stream:
    """A stream that says hello, and ends when it is told."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def __call__(self, conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await self.may_end.wait()
        await conversation.send(b"3\r\nbye\r\n0\r\n\r\n")


def ended(stable: str, canary: str, how: str) -> RoutingTable:
    """The table after the canary's traffic was taken away."""
    if how == "left the table":
        return table_of(routed({"v1": stable}, generation=2), revision=2)
    generation = NO_COIN if how == "withheld" else 2
    return table_of(routed({"v1": stable, "v2": canary}, generation=generation), revision=2)


@pytest.mark.parametrize("how", ["rolled back", "left the table", "withheld"])
async def test_a_stream_finishes_by_default(how: str) -> None:
    stream = Stream()
    async with upstream(ok(b"stable")) as stable, upstream(script=stream) as canary:
        gateway = gateway_with(table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY)))
        async with serving(gateway) as port, talking(port) as talk, talking(port) as later:
            await talk.send(post())
            await talk.head()
            gateway.swap(ended(stable.url, canary.url, how))
            assert (await later.ask(post())).body == b"stable"
            await asyncio.sleep(0.2)
            stream.may_end.set()
            assert await talk.chunks() == b"hellobye"
        assert outcomes(gateway)["v2"] == {Outcome.OK: 1}


@pytest.mark.parametrize("how", ["rolled back", "left the table"])
async def test_a_stream_is_cut_after_the_time_to_drain_and_not_held_against_the_version(how: str) -> None:
    async with upstream(ok(b"stable")) as stable, upstream(script=streaming) as canary:
        table = table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY))
        gateway = gateway_with(table, limits=DRAINING)
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(post())
            await talk.head()
            gateway.swap(ended(stable.url, canary.url, how))
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await talk.chunks()
            await canary.quiet()
        assert outcomes(gateway)["v2"] == {Outcome.CANCELLED: 1}


async def test_an_exchange_without_an_answer_yet_is_told_so() -> None:
    answers = HeldAnswers()
    async with upstream(ok(b"stable")) as stable, upstream(script=answers) as canary:
        table = table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY))
        gateway = gateway_with(table, limits=DRAINING)
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(post())
            await eventually(lambda: answers.held)
            gateway.swap(ended(stable.url, canary.url, "rolled back"))
            answer = await talk.answer()
            assert (answer.status, answer.field("retry-after")) == (503, "1")
            assert answer.problem()["type"].rpartition(":")[2] == "VersionWithdrawn"
            assert (await talk.ask(post())).body == b"stable"
            assert holds_nothing(gateway)


async def test_what_is_withheld_or_has_its_traffic_back_is_not_cut() -> None:
    stream = Stream()
    async with upstream(ok(b"stable")) as stable, upstream(script=stream) as canary:
        table = table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY))
        gateway = gateway_with(table, limits=DRAINING)
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(post())
            await talk.head()
            gateway.swap(ended(stable.url, canary.url, "withheld"))
            await asyncio.sleep(0.2)
            gateway.swap(ended(stable.url, canary.url, "rolled back"))
            gateway.swap(table)
            await asyncio.sleep(0.2)
            stream.may_end.set()
            assert await talk.chunks() == b"hellobye"


async def test_stable_is_never_cut() -> None:
    stream = Stream()
    async with upstream(script=stream) as stable, upstream() as canary:
        gateway = gateway_with(table_of(routed({"v1": stable.url, "v2": canary.url})), limits=DRAINING)
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(post())
            await talk.head()
            # Weight 0 for stable is a rollout at full weight, not the loss of its role.
            gateway.swap(table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY, generation=2), revision=2))
            await asyncio.sleep(0.2)
            stream.may_end.set()
            assert await talk.chunks() == b"hellobye"


async def test_what_an_operator_sends_to_a_version_without_traffic_is_not_cut() -> None:
    stream = Stream()
    async with upstream(ok(b"stable")) as stable, upstream(script=stream) as canary:
        gateway = Gateway(time.time, limits=DRAINING, override_key=b"key")
        gateway.swap(table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY)))
        gateway.swap(ended(stable.url, canary.url, "rolled back"))
        await asyncio.sleep(0.02)
        async with serving(gateway) as port, talking(port) as talk:
            forced = ("x-turnback-force-version: v2", "x-turnback-override-key: key")
            await talk.send(get("/m/fraud", *forced))
            await talk.head()
            await asyncio.sleep(0.3)
            stream.may_end.set()
            assert await talk.chunks() == b"hellobye"
