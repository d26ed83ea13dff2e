"""Five transport failures in a row keep this process away from a canary until a probe finds it ready."""

import asyncio

import pytest
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.bounds.test_retry_budget import NO_SWEEP
from proxy.exchange.test_exchange import outcomes
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import post, talking
from proxy.upstream.test_bulkhead import talks
from proxy.upstream.test_upstream_faults import refusing

from app.domain.catalog.models import ModelName, Timeouts, VersionName
from app.domain.catalog.routing import NO_COIN
from app.domain.evidence.tally import Outcome
from app.proxy.upstream.breaker import FAILURES_TO_OPEN, LONGEST_HOLD_S, Brake, Cause, OpenCount

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
                assert (brake.model, brake.version, brake.cause) == ("fraud", "v2", Cause.TRANSPORT)
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


@pytest.mark.parametrize("ending", ["silence", "reset"])
async def test_upstreams_that_take_requests_and_do_not_answer_open_the_brake(ending: str) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        if ending == "silence":
            await conversation.gone()

    async with upstream(ok(b"stable")) as stable, upstream(script=script) as canary:
        timeouts = Timeouts(first_byte_s=0.1)
        table = table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY, timeouts=timeouts))
        gateway = gateway_with(table)
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(FAILURES_TO_OPEN):
                assert not gateway.open_brakes()
                assert (await talk.ask(post())).status == (504 if ending == "silence" else 502)
            assert gateway.open_brakes()


async def test_an_answer_of_an_older_exchange_does_not_release_an_open_brake() -> None:
    answered = asyncio.Event()

    async def slow(conversation: Conversation) -> None:
        await conversation.request()
        await answered.wait()
        await conversation.send(ok(b"canary"))

    async with upstream(ok(b"stable")) as stable, upstream(script=slow) as canary:
        table = table_of(routed({"v1": stable.url, "v2": canary.url}, ALL_CANARY))
        gateway = gateway_with(table, limits=NO_SWEEP)
        async with serving(gateway) as port, talking(port) as old, talking(port) as talk:
            await old.send(post())
            await eventually(lambda: canary.open)
            (pool,) = (pool for pool in gateway.pools if pool.version.name == "v2")
            for _ in range(FAILURES_TO_OPEN):
                pool.brake.failed(gateway.monotonic())
            answered.set()
            assert (await old.answer()).body == b"canary"
            assert gateway.open_brakes()
            assert (await talk.ask(post())).body == b"stable"


async def test_a_version_that_loses_its_traffic_is_released_and_armed_again_with_it() -> None:
    async with upstream() as stable:
        with refusing() as url:
            urls = {"v1": stable.url, "v2": url}
            gateway = gateway_with(table_of(routed(urls, ALL_CANARY)))
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(5):
                    await talk.ask(post())
                assert gateway.open_brakes()
                gateway.swap(table_of(routed(urls, generation=2), revision=2))
                assert not gateway.open_brakes()
                gateway.swap(table_of(routed(urls, ALL_CANARY, generation=3), revision=3))
                for _ in range(5):
                    assert not gateway.open_brakes()
                    await talk.ask(post())
                assert gateway.open_brakes()


async def test_withholding_a_canary_from_an_old_table_is_no_decision_on_its_brake() -> None:
    async with upstream() as stable:
        with refusing() as url:
            urls = {"v1": stable.url, "v2": url}
            gateway = gateway_with(table_of(routed(urls, ALL_CANARY)))
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(5):
                    await talk.ask(post())
                gateway.swap(table_of(routed(urls, generation=NO_COIN)))
                assert gateway.open_brakes()


async def test_an_exchange_that_fails_after_its_version_left_the_table_opens_nothing() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.gone()

    async with upstream() as stable, upstream(script=script) as canary:
        urls = {"v1": stable.url, "v2": canary.url}
        gateway = gateway_with(table_of(routed(urls, ALL_CANARY)))
        async with serving(gateway) as port, talks(port, 6) as clients:
            for client in clients:
                await client.send(post())
            await eventually(lambda: canary.open == 6)
            gateway.swap(table_of(routed({"v1": stable.url}), revision=2))
            await canary.stop()
            assert [(await client.answer()).status for client in clients] == [502] * 6
        assert gateway._open_count.brakes == 0


def brake() -> Brake:
    """An armed one."""
    armed = Brake(ModelName("fraud"), VersionName("v2"), OpenCount())
    armed.arm(100)
    return armed


def opened() -> Brake:
    broken = brake()
    for _ in range(FAILURES_TO_OPEN):
        broken.failed(0.0)
    assert broken.is_open
    return broken


def test_after_a_probe_released_it_the_next_failure_opens_the_brake_again() -> None:
    tried = opened()
    tried.probed(0.0)
    assert not tried.is_open
    tried.failed(1.0)
    assert tried.is_open


def test_who_answers_probes_and_nothing_else_is_tried_ever_more_rarely() -> None:
    hung = opened()
    held_for = []
    now = 0.0
    for _ in range(12):
        opened_at = now
        while hung.is_open:
            now += 1.0
            hung.probed(now)
        held_for.append(now - opened_at)
        hung.failed(now)
    # The fifth opening lasts beyond the ten seconds after which the rollout is turned back.
    assert held_for[:5] == [1.0, 1.0, 3.0, 7.0, 15.0]
    assert held_for[-1] == LONGEST_HOLD_S


def test_an_answer_after_a_trial_forgives_everything() -> None:
    well = opened()
    well.probed(1.0)
    well.answered()
    for _ in range(FAILURES_TO_OPEN - 1):
        well.failed(2.0)
    assert not well.is_open
    well.failed(2.0)
    well.probed(2.0)
    assert not well.is_open


def test_a_probe_releases_no_brake_that_evidence_holds() -> None:
    for judged in (brake(), opened()):
        judged.judged_worse(1.0)
        assert (judged.is_open, judged.cause) == (True, Cause.EVIDENCE)
        judged.probed(1_000.0)
        judged.answered()
        assert judged.is_open


def test_only_a_decision_for_the_version_releases_a_brake_that_evidence_holds() -> None:
    judged = brake()
    judged.judged_worse(1.0)
    for frozen_at in (100, 10, 1, 1):
        judged.arm(frozen_at)
        assert judged.is_open
    judged.arm(100)
    assert not judged.is_open
    judged.judged_worse(2.0)
    judged.disarm()
    assert not judged.is_open


def test_stable_is_never_judged() -> None:
    stable = Brake(ModelName("fraud"), VersionName("v1"), OpenCount())
    stable.judged_worse(1.0)
    for _ in range(10):
        stable.failed(1.0)
    assert not stable.is_open


def test_the_count_of_open_brakes_returns_to_none() -> None:
    count = OpenCount()
    for decide in (Brake.disarm, lambda each: each.probed(1_000.0)):
        each = Brake(ModelName("fraud"), VersionName("v2"), count)
        each.arm(1)
        for _ in range(10):
            each.failed(0.0)
        assert count.brakes == 1
        decide(each)
        decide(each)
        assert count.brakes == 0
