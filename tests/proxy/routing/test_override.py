"""An operator may choose a version by header; nobody else may, and evidence never hears of it."""

from fakes.upstream_server import ok, upstream
from proxy.exchange.test_mirror import counters
from proxy.serving import routed, serving, table_of
from proxy.talking import get, talking
from proxy.upstream.test_upstream_faults import refusing

from app.domain.evidence.tally import Counter
from app.proxy import Gateway, Limits

KEY = "x-turnback-override-key: the operators' own"
PATH = "/v2/models/fraud/infer"


def gateway_for(stable: str, canary: str, override_key: bytes = b"the operators' own") -> Gateway:
    gateway = Gateway(lambda: 1_000.0, limits=Limits(sweep_s=0.02), override_key=override_key)
    gateway.swap(table_of(routed({"v1": stable, "v2": canary})))
    return gateway


async def test_an_operator_reaches_a_version_without_weight_and_it_is_no_evidence() -> None:
    async with upstream(ok(b"1")) as one, upstream(ok(b"2")) as two:
        gateway = gateway_for(one.url, two.url)
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(get(PATH, "x-turnback-force-version: v2", KEY))
            assert (answer.body, answer.field("x-turnback-version")) == (b"2", "v2")
        assert b"x-turnback" not in two.received[0].head.lower()
        (row,) = gateway.recorder.collect().rows
        assert (row.key.version, row.tally.exchanges, row.tally.excluded, dict(row.tally.outcomes)) == ("v2", 0, 1, {})
        assert counters(gateway) == {Counter.FORCED: 1}


async def test_without_the_key_nothing_is_sent_anywhere() -> None:
    async with upstream() as one, upstream() as two:
        for gateway in (gateway_for(one.url, two.url), gateway_for(one.url, two.url, override_key=b"")):
            async with serving(gateway) as port, talking(port) as talk:
                for keys in ((), ("x-turnback-override-key: guessed",), ("x-turnback-override-key:",)):
                    answer = await talk.ask(get(PATH, "x-turnback-force-version: v2", *keys))
                    assert answer.status == 403
                    assert answer.problem()["type"].endswith("OverrideRefused")
            assert not gateway.recorder.collect().rows
        assert not one.received
        assert not two.received


async def test_an_unknown_version_is_a_404() -> None:
    async with upstream() as one:
        gateway = gateway_for(one.url, one.url)
        async with serving(gateway) as port, talking(port) as talk:
            answer = await talk.ask(get(PATH, "x-turnback-force-version: v9", KEY))
            assert (answer.status, answer.problem()["fault"]) == (404, "client")


async def test_a_forced_version_that_cannot_be_reached_is_not_answered_by_another() -> None:
    async with upstream() as one:
        with refusing() as url:
            gateway = gateway_for(one.url, url)
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(6):
                    assert (await talk.ask(get(PATH, "x-turnback-force-version: v2", KEY))).status == 502
            assert not one.received
            assert not gateway.open_brakes()
