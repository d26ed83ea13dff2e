"""An upstream's name is looked up, and what it leads to is checked, for every connection (DNS rebinding)."""

import asyncio
from collections.abc import Sequence

import pytest
from fakes.upstream_server import ok, upstream
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import post, talking

from app.domain.catalog.models import Timeouts
from app.domain.evidence.tally import Outcome

FORBIDDEN = "169.254.169.254"
CLOSING = ok(b"model", b"connection: close")


class Names:
    """A resolver whose answer a test changes."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        if not self.addresses:
            raise OSError("no such name")
        return self.addresses


def only_loopback(_host: str, address: str) -> bool:
    return address.startswith("127.")


async def test_a_name_is_connected_to_by_the_address_it_has_now() -> None:
    names = Names("127.0.0.1")
    async with upstream(CLOSING) as server:
        table = table_of(routed({"v1": f"http://model.test:{server.port}"}))
        gateway = gateway_with(table, may_connect=only_loopback, resolve=names)
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(3):
                assert (await talk.ask(post())).body == b"model"
        assert names.asked == [("model.test", server.port)] * 3
        assert server.received[0].field("host") == b"model.test:%d" % server.port


@pytest.mark.parametrize("addresses", [(FORBIDDEN,), ("127.0.0.1", FORBIDDEN), (FORBIDDEN, "127.0.0.1"), ()])
async def test_a_name_that_starts_to_lead_elsewhere_is_refused_at_once(addresses: tuple[str, ...]) -> None:
    names = Names("127.0.0.1")
    async with upstream(CLOSING) as server:
        table = table_of(routed({"v1": f"http://model.test:{server.port}"}))
        gateway = gateway_with(table, may_connect=only_loopback, resolve=names)
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(post())).status == 200
            names.addresses = addresses
            answer = await talk.ask(post())
            assert answer.status == 502
            assert FORBIDDEN not in answer.body.decode()
            names.addresses = ("127.0.0.1",)
            assert (await talk.ask(post())).status == 200
        assert server.connections == 2
        assert outcomes(gateway) == {"v1": {Outcome.OK: 2, Outcome.CONNECT_ERROR: 1}}


async def test_a_refused_address_is_counted_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    gateway = gateway_with(
        table_of(routed({"v1": "http://model.test:80"})), may_connect=only_loopback, resolve=Names(FORBIDDEN)
    )
    async with serving(gateway) as port, talking(port) as talk:
        for _ in range(2):
            assert (await talk.ask(post())).status == 502
    assert gateway.reach.refused_addresses == 2
    assert capsys.readouterr().out.count("upstream.address_refused") == 2


async def test_a_canary_whose_name_leads_elsewhere_is_braked_and_stable_serves() -> None:
    async with upstream(ok(b"stable")) as stable:
        urls = {"v1": stable.url, "v2": "http://model.test:80"}
        gateway = gateway_with(
            table_of(routed(urls, {"v1": 0, "v2": 10_000})), may_connect=only_loopback, resolve=Names(FORBIDDEN)
        )
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(8):
                assert (await talk.ask(post())).body == b"stable"
            assert gateway.open_brakes()


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    async with upstream(CLOSING) as server:
        names = Names("127.0.0.2", "127.0.0.1")
        gateway = gateway_with(table_of(routed({"v1": f"http://model.test:{server.port}"})), resolve=names)
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(post())).status == 200


async def test_a_resolver_that_hangs_is_a_timeout_and_not_asked_on_and_on() -> None:
    hanging = asyncio.Event()

    async def never(_host: str, _port: int) -> Sequence[str]:
        await hanging.wait()
        raise AssertionError("the wait was cancelled")

    table = table_of(routed({"v1": "http://model.test:80"}, timeouts=Timeouts(connect_s=0.1)))
    gateway = gateway_with(table, resolve=never)
    async with serving(gateway) as port, talking(port) as talk:
        assert (await talk.ask(post())).status == 504
        (pool,) = gateway.pools
        await eventually(lambda: not pool.upstreams[0].tasks)
    assert outcomes(gateway) == {"v1": {Outcome.TIMEOUT: 1}}
