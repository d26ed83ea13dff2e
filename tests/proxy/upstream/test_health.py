"""Health probes choose among a version's upstreams; they never send a version away."""

import asyncio

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.serving import Urls, gateway_with, routed, serving, table_of
from proxy.talking import post, talking
from proxy.upstream.test_upstream_faults import refusing

from app.domain.catalog.models import Protocol
from app.proxy import Gateway, Limits
from app.proxy.upstream.connector import Reach
from app.proxy.upstream.endpoint import Upstream

UNREADY = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"
PROBING = Limits(sweep_s=0.02, probe_every_s=0.02, probe_s=0.1)


class ModelServer:
    """Answers inference always, and probes as it is told; counts both.

    Attributes:
        readiness: What a probe is answered; empty for nothing at all.
    """

    def __init__(self, readiness: bytes = ok(b"", b"connection: keep-alive")) -> None:
        self.readiness = readiness
        self.probes: list[bytes] = []
        self.served = 0

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            request = await conversation.request()
            if request.field("user-agent") != b"turnback":
                self.served += 1
                await conversation.send(ok())
                continue
            self.probes.append(request.line)
            if not self.readiness:
                await conversation.gone()
                return
            await conversation.send(self.readiness)


def seems_well(gateway: Gateway, number: int) -> bool:
    """Whether this upstream of the only version is preferred."""
    (pool,) = gateway.pools
    return pool.upstreams[number].is_well(gateway.monotonic())


@pytest.mark.parametrize(
    ("protocol", "path"),
    [
        (Protocol.OIP_V2, b"/v2/health/ready"),
        (Protocol.KSERVE_V1, b"/v1/models/fraud"),
        (Protocol.TF_SERVING, b"/v1/models/fraud"),
        (Protocol.TORCHSERVE, b"/ping"),
        (Protocol.MLFLOW, b"/ping"),
        (Protocol.OPENAI, b"/health"),
        (Protocol.BENTOML, b"/readyz"),
    ],
)
async def test_every_upstream_is_asked_at_its_protocols_path_under_its_own_base(
    protocol: Protocol, path: bytes
) -> None:
    one, other = ModelServer(), ModelServer()
    async with upstream(script=one) as first, upstream(script=other) as second:
        urls = (first.url, f"{second.url}/base")
        gateway = gateway_with(table_of(routed({"v1": urls}, protocol=protocol)), limits=PROBING)
        async with serving(gateway) as port, talking(port):
            await eventually(lambda: len(one.probes) > 2 and len(other.probes) > 2)
        assert set(one.probes) == {b"GET %b HTTP/1.1" % path}
        assert set(other.probes) == {b"GET /base%b HTTP/1.1" % path}


async def test_a_declared_health_path_is_asked_instead_of_the_protocols() -> None:
    one, other = ModelServer(), ModelServer()
    async with upstream(script=one) as first, upstream(script=other) as second:
        table = table_of(routed({"v1": (first.url, second.url)}, protocol=Protocol.OIP_V2, health_path="/mine"))
        async with serving(gateway_with(table, limits=PROBING)) as port, talking(port):
            await eventually(lambda: one.probes)
        assert one.probes[0] == b"GET /mine HTTP/1.1"


async def test_an_unready_upstream_is_avoided_and_used_again_when_it_is_ready() -> None:
    one, other = ModelServer(), ModelServer(UNREADY)
    async with upstream(script=one) as first, upstream(script=other) as second:
        table = table_of(routed({"v1": (first.url, second.url)}, protocol=Protocol.OIP_V2))
        gateway = gateway_with(table, limits=PROBING)
        async with serving(gateway) as port, talking(port) as talk:
            await eventually(lambda: not seems_well(gateway, 1))
            assert len(other.probes) >= 3
            for _ in range(20):
                assert (await talk.ask(post())).status == 200
            assert (one.served, other.served) == (20, 0)
            other.readiness = ok()
            await eventually(lambda: seems_well(gateway, 1))
            for _ in range(60):
                assert (await talk.ask(post())).status == 200
            assert other.served > 5


def test_two_failed_probes_between_good_ones_change_nothing() -> None:
    found = Upstream("http://127.0.0.1:9", PROBING, Reach())
    for ready in (False, False, True, False, False):
        found.probed(ready=ready)
        assert found.is_well(0.0)
    found.probed(ready=False)
    assert not found.is_well(0.0)
    found.probed(ready=True)
    assert found.is_well(0.0)


@pytest.mark.parametrize(
    "readiness",
    [b"", b"garbage\r\n\r\n", b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", UNREADY],
    ids=["hung", "garbage", "redirect", "unready"],
)
async def test_a_probe_without_a_2xx_in_time_is_a_failed_one(readiness: bytes) -> None:
    one, other = ModelServer(), ModelServer(readiness)
    async with upstream(script=one) as first, upstream(script=other) as second:
        table = table_of(routed({"v1": (first.url, second.url)}, protocol=Protocol.OIP_V2))
        gateway = gateway_with(table, limits=PROBING)
        async with serving(gateway) as port, talking(port):
            await eventually(lambda: not seems_well(gateway, 1))
            assert seems_well(gateway, 0)
            # A hung probe is not asked a second time while it hangs.
            assert second.open <= 1


async def test_a_version_with_no_ready_upstream_is_served_by_all_of_them() -> None:
    one, other = ModelServer(UNREADY), ModelServer(UNREADY)
    async with upstream(script=one) as first, upstream(script=other) as second:
        table = table_of(routed({"v1": (first.url, second.url)}, protocol=Protocol.OIP_V2))
        gateway = gateway_with(table, limits=PROBING)
        async with serving(gateway) as port, talking(port) as talk:
            await eventually(lambda: not seems_well(gateway, 0) and not seems_well(gateway, 1))
            for _ in range(40):
                assert (await talk.ask(post())).status == 200
            assert one.served > 5
            assert other.served > 5


async def test_failed_probes_of_a_canary_open_no_brake() -> None:
    unready = ModelServer(UNREADY)
    async with upstream() as stable, upstream(script=unready) as canary:
        with refusing() as dead:
            versions: Urls = {"v1": stable.url, "v2": (canary.url, dead)}
            table = table_of(routed(versions, {"v1": 5_000, "v2": 5_000}, protocol=Protocol.OIP_V2))
            gateway = gateway_with(table, limits=PROBING)
            async with serving(gateway) as port, talking(port):
                await eventually(lambda: len(unready.probes) > 10)
                assert not gateway.open_brakes()


@pytest.mark.parametrize("several", [True, False])
async def test_versions_without_a_choice_or_without_traffic_are_not_asked(several: bool) -> None:
    stable, resting = ModelServer(), ModelServer()
    async with upstream(script=stable) as first, upstream(script=resting) as second:
        urls = (second.url, f"{second.url}/other") if several else second.url
        versions = {"v1": first.url, "v2": urls}
        weights = {"v1": 10_000} if several else {"v1": 5_000, "v2": 5_000}
        table = table_of(routed(versions, weights, protocol=Protocol.OIP_V2))
        async with serving(gateway_with(table, limits=PROBING)) as port, talking(port):
            await asyncio.sleep(0.2)
        assert not stable.probes
        assert not resting.probes


async def test_a_probes_connection_is_closed_although_the_server_would_keep_it() -> None:
    one = ModelServer()
    async with upstream(script=one) as first:
        table = table_of(routed({"v1": (first.url, f"{first.url}/")}, protocol=Protocol.OIP_V2))
        gateway = gateway_with(table, limits=Limits(sweep_s=0.02, probe_every_s=60.0))
        async with serving(gateway) as port, talking(port) as talk:
            await eventually(lambda: len(one.probes) == 2)
            await first.quiet()
            for _ in range(10):
                assert (await talk.ask(post())).status == 200


async def test_probes_end_with_the_gateway() -> None:
    hung = ModelServer(b"")
    async with upstream(script=hung) as first, upstream(script=hung) as second:
        table = table_of(routed({"v1": (first.url, second.url)}, protocol=Protocol.OIP_V2))
        gateway = gateway_with(table, limits=Limits(sweep_s=0.02, probe_s=60.0))
        async with serving(gateway) as port, talking(port):
            await eventually(lambda: first.open and second.open)
        await first.quiet()
        await second.quiet()
