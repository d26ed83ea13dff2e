"""A version holds no more of the gateway than its bulkhead; what is beyond waits, or is told so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from fakes.held_answers import HeldAnswers
from fakes.upstream_server import ok, upstream
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import Talk, get, post, talking

from app.domain.catalog.models import Bulkhead, Timeouts
from app.domain.evidence.tally import Outcome
from app.proxy import Gateway

HALF_CANARY = {"v1": 5_000, "v2": 5_000}
ALL_CANARY = {"v1": 0, "v2": 10_000}


@asynccontextmanager
async def talks(port: int, count: int) -> AsyncIterator[list[Talk]]:
    """So many client connections."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(talking(port)) for _ in range(count)]


def holds_nothing(gateway: Gateway) -> bool:
    """Whether every place and every upstream is free again."""
    return all(
        pool.in_flight == 0 and all(upstream.in_flight == 0 for upstream in pool.upstreams) for pool in gateway.pools
    )


async def under_way(gateway: Gateway, count: int) -> None:
    """Wait until so many exchanges of the only version were drawn and have not ended."""
    await eventually(lambda: gateway.recorder.since_start().versions[0].in_flight == count)


async def test_a_version_never_serves_more_than_its_concurrency_and_none_is_lost() -> None:
    answers = HeldAnswers()
    async with upstream(script=answers) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, bulkheads={"v1": Bulkhead(3, 7)})))
        async with serving(gateway) as port, talks(port, 10) as clients:
            for client in clients:
                await client.send(post())
            for _ in clients:
                await eventually(lambda: answers.held)
                answers.release()
            assert [(await client.answer()).status for client in clients] == [200] * 10
        assert answers.most_held == 3
        assert outcomes(gateway) == {"v1": {Outcome.OK: 10}}
        assert holds_nothing(gateway)


async def test_who_waits_is_served_in_the_order_of_coming() -> None:
    answers = HeldAnswers()
    async with upstream(script=answers) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, bulkheads={"v1": Bulkhead(1, 5)})))
        served = []
        async with serving(gateway) as port, talks(port, 6) as clients:
            for place, client in enumerate(clients):
                await client.send(get(f"/m/fraud/{place}"))
                await under_way(gateway, place + 1)
            for _ in clients:
                await eventually(lambda: answers.held)
                served.append(answers.held[0].line.split()[1])
                answers.release()
        assert served == [b"/%d" % place for place in range(6)]


async def test_beyond_the_queue_a_client_is_told_to_come_back() -> None:
    answers = HeldAnswers()
    async with upstream(script=answers) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, bulkheads={"v1": Bulkhead(1, 1)})))
        async with serving(gateway) as port, talks(port, 2) as clients, talking(port) as third:
            for client in clients:
                await client.send(post())
            await under_way(gateway, 2)
            answer = await third.ask(post())
            assert (answer.status, answer.field("retry-after")) == (503, "1")
            assert answer.problem()["type"].rpartition(":")[2] == "VersionOverloaded"
            answers.release()
            await eventually(lambda: answers.held)
            answers.release()
            # The same connection goes on, once there is room.
            await third.send(post())
            await eventually(lambda: answers.held)
            answers.release()
            assert (await third.answer()).status == 200
        assert outcomes(gateway) == {"v1": {Outcome.OK: 3, Outcome.OVERLOADED: 1}}
        assert holds_nothing(gateway)


async def test_a_canary_that_is_full_is_relieved_by_stable_and_counted_as_overloaded() -> None:
    answers = HeldAnswers(ok(b"canary"))
    async with upstream(ok(b"stable")) as stable, upstream(script=answers) as canary:
        versions = {"v1": stable.url, "v2": canary.url}
        gateway = gateway_with(table_of(routed(versions, ALL_CANARY, bulkheads={"v2": Bulkhead(1, 0)})))
        async with serving(gateway) as port, talking(port) as first, talking(port) as second:
            await first.send(post())
            await eventually(lambda: answers.held)
            for _ in range(3):
                answer = await second.ask(post(b"abc"))
                assert (answer.body, answer.field("x-turnback-version")) == (b"stable", "v1")
            answers.release()
            assert (await first.answer()).body == b"canary"
        rows = {str(row.key.version): row.tally for row in gateway.recorder.collect().rows}
        assert rows["v2"].outcomes == {Outcome.OVERLOADED: 3, Outcome.OK: 1}
        assert (rows["v1"].exchanges, rows["v1"].excluded) == (0, 3)
        assert not gateway.open_brakes()
        assert holds_nothing(gateway)


async def test_clients_that_leave_the_queue_leave_no_gap() -> None:
    answers = HeldAnswers()
    async with upstream(script=answers) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, bulkheads={"v1": Bulkhead(1, 3)})))
        async with serving(gateway) as port, talks(port, 3) as clients:
            await clients[0].send(post())
            await eventually(lambda: answers.held)
            for client in clients[1:]:
                await client.send(post())
            await under_way(gateway, 3)
            clients[1].writer.close()
            await eventually(lambda: outcomes(gateway)["v1"].get(Outcome.CANCELLED) == 1)
            answers.release()
            await eventually(lambda: answers.held)
            answers.release()
            assert (await clients[2].answer()).status == 200
        assert outcomes(gateway) == {"v1": {Outcome.OK: 2, Outcome.CANCELLED: 1}}
        assert len(server.received) == 0
        assert holds_nothing(gateway)


async def test_waiting_in_the_queue_has_a_bound() -> None:
    answers = HeldAnswers()
    short = Timeouts(connect_s=0.1)
    async with upstream(script=answers) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, timeouts=short, bulkheads={"v1": Bulkhead(1, 3)})))
        async with serving(gateway) as port, talking(port) as first, talking(port) as second:
            await first.send(post())
            await eventually(lambda: answers.held)
            answer = await second.ask(post())
            assert (answer.status, answer.field("retry-after")) == (503, "1")
            answers.release()
            assert (await first.answer()).status == 200
        assert outcomes(gateway) == {"v1": {Outcome.OK: 1, Outcome.OVERLOADED: 1}}
        assert holds_nothing(gateway)


@pytest.mark.parametrize("body", [b"", b"hello", bytes(300_000)])
async def test_a_body_that_waited_arrives_whole(body: bytes) -> None:
    answers = HeldAnswers()
    async with upstream(script=answers) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, bulkheads={"v1": Bulkhead(1, 1)})))
        async with serving(gateway) as port, talking(port) as first, talking(port) as second:
            await first.send(post())
            await eventually(lambda: answers.held)
            sending = asyncio.create_task(second.send(post(body)))
            await under_way(gateway, 2)
            answers.release()
            await eventually(lambda: answers.held)
            assert answers.held[0].body == body
            answers.release()
            await sending
            assert (await second.answer()).status == 200


async def test_a_version_that_hangs_takes_nothing_from_the_others() -> None:
    answers = HeldAnswers()
    async with upstream(script=answers) as hanging, upstream() as well:
        gateway = gateway_with(
            table_of(
                routed({"v1": hanging.url}, name="slow", bulkheads={"v1": Bulkhead(2, 2)}),
                routed({"v1": well.url}, name="fraud", bulkheads={"v1": Bulkhead(1, 0)}),
            )
        )
        async with serving(gateway) as port, talks(port, 20) as clients, talking(port) as other:
            for client in clients:
                await client.send(get("/m/slow"))
            turned_away = await asyncio.gather(*(client.answer() for client in clients[4:]))
            assert {answer.status for answer in turned_away} == {503}
            for _ in range(20):
                assert (await other.ask(post())).status == 200
        assert answers.most_held == 2
        await eventually(lambda: holds_nothing(gateway))


async def test_a_full_stable_is_not_relieved_by_anybody() -> None:
    answers = HeldAnswers()
    async with upstream(script=answers) as stable, upstream(ok(b"canary")) as canary:
        versions = {"v1": stable.url, "v2": canary.url}
        table = table_of(routed(versions, HALF_CANARY, bulkheads={"v1": Bulkhead(1, 0)}))
        gateway = gateway_with(table, coin=lambda: 0.0)
        async with serving(gateway) as port, talking(port) as first, talking(port) as second:
            await first.send(post())
            await eventually(lambda: answers.held)
            assert (await second.ask(post())).status == 503
        assert canary.connections == 0
