"""Second attempts are bounded by a share of the load, however much fails."""

import asyncio

from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from hypothesis import given
from hypothesis import strategies as st
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import post, talking
from proxy.upstream.test_bulkhead import talks
from proxy.upstream.test_upstream_faults import unanswering

from app.domain.evidence.tally import Outcome
from app.proxy import Limits
from app.proxy.bounds.retry_budget import FREE, KEPT_SWEEPS, SHARE, RetryBudget

ALL_CANARY = {"v1": 0, "v2": 10_000}
# No sweep, so that nothing is earned while a test runs.
NO_SWEEP = Limits(sweep_s=60.0)


def taken(budget: RetryBudget, wanted: int) -> int:
    return sum(budget.take() for _ in range(wanted))


def test_a_few_second_attempts_are_free() -> None:
    assert taken(RetryBudget(), 1_000) == FREE


def test_a_budget_that_begins_late_owes_nothing_to_what_was_before() -> None:
    budget = RetryBudget()
    budget.refill(1_000_000)
    assert taken(budget, 1_000_000) <= FREE + 1


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 2_000)), max_size=60))
def test_retries_never_exceed_a_fifth_of_the_load_and_what_is_free(sweeps: list[tuple[int, int]]) -> None:
    budget = RetryBudget()
    budget.refill(0)
    exchanges = retries = 0
    for served, wanted in sweeps:
        exchanges += served
        budget.refill(exchanges)
        retries += taken(budget, wanted)
    assert retries <= SHARE * exchanges + (FREE + 1) + len(sweeps)


@given(st.integers(0, 500))
def test_what_is_unused_is_kept_for_ten_sweeps_at_most(served: int) -> None:
    budget = RetryBudget()
    for sweep in range(100):
        budget.refill(served * sweep)
    assert taken(budget, 5_000) <= FREE + KEPT_SWEEPS * max(1.0, SHARE * served)


async def test_a_storm_of_stale_connections_is_retried_within_the_budget_only() -> None:
    """Sixty pooled connections all close as they are used again, and whoever connects anew is closed, too."""
    together = asyncio.Barrier(60)

    async def answers_once(conversation: Conversation) -> None:
        await conversation.request()
        if server.connections <= 60:
            await together.wait()
            await conversation.send(ok())
            await conversation.head()

    async with upstream(script=answers_once) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url})), limits=NO_SWEEP)
        async with serving(gateway) as port, talks(port, 60) as clients:
            first = await asyncio.gather(*(client.ask(post()) for client in clients))
            assert {answer.status for answer in first} == {200}
            second = await asyncio.gather(*(client.ask(post()) for client in clients))
            assert {answer.status for answer in second} == {502}
        (version,) = gateway.recorder.since_start().versions
        assert version.retries == FREE
        assert server.connections == 60 + FREE


async def test_stable_saves_a_canarys_exchanges_within_its_own_budget_only() -> None:
    async with upstream(ok(b"stable")) as stable:
        with unanswering() as silent:
            table = table_of(routed({"v1": stable.url, "v2": silent}, ALL_CANARY))
            gateway = gateway_with(table, limits=NO_SWEEP)
            async with serving(gateway) as port, talks(port, 30) as clients:
                for client in clients:
                    await client.send(post())
                await eventually(lambda: len(gateway.port.clients) == 30)
                await asyncio.sleep(0.1)
                # Thirty exchanges lose their patience in the same sweep.
                later = gateway.monotonic() + 3.0
                for connection in list(gateway.port.clients):
                    connection.sweep(later)
                statuses = [(await client.answer()).status for client in clients]
            assert (statuses.count(200), statuses.count(504)) == (FREE, 30 - FREE)
            assert outcomes(gateway)["v2"] == {Outcome.TIMEOUT: 30}
            assert len(stable.received) == FREE


async def test_exchanges_served_without_a_coin_earn_retries_too() -> None:
    """While a brake is open stable serves everything without a coin."""
    async with upstream(ok(b"stable")) as stable, upstream() as canary:
        await canary.stop()
        gateway = gateway_with(table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY)))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(200):
                assert (await talk.ask(post())).body == b"stable"
            (pool,) = (pool for pool in gateway.pools if pool.version.name == "v1")
            totals = {version.version: version for version in gateway.recorder.since_start().versions}
            assert totals[pool.version.name].excluded == 200
            await eventually(lambda: pool.budget._exchanges == 200)
