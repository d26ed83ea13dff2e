"""A process that reaches nobody still turns its clients away from a canary that answers worse."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from fakes.upstream_server import Conversation, ok, upstream
from fakes.waiting import eventually
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import Talk, get, post, talking
from scipy.stats import binom

from app.domain.catalog.models import Bulkhead
from app.domain.catalog.routing import NO_COIN, RoutedModel
from app.proxy import Gateway
from app.proxy.routing.arm import ServingArm
from app.proxy.routing.table import CompiledRoute
from app.proxy.upstream.breaker import Cause
from app.proxy.upstream.breaker_evidence import LocalEvidence

OH = b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"
HALF = {"v1": 5_000, "v2": 5_000}
URLS = {"v1": "http://127.0.0.1:9", "v2": "http://127.0.0.1:9"}


def swept(gateway: Gateway) -> None:
    """What one sweep does about evidence."""
    for suspect in gateway._suspects:
        suspect.sweep(gateway.monotonic())


async def every_other_fails(conversation: Conversation) -> None:
    for number in itertools.count():
        await conversation.request()
        await conversation.send(OH if number % 2 else ok(b"canary"))


def alternating() -> Iterator[float]:
    return itertools.cycle((0.25, 0.75))


def half_and_half(stable: str, canary: str) -> Gateway:
    """A gateway that draws both in turn."""
    return gateway_with(table_of(routed({"v1": stable, "v2": canary}, HALF)), coin=alternating().__next__)


async def bad_answers_until_braked(gateway: Gateway, talk: Talk, patience: int = 1_000) -> int:
    """How many exchanges the canary spoilt before this process left it alone."""
    bad = 0
    for _ in range(patience):
        bad += (await talk.ask(post())).status == 500
        swept(gateway)
        if gateway.open_brakes():
            return bad
    raise AssertionError(f"no brake after {patience} exchanges, {bad} of them bad")


async def test_a_canary_with_every_other_answer_bad_is_braked_after_about_a_dozen() -> None:
    async with upstream(ok(b"stable")) as stable, upstream(script=every_other_fails) as canary:
        gateway = gateway_with(
            table_of(routed({"v1": stable.url, "v2": canary.url}, HALF)), coin=alternating().__next__
        )
        async with serving(gateway) as port, talking(port) as talk:
            assert await bad_answers_until_braked(gateway, talk) <= 15
            (brake,) = gateway.open_brakes()
            assert (brake.version, brake.cause) == ("v2", Cause.EVIDENCE)
            # No probe lifts it, and every client gets stable from now on.
            for _ in range(50):
                assert (await talk.ask(post())).body == b"stable"
            assert gateway.open_brakes()


async def test_the_sweep_looks_by_itself() -> None:
    async with upstream(ok(b"stable")) as stable, upstream(OH) as canary:
        gateway = gateway_with(
            table_of(routed({"v1": stable.url, "v2": canary.url}, HALF)), coin=alternating().__next__
        )
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(60):
                await talk.ask(post())
            await eventually(gateway.open_brakes)


@pytest.mark.parametrize("generations", [1, 8])
async def test_evidence_is_taken_up_again_in_every_weight_epoch(generations: int) -> None:
    async with upstream(ok(b"stable")) as stable, upstream(OH) as canary:
        versions = {"v1": stable.url, "v2": canary.url}
        gateway = gateway_with(table_of(routed(versions, HALF)), coin=alternating().__next__)
        async with serving(gateway) as port, talking(port) as talk:
            for generation in range(1, generations + 1):
                gateway.swap(table_of(routed(versions, HALF, generation=generation), revision=generation))
                await talk.ask(post())
                await talk.ask(post())
                swept(gateway)
            assert await bad_answers_until_braked(gateway, talk) <= 24


async def test_a_table_with_the_same_weights_loses_no_evidence() -> None:
    async with upstream(ok(b"stable")) as stable, upstream(OH) as canary:
        versions = {"v1": stable.url, "v2": canary.url}
        gateway = gateway_with(table_of(routed(versions, HALF)), coin=alternating().__next__)
        async with serving(gateway) as port, talking(port) as talk:
            for revision in range(2, 60):
                await talk.ask(post())
                gateway.swap(table_of(routed(versions, HALF), revision=revision))
                swept(gateway)
            assert gateway.open_brakes()


async def test_errors_that_both_versions_have_brake_nothing() -> None:
    async with upstream(OH) as stable, upstream(OH) as canary:
        gateway = gateway_with(
            table_of(routed({"v1": stable.url, "v2": canary.url}, HALF)), coin=alternating().__next__
        )
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(300):
                await talk.ask(post())
                swept(gateway)
        assert not gateway.open_brakes()


async def test_callers_errors_and_a_full_bulkhead_are_no_evidence() -> None:
    no = b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"
    async with upstream() as stable, upstream(no) as canary:
        versions = {"v1": stable.url, "v2": canary.url}
        for bulkhead in (Bulkhead(), Bulkhead(concurrency=0, queue=0)):
            table = table_of(routed(versions, HALF, bulkheads={"v2": bulkhead}))
            gateway = gateway_with(table, coin=alternating().__next__)
            async with serving(gateway) as port, talking(port) as talk:
                for _ in range(100):
                    await talk.ask(post())
                    swept(gateway)
            assert not gateway.open_brakes()


async def test_callers_that_stick_to_their_version_are_no_evidence() -> None:
    """One caller with one bad request, over and over, says nothing about a version."""
    async with upstream() as stable, upstream(OH) as canary:
        table = table_of(routed({"v1": stable.url, "v2": canary.url}, HALF, sticky_header="x-user"))
        gateway = gateway_with(table, coin=lambda: 0.9)
        async with serving(gateway) as port, talking(port) as talk:
            for _ in range(100):
                await talk.ask(get("/m/fraud"))
                swept(gateway)
        assert not gateway.open_brakes()


async def test_what_was_drawn_in_an_earlier_epoch_counts_there() -> None:
    """Exchanges of the time at half weight that fail under one basis point would else be overwhelming."""
    async with upstream() as stable, upstream() as canary:
        versions = {"v1": stable.url, "v2": canary.url}
        gateway = gateway_with(table_of(routed(versions, HALF)))
        before = arms(gateway)
        gateway.swap(table_of(routed(versions, {"v1": 9_999, "v2": 1}, generation=2), revision=2))
        assert arms(gateway)["v2"] is not before["v2"]
        before["v2"].errors += 50
        swept(gateway)
        assert not gateway.open_brakes()


async def test_a_rollback_or_a_raised_weight_lifts_it_and_a_freeze_or_a_lost_database_does_not() -> None:
    def at(generation: int, weights: dict[str, int] | None) -> RoutedModel:
        return routed(URLS, weights, generation=generation)

    gateway = gateway_with(table_of(at(1, HALF)))
    arms(gateway)["v2"].errors = 40
    swept(gateway)
    assert gateway.open_brakes()
    for generation, weights, is_open in [
        (2, {"v1": 9_999, "v2": 1}, True),
        (NO_COIN, None, True),
        (2, {"v1": 9_999, "v2": 1}, True),
        (3, HALF, False),
    ]:
        gateway.swap(table_of(at(generation, weights), revision=generation))
        assert bool(gateway.open_brakes()) is is_open
    arms(gateway)["v2"].errors = 40
    swept(gateway)
    assert gateway.open_brakes()
    gateway.swap(table_of(at(4, None), revision=4))
    assert not gateway.open_brakes()


def arms(gateway: Gateway) -> dict[str, ServingArm]:
    """Those in force, by version."""
    route: CompiledRoute = gateway.compiled.find(b"/m/fraud", b"").route
    return {arm.version: arm for arm in (route.stable, *route.others)}


@pytest.mark.parametrize("weight", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("error_rate", [0.01, 0.3])
def test_of_a_thousand_healthy_canaries_one_is_braked_at_most(weight: float, error_rate: float) -> None:
    """Bad answers fall on the canary by its weight alone; looked at after every hundred exchanges, in three epochs."""
    runs, looks, epochs = 1_000, 30, 3
    rng = np.random.default_rng(17)
    braked = 0
    for _ in range(runs):
        evidence = LocalEvidence()
        braked += any(_proved(evidence, rng.binomial(100, error_rate, looks), weight, rng) for _ in range(epochs))
    assert binom.sf(braked - 1, runs, 0.001) > 0.001, f"{braked} of {runs}"


def _proved(evidence: LocalEvidence, bad_by_look: Iterable[int], weight: float, rng: np.random.Generator) -> bool:
    """Whether one epoch of chance alone convinces."""
    epoch, canary, stable = object(), 0, 0
    for bad in bad_by_look:
        of_canary = int(rng.binomial(bad, weight))
        canary += of_canary
        stable += int(bad) - of_canary
        if evidence.proves_worse(epoch, canary, stable, weight):
            return True
    return False
