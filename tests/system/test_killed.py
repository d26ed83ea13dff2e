"""kill -9 of a proxy under load, Postgres up or down: what was answered is counted, once.

TURNBACK_TEST_KILLS says how often; three times without it.
"""

import asyncio
import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from system.processes import Gateway, Stage
from system.recorded import until
from system.steady_load import Answers, Load

from app.store.pg.embedded import EmbeddedPostgres

KILLS = int(os.environ.get("TURNBACK_TEST_KILLS", "3"))
RATE = 300.0
CONNECTIONS = 6


@dataclass
class Life:
    """What one proxy answered before it was killed."""

    boot: str
    answers: Answers
    postgres_up: bool

    def __str__(self) -> str:
        seen = self.answers
        return f"postgres {'up' if self.postgres_up else 'down'}: answered {seen.total}"


@dataclass(frozen=True)
class Counted:
    """What Postgres says of one boot."""

    exchanges: int
    ended: int
    ok: int
    latencies: int


@pytest.mark.timeout(120 + 15 * KILLS)
async def test_every_answered_exchange_is_counted_exactly_once(
    own_postgres: EmbeddedPostgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lives = await _lives(own_postgres, tmp_path / "state")
    counted = await asyncio.to_thread(_by_boot, own_postgres.url)
    with capsys.disabled():
        for life in lives:
            print(f"\n{life}, counted {counted[life.boot].ended}", end="")  # noqa: T201 -- the figures are the point
    assert sum(life.answers.total for life in lives) > 100 * KILLS
    for life in lives:
        found = counted[life.boot]
        assert life.answers.statuses.keys() == {200}
        # Per connection, one answer may have been recorded and never have arrived; nothing is counted twice.
        assert life.answers.total <= found.ok <= life.answers.total + CONNECTIONS, life
        assert found.exchanges == found.ended == found.latencies == found.ok


async def _lives(postgres: EmbeddedPostgres, state: Path) -> list[Life]:
    """Kill one proxy after the other, then let the last one recover what is left."""
    url = postgres.url
    async with Stage() as stage:
        control = await stage.gateway("control", database_url=url, upstream_allow="127.0.0.0/8")
        server = await stage.model_server("v1")
        await stage.admin(control).register("fraud", v1=server, v2=server)
        await stage.admin(control)("PUT", "/models/fraud/route", weights_bp={"v1": 5_000, "v2": 5_000}, reason="both")
        lives = []
        for number in range(KILLS):
            proxy = await stage.gateway("proxy", database_url=url, state_dir=str(state))
            await proxy.serves("fraud")
            lives.append(await _killed_under_load(proxy, postgres, stays_up=number % 2 == 0))
        last = await stage.gateway("proxy", database_url=url, state_dir=str(state))
        own = state / "journal" / last.addresses["boot"]
        assert await until(lambda: list((state / "journal").iterdir()) == [own], within_s=60.0)
        assert [event for event in last.events if event.get("bad_records")] == []
        async with httpx.AsyncClient(trust_env=False) as http:
            metrics = (await http.get(f"{last.url('ops')}/metrics")).text
        assert "turnback_lost_rows_total 0.0" in metrics
        assert "turnback_journal_up 1.0" in metrics
        assert await last.stop() == 0
    assert not own.exists()
    return lives


async def _killed_under_load(proxy: Gateway, postgres: EmbeddedPostgres, *, stays_up: bool) -> Life:
    async with Load([proxy.inference_port], "fraud", rate=RATE, connections=CONNECTIONS) as load:
        await asyncio.sleep(0.8)
        if not stays_up:
            await asyncio.to_thread(postgres.stop_immediately)
        await asyncio.sleep(random.uniform(0.4, 1.6))
        proxy.signal(signal.SIGKILL)
        await proxy.process.wait()
    if not stays_up:
        await asyncio.to_thread(postgres.start)
    return Life(proxy.addresses["boot"], load.answers, stays_up)


def _by_boot(url: str) -> dict[str, Counted]:
    query = """
        SELECT replace(boot::text, '-', ''), sum(exchanges),
            sum(ok + client_error + upstream_error + connect_error + timeout + cancelled + overloaded), sum(ok),
            sum((SELECT coalesce(sum(count), 0) FROM unnest(latency_counts) AS count))
        FROM tallies GROUP BY boot
    """
    with psycopg.connect(url) as connection:
        rows = connection.execute(query.encode()).fetchall()
    return {boot: Counted(*map(int, sums)) for boot, *sums in rows}
