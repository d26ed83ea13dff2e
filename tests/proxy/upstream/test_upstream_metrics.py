"""What is shown of brakes, queues and upstreams."""

from fakes.held_answers import HeldAnswers
from fakes.upstream_server import upstream
from fakes.waiting import eventually
from proxy.serving import Urls, gateway_with, routed, serving, table_of
from proxy.talking import post, talking
from proxy.upstream.test_bulkhead import talks, under_way
from proxy.upstream.test_health import PROBING, UNREADY, ModelServer
from proxy.upstream.test_names_that_move import FORBIDDEN, Names, only_loopback
from proxy.upstream.test_upstream_faults import refusing

from app import telemetry
from app.domain.catalog.models import Bulkhead, Protocol
from app.proxy import Gateway
from app.proxy.metrics import UpstreamFigures

ALL_CANARY = {"v1": 0, "v2": 10_000}


def shown(gateway: Gateway, family: telemetry.Family) -> dict[tuple[str, ...], object]:
    return {each.labels: each.value for each in UpstreamFigures(gateway).series() if each.family is family}


async def test_an_open_brake_is_shown() -> None:
    async with upstream() as stable:
        with refusing() as dead:
            urls: Urls = {"v1": stable.url, "v2": dead}
            gateway = gateway_with(table_of(routed(urls, ALL_CANARY)))
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(5):
                    assert shown(gateway, telemetry.BRAKE_OPEN)["fraud", "v2"] == 0.0
                    await talk.ask(post())
                assert shown(gateway, telemetry.BRAKE_OPEN) == {("fraud", "v1"): 0.0, ("fraud", "v2"): 1.0}


async def test_upstreams_are_shown_by_how_they_do() -> None:
    async with upstream(script=ModelServer()) as well, upstream(script=ModelServer(UNREADY)) as unready:
        with refusing() as dead:
            urls: Urls = {"v1": (well.url, unready.url, dead), "v2": well.url}
            gateway = gateway_with(table_of(routed(urls, protocol=Protocol.OIP_V2)), limits=PROBING)
            assert shown(gateway, telemetry.UPSTREAMS) == {
                ("fraud", "v1", "well"): 3.0,
                ("fraud", "v1", "ejected"): 0.0,
                ("fraud", "v1", "unready"): 0.0,
            }
            async with serving(gateway) as port, talking(port):
                await eventually(lambda: shown(gateway, telemetry.UPSTREAMS)["fraud", "v1", "unready"] == 2.0)
                assert shown(gateway, telemetry.UPSTREAMS)["fraud", "v1", "well"] == 1.0


async def test_an_ejected_upstream_is_shown() -> None:
    async with upstream() as well:
        with refusing() as dead:
            urls: Urls = {"v1": (well.url, dead)}
            gateway = gateway_with(table_of(routed(urls)))
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(40):
                    await talk.ask(post())
            assert shown(gateway, telemetry.UPSTREAMS)["fraud", "v1", "ejected"] == 1.0


async def test_who_waits_in_a_queue_is_shown() -> None:
    async with upstream(script=HeldAnswers()) as server:
        gateway = gateway_with(table_of(routed({"v1": server.url}, bulkheads={"v1": Bulkhead(1, 5)})))
        async with serving(gateway) as port, talks(port, 3) as clients:
            for client in clients:
                await client.send(post())
            await under_way(gateway, 3)
            assert shown(gateway, telemetry.QUEUED) == {("fraud", "v1"): 2.0}


async def test_refused_addresses_are_shown() -> None:
    table = table_of(routed({"v1": "http://model.test:80"}))
    gateway = gateway_with(table, may_connect=only_loopback, resolve=Names(FORBIDDEN))
    async with serving(gateway) as port, talking(port) as talk:
        assert (await talk.ask(post())).status == 502
    assert shown(gateway, telemetry.ADDRESSES_REFUSED) == {(): 1.0}
