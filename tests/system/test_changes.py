"""Changes reach every proxy fast, and no client ever notices one by a failure."""

import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable

import pytest
from system.processes import Admin, Gateway, ModelServer, Stage
from system.recorded import decided, exported, exported_decisions, tallied, until
from system.steady_load import Load, request

PAIRS = 50
ROUNDS = 10
RATE = 600.0


class Fleet:
    """One control process, two proxies and two good versions on one Postgres."""

    def __init__(self, control: Gateway, proxies: list[Gateway], admin: Admin, servers: list[ModelServer]) -> None:
        self.control = control
        self.proxies = proxies
        self.admin = admin
        self.servers = servers

    @property
    def ports(self) -> list[int]:
        return [proxy.inference_port for proxy in self.proxies]


async def fleet(stage: Stage, database_url: str) -> Fleet:
    control, *proxies = await asyncio.gather(
        stage.gateway("control", database_url=database_url, upstream_allow="127.0.0.0/8"),
        stage.gateway("proxy", database_url=database_url),
        stage.gateway("proxy", database_url=database_url),
    )
    servers = [await stage.model_server(name) for name in ("v1", "v2")]
    admin = stage.admin(control)
    await admin.register("fraud", v1=servers[0], v2=servers[1])
    await asyncio.gather(*(proxy.serves("fraud") for proxy in proxies))
    return Fleet(control, proxies, admin, servers)


class Watcher:
    """Asks one proxy over and over who answers, and notes when the answer changes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.version = ""
        self.changed = asyncio.Condition()

    async def watch(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while True:
                answer = await request(reader, writer, "fraud")
                if answer.version != self.version:
                    async with self.changed:
                        self.version = answer.version
                        self.changed.notify_all()
                await asyncio.sleep(0.001)
        finally:
            writer.close()

    async def sees(self, version: str) -> float:
        async with self.changed:
            await self.changed.wait_for(lambda: self.version == version)
        return time.perf_counter()


async def test_fifty_promotions_and_fifty_rollbacks_reach_both_proxies_in_a_blink(
    database_url: str, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    async with Stage() as stage:
        running = await fleet(stage, database_url)
        watchers = [Watcher(port) for port in running.ports]
        tasks = [asyncio.create_task(watcher.watch()) for watcher in watchers]
        async with asyncio.timeout(20):
            await asyncio.gather(*(watcher.sees("v1") for watcher in watchers))
        took_ms = []
        for _ in range(PAIRS):
            # Without a standby: the first answer of the other version must be the change's.
            alone = {"canary": "v2", "policy": {"watch_s": 0.0}, "reason": "measure"}
            rollout = await running.admin("POST", "/models/fraud/rollouts", **alone)
            for verb, version in (("promote", "v2"), ("rollback", "v1")):
                took_ms.append(await _order(running.admin, f"/rollouts/{rollout['id']}:{verb}", watchers, version))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    p50, p99 = statistics.median(took_ms), statistics.quantiles(took_ms, n=100)[98]
    record_property("propagation_ms", {"p50": p50, "p99": p99, "max": max(took_ms)})
    figures = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {max(took_ms):.1f} ms"
    with capsys.disabled():
        sys.stdout.write(f"\n{len(took_ms)} promotions and rollbacks, from the call to both proxies: {figures}\n")
    # The order of magnitude only: the poll alone would take 250 ms in the median.
    assert p50 < 200


async def _order(admin: Admin, path: str, watchers: list[Watcher], version: str) -> float:
    """Milliseconds from the call to the first answers of that version by both proxies."""
    started = time.perf_counter()
    async with asyncio.timeout(10):
        seen = [asyncio.create_task(watcher.sees(version)) for watcher in watchers]
        await admin("POST", path, reason="measure")
        return 1_000 * (max(await asyncio.gather(*seen)) - started)


async def test_no_request_fails_when_one_of_two_proxies_is_told_to_end(database_url: str) -> None:
    async with Stage() as stage:
        running = await fleet(stage, database_url)
        async with Load(running.ports, "fraud", rate=RATE, connections=32) as load:
            await asyncio.sleep(1.0)
            ended = await running.proxies[0].stop()
            await asyncio.sleep(1.0)
        answers = load.answers
        assert ended == 0
        assert (answers.failed, answers.broken) == (0, [])
        assert answers.per_s >= 500
        seen: Counter[tuple[str, str, str]] = Counter({("fraud", v, "ok"): n for v, n in answers.versions.items()})
        assert await until(lambda: tallied(database_url) == seen), (tallied(database_url), seen)


async def test_no_request_fails_during_twenty_promotions_and_rollbacks(database_url: str) -> None:
    async with Stage() as stage:
        running = await fleet(stage, database_url)
        async with Load(running.ports, "fraud", rate=RATE) as load:
            for _ in range(ROUNDS):
                rollout = await running.admin("POST", "/models/fraud/rollouts", canary="v2", reason="a round")
                await running.admin("POST", f"/rollouts/{rollout['id']}:promote", reason="up")
                await asyncio.sleep(0.3)
                await running.admin("POST", f"/rollouts/{rollout['id']}:rollback", reason="and back")
                await asyncio.sleep(0.3)
        answers = load.answers
        assert (answers.failed, answers.broken) == (0, [])
        assert answers.per_s >= 500
        assert answers.versions["v2"] > 100
        seen: Counter[tuple[str, str, str]] = Counter({("fraud", v, "ok"): n for v, n in answers.versions.items()})
        assert await until(lambda: tallied(database_url) == seen), (tallied(database_url), seen)
        assert await exported(running.proxies) == seen
        assert await exported_decisions(running.control) == decided(database_url)
        assert [await each.stop() for each in (*running.proxies, running.control)] == [0, 0, 0]
        assert tallied(database_url) == seen
