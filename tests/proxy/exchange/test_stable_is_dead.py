"""When stable cannot be had: every exchange still tries it, and none goes to the canary instead."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from fakes.upstream_server import ok, upstream
from proxy.exchange.test_exchange import outcomes
from proxy.serving import Urls, gateway_with, routed, serving, table_of
from proxy.talking import post, talking
from proxy.upstream.test_upstream_faults import refusing, unanswering

from app.domain.catalog.models import Timeouts
from app.domain.evidence.tally import Outcome

HALF = {"v1": 5_000, "v2": 5_000}


@pytest.mark.parametrize(("dead", "status"), [(refusing, 502), (unanswering, 504)])
async def test_each_exchange_of_a_dead_stable_tries_it_and_none_is_answered_by_the_canary(
    dead: Callable[[], AbstractContextManager[str]], status: int
) -> None:
    async with upstream(ok(b"canary")) as canary:
        with dead() as url:
            urls: Urls = {"v1": url, "v2": canary.url}
            table = table_of(routed(urls, HALF, timeouts=Timeouts(connect_s=0.05)))
            gateway = gateway_with(table, coin=lambda: 0.0)
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(8):
                    assert (await talk.ask(post())).status == status
            assert canary.connections == 0
            assert not gateway.open_brakes()
            assert sum(outcomes(gateway)["v1"].values()) == 8


async def test_what_is_drawn_for_the_canary_is_served_by_it_while_stable_is_dead() -> None:
    async with upstream(ok(b"canary")) as canary:
        with refusing() as url:
            gateway = gateway_with(table_of(routed({"v1": url, "v2": canary.url}, HALF)), coin=lambda: 0.9)
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(8):
                    assert (await talk.ask(post())).body == b"canary"


async def test_when_both_are_dead_the_canarys_exchange_ends_with_stables_failure() -> None:
    with refusing() as one, refusing() as other:
        gateway = gateway_with(table_of(routed({"v1": one, "v2": other}, HALF)), coin=lambda: 0.9)
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(10):
                answer = await talk.ask(post())
                assert (answer.status, answer.problem()["detail"]) == (502, "version v1 of model fraud")
            assert [brake.version for brake in gateway.open_brakes()] == ["v2"]
        assert outcomes(gateway)["v2"] == {Outcome.CONNECT_ERROR: 5}


async def test_stable_serves_at_once_when_it_is_back() -> None:
    async with upstream(ok(b"stable")) as stable:
        await stable.stop()
        gateway = gateway_with(table_of(routed({"v1": stable.url})))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(20):
                assert (await talk.ask(post())).status == 502
            await stable.start()
            assert (await talk.ask(post())).body == b"stable"
