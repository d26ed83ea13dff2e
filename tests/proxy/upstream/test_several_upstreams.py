"""A version behind several upstreams: load spreads, the dead are left out and let in again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fakes.held_answers import HeldAnswers
from fakes.upstream_server import Conversation, UpstreamServer, ok, upstream
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import Urls, gateway_with, routed, serving, table_of
from proxy.talking import Talk, post, talking
from proxy.upstream.test_bulkhead import holds_nothing, talks
from proxy.upstream.test_upstream_faults import refusing, unanswering

from app.domain.catalog.models import Timeouts
from app.domain.evidence.tally import Outcome
from app.proxy import Limits

ALL_CANARY = {"v1": 0, "v2": 10_000}
LONG = Limits(sweep_s=0.02, ejected_s=60.0)
SHORT = Limits(sweep_s=0.02, ejected_s=0.2)


@asynccontextmanager
async def upstreams(count: int) -> AsyncIterator[list[UpstreamServer]]:
    """Running fakes that say which they are."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(upstream(ok(b"%d" % number))) for number in range(count)]


def urls(servers: list[UpstreamServer]) -> tuple[str, ...]:
    return tuple(server.url for server in servers)


async def served(talk: Talk, count: int) -> list[int]:
    """The statuses of so many answers."""
    return [(await talk.ask(post())).status for _ in range(count)]


async def test_load_spreads_over_all_upstreams() -> None:
    async with upstreams(3) as servers:
        gateway = gateway_with(table_of(routed({"v1": urls(servers)})))
        async with serving(gateway) as port, talking(port) as talk:
            assert await served(talk, 90) == [200] * 90
        # Fewer than 10 of 90 at one of three has a chance of one in a million.
        assert min(len(server.received) for server in servers) >= 10
        assert outcomes(gateway) == {"v1": {Outcome.OK: 90}}


async def test_the_less_loaded_of_two_is_taken() -> None:
    answers = HeldAnswers()
    async with upstream(script=answers) as busy, upstream() as idle:
        gateway = gateway_with(table_of(routed({"v1": (busy.url, idle.url)})))
        async with serving(gateway) as port, talks(port, 20) as clients, talking(port) as talk:
            for client in clients:
                if not answers.held:
                    await client.send(post())
                    await asyncio.sleep(0.01)
            await eventually(lambda: answers.held)
            before = len(idle.received)
            assert await served(talk, 20) == [200] * 20
            assert len(idle.received) == before + 20
            answers.release()
        assert answers.most_held == 1


async def test_while_one_upstream_is_refused_another_answers_at_once() -> None:
    async with upstream() as well:
        with refusing() as dead:
            gateway = gateway_with(table_of(routed({"v1": (dead, well.url)})), limits=LONG)
            async with serving(gateway) as port, talking(port) as talk:
                assert await served(talk, 40) == [200] * 40
            assert outcomes(gateway) == {"v1": {Outcome.OK: 40}}
            (version,) = gateway.recorder.since_start().versions
            # After five refusals in a row the dead one is left out.
            assert version.retries == 5
            assert holds_nothing(gateway)


async def test_an_upstream_is_let_in_again_after_its_time() -> None:
    async with upstream() as well, upstream() as other:
        await other.stop()
        gateway = gateway_with(table_of(routed({"v1": (well.url, other.url)})), limits=SHORT)
        async with serving(gateway) as port, talking(port) as talk:
            assert await served(talk, 40) == [200] * 40
            await other.start()
            await asyncio.sleep(0.5)
            await served(talk, 40)
            assert await served(talk, 40) == [200] * 40
            assert len(other.received) > 5
        assert outcomes(gateway)["v1"].keys() == {Outcome.OK}


async def test_an_upstream_that_takes_no_connection_in_time_is_replaced_by_another() -> None:
    async with upstream() as well:
        with unanswering() as silent:
            timeouts = Timeouts(connect_s=0.1)
            gateway = gateway_with(table_of(routed({"v1": (silent, well.url)}, timeouts=timeouts)), limits=LONG)
            async with serving(gateway) as port, talking(port) as talk:
                assert await served(talk, 30) == [200] * 30
            assert outcomes(gateway) == {"v1": {Outcome.OK: 30}}
            assert holds_nothing(gateway)


async def test_when_all_are_ejected_all_are_tried_and_one_that_is_back_serves() -> None:
    async with upstreams(2) as servers:
        for server in servers:
            await server.stop()
        gateway = gateway_with(table_of(routed({"v1": urls(servers)})), limits=LONG)
        async with serving(gateway) as port, talking(port) as talk:
            assert set(await served(talk, 30)) == {502}
            await servers[1].start()
            statuses = await served(talk, 40)
            assert set(statuses) == {200, 502}
            assert len(servers[1].received) == statuses.count(200)
        assert holds_nothing(gateway)


async def test_one_dead_upstream_of_a_canary_opens_no_brake() -> None:
    async with upstream(ok(b"stable")) as stable, upstream(ok(b"canary")) as canary:
        with refusing() as dead:
            versions: Urls = {"v1": stable.url, "v2": (dead, canary.url)}
            gateway = gateway_with(table_of(routed(versions, ALL_CANARY)), limits=LONG)
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(30):
                    assert (await talk.ask(post())).body == b"canary"
            assert not gateway.open_brakes()
            assert outcomes(gateway) == {"v2": {Outcome.OK: 30}}


async def test_all_dead_upstreams_of_a_canary_open_its_brake_and_stable_serves() -> None:
    async with upstream(ok(b"stable")) as stable:
        with refusing() as one, refusing() as other:
            versions: Urls = {"v1": stable.url, "v2": (one, other)}
            gateway = gateway_with(table_of(routed(versions, ALL_CANARY)), limits=LONG)
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(10):
                    assert (await talk.ask(post())).body == b"stable"
                assert [brake.version for brake in gateway.open_brakes()] == ["v2"]
            assert outcomes(gateway)["v2"] == {Outcome.CONNECT_ERROR: 5}
            assert holds_nothing(gateway)


async def test_a_request_that_was_read_is_not_sent_to_another_upstream() -> None:
    async def reads_and_goes(conversation: Conversation) -> None:
        await conversation.request()

    async with upstream(script=reads_and_goes) as one, upstream(script=reads_and_goes) as other:
        gateway = gateway_with(table_of(routed({"v1": (one.url, other.url)})))
        async with serving(gateway) as port, talking(port) as talk:
            assert await served(talk, 6) == [502] * 6
        assert one.connections + other.connections == 6


async def test_a_large_body_goes_on_to_an_upstream_with_an_idle_connection() -> None:
    async with upstream() as well:
        with refusing() as dead:
            gateway = gateway_with(table_of(routed({"v1": (dead, well.url)})), limits=LONG)
            body = bytes(1_000_000)
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(12):
                    assert (await talk.ask(post(body))).status == 200
            assert all(received.body == body for received in well.received)


async def test_a_large_body_goes_on_to_stable_with_an_idle_connection() -> None:
    async with upstream(ok(b"stable")) as stable:
        with refusing() as dead:
            gateway = gateway_with(table_of(routed({"v1": stable.url, "v2": dead}, ALL_CANARY)))
            body = bytes(1_000_000)
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(4):
                    assert (await talk.ask(post(body))).body == b"stable"
            assert all(received.body == body for received in stable.received)
            assert stable.connections == 1
