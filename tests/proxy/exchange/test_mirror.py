"""Copies of requests: sent after the answer, never in its way, and paired with it."""

import asyncio

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import post, talking
from proxy.upstream.test_upstream_faults import refusing

from app.domain.catalog.models import VersionName
from app.domain.catalog.routing import Mirror
from app.domain.evidence.tally import Counter, Outcome
from app.proxy import Gateway, Limits

V2 = VersionName("v2")


def mirrored(primary: str, mirror: str, share_bp: int = 10_000) -> Gateway:
    model = routed({"v1": primary, "v2": mirror}, mirror=Mirror(V2, share_bp))
    return gateway_with(table_of(model))


def counters(gateway: Gateway, version: str = "v2") -> dict[Counter, int]:
    total: dict[Counter, int] = {}
    for row in gateway.recorder.collect().rows:
        if row.key.version == version:
            for counter, count in row.tally.counters.items():
                total[counter] = total.get(counter, 0) + count
    return total


async def pairs(gateway: Gateway, wanted: int = 1) -> dict[Counter, int]:
    await eventually(lambda: counters(gateway).get(Counter.MIRROR_PAIRS, 0) == wanted)
    return counters(gateway)


async def test_a_copy_has_the_bytes_of_the_request_and_its_answer_goes_nowhere() -> None:
    async with upstream(ok(b"primary")) as one, upstream(ok(b"mirror")) as two:
        gateway = mirrored(one.url, two.url)
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(post(b"abc"))).body == b"primary"
            found = await pairs(gateway)
        assert [request.body for request in two.received] == [b"abc"]
        assert two.received[0].line == one.received[0].line
        assert found[Counter.MIRROR_DIFFERED] == 1
        assert outcomes(gateway) == {"v1": {Outcome.OK: 1}, "v2": {}}


async def test_the_same_answer_agrees() -> None:
    async with upstream(ok(b'{"predictions":[1]}')) as one, upstream(ok(b'{"predictions":[1]}')) as two:
        gateway = mirrored(one.url, two.url)
        async with serving(gateway) as port, talking(port) as talk:
            await talk.ask(post())
            found = await pairs(gateway)
        assert found[Counter.MIRROR_AGREED] == 1
        assert Counter.MIRROR_DIFFERED not in found


@pytest.mark.parametrize(
    ("primary", "mirror", "counter"),
    [
        (b"200 OK", b"500 Oh", Counter.MIRROR_ONLY_PRIMARY_OK),
        (b"500 Oh", b"200 OK", Counter.MIRROR_ONLY_MIRROR_OK),
        (b"500 Oh", b"503 Oh", Counter.MIRROR_NEITHER_OK),
        (b"200 OK", b"404 No", Counter.MIRROR_DIFFERED),
    ],
)
async def test_a_pair_is_counted_by_who_succeeded(primary: bytes, mirror: bytes, counter: Counter) -> None:
    def reply(status: bytes) -> bytes:
        return b"HTTP/1.1 %b\r\ncontent-length: 2\r\n\r\nok" % status

    async with upstream(reply(primary)) as one, upstream(reply(mirror)) as two:
        gateway = mirrored(one.url, two.url)
        async with serving(gateway) as port, talking(port) as talk:
            await talk.ask(post())
            assert (await pairs(gateway))[counter] == 1


async def test_a_slow_mirror_is_told_from_a_quick_one() -> None:
    async def slowly(conversation: Conversation) -> None:
        await conversation.request()
        await asyncio.sleep(0.1)
        await conversation.send(ok())

    async with upstream() as one, upstream(script=slowly) as two:
        gateway = mirrored(one.url, two.url)
        async with serving(gateway) as port, talking(port) as talk:
            await talk.ask(post())
            found = await pairs(gateway)
        assert found[Counter.MIRROR_SLOWER] == 1
        assert found[Counter.MIRROR_LATENCY_DIFFERENCE_US] > 50_000


async def test_a_mirror_that_refuses_is_a_pair_that_only_the_primary_answered() -> None:
    async with upstream() as one:
        with refusing() as url:
            gateway = mirrored(one.url, url)
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(7):
                    assert (await talk.ask(post())).status == 200
                assert (await pairs(gateway, 7))[Counter.MIRROR_ONLY_PRIMARY_OK] == 7
                assert not gateway.open_brakes()


async def test_hung_copies_are_bounded_and_the_rest_is_dropped_and_counted() -> None:
    async def never(conversation: Conversation) -> None:
        await conversation.gone()

    async with upstream() as one, upstream(script=never) as two:
        model = routed({"v1": one.url, "v2": two.url}, mirror=Mirror(V2, 10_000))
        gateway = gateway_with(table_of(model), limits=Limits(sweep_s=0.02, mirror_copies=3))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(10):
                assert (await talk.ask(post())).status == 200
            await eventually(lambda: counters(gateway).get(Counter.MIRROR_DROPPED) == 7)
        assert two.connections == 3


async def test_a_body_too_large_to_be_kept_is_not_copied() -> None:
    async with upstream() as one, upstream() as two:
        gateway = mirrored(one.url, two.url)
        async with serving(gateway) as port, talking(port) as talk:
            assert (await talk.ask(post(b"x" * 200_000))).status == 200
            await eventually(lambda: counters(gateway).get(Counter.MIRROR_DROPPED) == 1)
        assert not two.received


async def test_the_share_is_honoured() -> None:
    async with upstream() as one, upstream() as two:
        gateway = mirrored(one.url, two.url, share_bp=2_500)
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(400):
                await talk.ask(post())
            await eventually(lambda: counters(gateway).get(Counter.MIRROR_PAIRS, 0) > 50)
        assert 50 < len(two.received) < 150


async def test_a_version_is_no_mirror_of_its_own_answers() -> None:
    async with upstream() as one, upstream() as two:
        weights = {"v1": 0, "v2": 10_000}
        gateway = gateway_with(table_of(routed({"v1": one.url, "v2": two.url}, weights, mirror=Mirror(V2, 10_000))))
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(3):
                await talk.ask(post())
        assert len(two.received) == 3
        assert counters(gateway) == {}
