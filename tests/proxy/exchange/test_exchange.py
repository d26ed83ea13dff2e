"""Exchanges end to end: drawn by weight, forwarded, answered, counted."""

import asyncio
import random

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import get, post, talking

from app.domain.evidence.tally import Outcome
from app.domain.stats.latency_histogram import edge_us
from app.proxy import Gateway


def outcomes(gateway: Gateway) -> dict[str, dict[Outcome, int]]:
    """Ended exchanges by version, over all rows."""
    found: dict[str, dict[Outcome, int]] = {}
    for row in gateway.recorder.collect().rows:
        counts = found.setdefault(row.key.version, {})
        for outcome, count in row.tally.outcomes.items():
            counts[outcome] = counts.get(outcome, 0) + count
    return found


async def test_an_exchange_reaches_the_upstream_and_its_answer_the_client() -> None:
    async with upstream(ok(b"hello", b"x-model: yes")) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(post(b"abc"))
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer.field("x-turnback-version") == "v1"
        assert answer.field("x-model") == "yes"
        assert server.received[0].line == b"POST /v2/models/fraud/infer HTTP/1.1"
        assert server.received[0].body == b"abc"
        assert outcomes(gateway) == {"v1": {Outcome.OK: 1}}


async def test_exchanges_share_upstream_connections() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port:
            for _ in range(3):
                async with talking(port) as talk:
                    for _ in range(5):
                        assert (await talk.ask(post())).status == 200
        assert len(server.received) == 15
        assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, Outcome.OK), (301, Outcome.OK), (404, Outcome.CLIENT_ERROR), (500, Outcome.UPSTREAM_ERROR)],
)
async def test_an_outcome_is_the_class_of_the_upstreams_status(status: int, outcome: Outcome) -> None:
    reply = b"HTTP/1.1 %d Whatever\r\ncontent-length: 0\r\n\r\n" % status
    async with upstream(reply) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(post())).status == status
        assert outcomes(gateway) == {"v1": {outcome: 1}}


async def test_weights_are_honoured() -> None:
    n, weight = 1_500, 0.2
    async with upstream(ok(b"1")) as one, upstream(ok(b"2")) as two:
        table = table_of(routed({"v1": one.url, "v2": two.url}, {"v1": 8_000, "v2": 2_000}, generation=7))
        gateway = gateway_with(table, coin=random.Random(11).random)
        async with serving(gateway) as port, talking(port) as talk:
            answers = [(await talk.ask(post())).body for _ in range(n)]
        drawn = answers.count(b"2")
        assert abs(drawn - n * weight) < 4 * (n * weight * (1 - weight)) ** 0.5
        rows = gateway.recorder.collect().rows
        assert sum(row.tally.exchanges for row in rows if row.key.version == "v2") == drawn
        assert {row.key.generation for row in rows} == {7}


async def test_a_sticky_caller_stays_on_its_arm() -> None:
    async with upstream(ok(b"1")) as one, upstream(ok(b"2")) as two:
        model = routed({"v1": one.url, "v2": two.url}, {"v1": 5_000, "v2": 5_000}, sticky_header="x-session")
        gateway = gateway_with(table_of(model))
        async with serving(gateway) as port, talking(port) as talk:
            arms = {
                key: {(await talk.ask(post(b"", "/v2/models/fraud/infer", f"X-Session: {key}"))).body for _ in range(4)}
                for key in range(40)
            }
        assert all(len(seen) == 1 for seen in arms.values())
        assert {next(iter(seen)) for seen in arms.values()} == {b"1", b"2"}


async def test_a_swap_leaves_drawn_exchanges_alone_and_closes_idle_connections_of_versions_that_left() -> None:
    async with upstream(ok(b"1")) as one, upstream(ok(b"2")) as two:
        gateway = gateway_with(table_of(routed({"v1": one.url})))
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(post())).body == b"1"
            table = table_of(routed({"v2": two.url}, generation=2), revision=2)
            gateway.swap(table)
            assert gateway.table is table
            await eventually(lambda: one.open == 0)
            assert (await talk.ask(post())).body == b"2"
        assert {row.key.generation for row in gateway.recorder.collect().rows} == {1, 2}


async def test_a_swap_keeps_connections_of_versions_that_stay() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.ask(post())
            gateway.swap(table_of(routed({"v1": server.url}, generation=2), revision=2))
            await talk.ask(post())
        assert server.connections == 1


async def test_the_upstreams_base_path_comes_before_the_forwarded_path() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url + "/serving/a"})))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.ask(get("/m/fraud/score?x=1"))
        assert server.received[0].line == b"GET /serving/a/score?x=1 HTTP/1.1"


async def test_totals_since_the_start_say_what_happened() -> None:
    async with upstream() as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(9):
                await talk.ask(post())
        totals = gateway.recorder.since_start()
        (version,) = totals.versions
        assert version.outcomes[Outcome.OK] == 9
        assert version.in_flight == 0
        assert sum(version.latency_bins.values()) == 9
        # The first and then every eighth is timed.
        assert sum(totals.overhead_counts) == 2
        assert len(totals.overhead_counts) == len(totals.overhead_edges_us) + 1


async def test_an_exchange_beyond_the_latency_horizon_counts_as_that_slow_while_it_is_still_open() -> None:
    go = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await go.wait()
        await conversation.send(ok())

    async with upstream(script=script) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, latency_horizon_ms=50)))
        async with serving(gateway) as port, talking(port) as talk:
            await talk.send(post())

            def told() -> bool:
                return any(row.tally.latency_bins for row in gateway.recorder.collect().rows)

            await eventually(told)
            assert outcomes(gateway) == {"v1": {}}
            go.set()
            assert (await talk.answer()).status == 200
        (row,) = gateway.recorder.collect().rows
        ((index, count),) = row.tally.latency_bins.items()
        assert (count, edge_us(index + 1) >= 50_000) == (1, True)
        assert row.tally.outcomes == {Outcome.OK: 1}
