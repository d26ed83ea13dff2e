"""A mirror that never answers: what its copies cost the clients, printed side by side with no mirror."""

import time
from statistics import median

import pytest
from fakes.upstream_server import Conversation, upstream
from fakes.waiting import eventually
from proxy.exchange.test_mirror import counters
from proxy.serving import gateway_with, routed, serving, table_of
from proxy.talking import Talk, post, talking

from app.domain.catalog.models import VersionName
from app.domain.catalog.routing import Mirror
from app.domain.evidence.tally import Counter
from app.proxy import Limits

ROUNDS = 400
COPIES = 32


async def _asked_s(talk: Talk) -> float:
    started = time.perf_counter()
    answer = await talk.ask(post(b"x" * 1_024))
    assert answer.status == 200
    return time.perf_counter() - started


async def test_a_hung_mirror_costs_clients_next_to_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async def never(conversation: Conversation) -> None:
        await conversation.gone()

    async with upstream() as stable, upstream(script=never) as hung:
        urls = {"v1": stable.url, "v2": hung.url}
        limits = Limits(sweep_s=0.05, mirror_copies=COPIES)
        plain = gateway_with(table_of(routed(urls)), limits=limits)
        mirrored = gateway_with(table_of(routed(urls, mirror=Mirror(VersionName("v2"), 10_000))), limits=limits)
        async with (
            serving(plain) as one,
            serving(mirrored) as two,
            talking(one) as to_plain,
            talking(two) as to_mirrored,
        ):
            without_s, with_s = [], []
            for _ in range(ROUNDS):
                without_s.append(await _asked_s(to_plain))
                with_s.append(await _asked_s(to_mirrored))
            await eventually(lambda: counters(mirrored).get(Counter.MIRROR_DROPPED) == ROUNDS - COPIES)
        assert hung.connections == COPIES
    added_ms = (median(with_s) - median(without_s)) * 1e3
    with capsys.disabled():
        print(f"\na hung mirror added {added_ms:.3f} ms to a median of {median(without_s) * 1e3:.3f} ms")  # noqa: T201 -- the figure is what this is for
