"""Five transport failures keep this process away from a canary, and nothing else does."""

import pytest
from fakes.upstream_server import ok, upstream
from fakes.waiting import eventually

from app.domain.tally import Outcome
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import post, talking
from proxy.test_exchange import outcomes
from proxy.test_upstream_faults import refusing

ALL_CANARY = {"v1": 0, "v2": 10_000}


async def test_five_transport_failures_of_a_canary_open_its_brake_and_stable_serves_without_a_coin() -> None:
    coins = 0

    def coin() -> float:
        nonlocal coins
        coins += 1
        return 0.5

    async with upstream(ok(b"stable")) as stable:
        with refusing() as url:
            gateway = gateway_with(table_of(routed({"v1": stable.url, "v2": url}, ALL_CANARY)), coin=coin)
            async with serving(gateway) as port, talking(port) as talk:
                for served in range(8):
                    assert (await talk.ask(post())).body == b"stable"
                    assert bool(gateway.open_brakes()) is (served >= 4)
                (brake,) = gateway.open_brakes()
                assert (brake.model, brake.version) == ("fraud", "v2")
                assert brake.since_s >= 0
        assert coins == 5
        rows = {str(row.key.version): row.tally for row in gateway.recorder.collect().rows}
        assert rows["v2"].exchanges == rows["v2"].outcomes[Outcome.CONNECT_ERROR] == 5
        assert (rows["v1"].exchanges, rows["v1"].excluded) == (0, 8)


async def test_the_brake_stays_open_while_probes_fail() -> None:
    async with upstream() as stable:
        with refusing() as url:
            gateway = gateway_with(table_of(routed({"v1": stable.url, "v2": url}, ALL_CANARY)))
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(5):
                    await talk.ask(post())
                await eventually(lambda: gateway.open_brakes()[0].since_s > 0.2)


async def test_the_brake_closes_when_the_upstream_takes_connections_again() -> None:
    async with upstream(ok(b"stable")) as stable, upstream(ok(b"canary")) as canary:
        await canary.stop()
        gateway = gateway_with(table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY)))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(5):
                assert (await talk.ask(post())).body == b"stable"
            assert gateway.open_brakes()
            await canary.start()
            await eventually(lambda: not gateway.open_brakes())
            assert (await talk.ask(post())).body == b"canary"


async def test_an_answer_in_between_starts_the_count_again() -> None:
    async with upstream(ok(b"stable")) as stable, upstream(ok(b"canary")) as canary:
        gateway = gateway_with(table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY)))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(3):
                await canary.stop()
                for _ in range(4):
                    await talk.ask(post())
                await canary.start()
                assert (await talk.ask(post())).body == b"canary"
            assert not gateway.open_brakes()


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"]
)
async def test_answered_errors_never_open_the_brake(reply: bytes) -> None:
    async with upstream() as stable, upstream(reply) as canary:
        gateway = gateway_with(table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY)))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(10):
                await talk.ask(post())
        assert not gateway.open_brakes()
        assert sum(outcomes(gateway)["v2"].values()) == 10


async def test_stable_is_never_braked_and_a_promoted_version_is_released() -> None:
    with refusing() as url:
        gateway = gateway_with(table_of(routed({"v1": url, "v2": url}, ALL_CANARY)))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(10):
                assert (await talk.ask(post())).status == 502
            assert [brake.version for brake in gateway.open_brakes()] == ["v2"]
            gateway.swap(table_of(routed({"v2": url, "v1": url}, {"v2": 10_000}), revision=2))
            assert not gateway.open_brakes()


async def test_a_brake_stays_open_over_a_swap() -> None:
    async with upstream() as stable:
        with refusing() as url:
            gateway = gateway_with(table_of(routed({"v1": stable.url, "v2": url}, ALL_CANARY)))
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(5):
                    await talk.ask(post())
                gateway.swap(table_of(routed({"v1": stable.url, "v2": url}, ALL_CANARY, generation=2), revision=2))
                assert gateway.open_brakes()
