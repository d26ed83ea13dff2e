"""Postgres dies as in a crash while traffic flows: clients notice nothing, and nothing is lost."""

import asyncio
from collections import Counter

import httpx
from system.processes import Stage
from system.recorded import Counts, exported, tallied, until
from system.steady_load import Load

from app.store.pg.embedded import EmbeddedPostgres

AWAY_S = 2.5


async def test_a_crash_of_postgres_costs_no_answer_and_no_tally(own_postgres: EmbeddedPostgres) -> None:
    await _outage(own_postgres, own_postgres.url)


async def _outage(postgres: EmbeddedPostgres, url: str) -> None:
    async with Stage() as stage, httpx.AsyncClient(trust_env=False, timeout=10) as http:
        proxy, control = await asyncio.gather(
            stage.gateway("proxy", database_url=url),
            stage.gateway("control", database_url=url, upstream_allow="127.0.0.0/8"),
        )
        server = await stage.model_server("v1")
        await stage.admin(control).register("fraud", v1=server, v2=server)
        await stage.admin(control)("PUT", "/models/fraud/route", weights_bp={"v1": 5_000, "v2": 5_000}, reason="both")
        await proxy.serves("fraud")
        async with Load([proxy.inference_port], "fraud", rate=200, connections=8) as load:
            await asyncio.sleep(1.5)
            await asyncio.to_thread(postgres.stop_immediately)
            await asyncio.gather(control.event("controller.database_lost"), proxy.event("database.lost"))
            await _without_database(http, f"{control.url('admin')}/v1", proxy.url("ops"), control.url("ops"))
            await asyncio.sleep(AWAY_S)
            await asyncio.to_thread(postgres.start)
            await proxy.event("database.returned")
            await asyncio.sleep(1)
        assert (load.answers.failed, load.answers.broken) == (0, [])
        seen: Counts = Counter({("fraud", version, "ok"): count for version, count in load.answers.versions.items()})
        assert await until(lambda: tallied(url) == seen), (tallied(url), seen)
        assert await exported([proxy]) == seen
        await control.event("controller.database_back")
        model = (await http.get(f"{control.url('admin')}/v1/models/fraud")).json()
        assert model["stable"] == "v1"
        assert (await http.get(f"{proxy.url('ops')}/readyz")).json()["degraded"] == []


async def _without_database(http: httpx.AsyncClient, admin: str, proxy_ops: str, control_ops: str) -> None:
    """What the two processes say while Postgres is away."""
    body = {"weights_bp": {"v1": 10_000}, "reason": "while it is away"}
    for answer in (await http.put(f"{admin}/models/fraud/route", json=body), await http.get(f"{admin}/models")):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "DatabaseUnavailable"
    ready = await http.get(f"{proxy_ops}/readyz")
    assert (ready.status_code, ready.json()["status"], ready.json()["degraded"]) == (200, "degraded", ["database"])
    assert (await http.get(f"{control_ops}/readyz")).status_code == 503
    assert (await http.get(f"{control_ops}/livez")).status_code == 200
    assert "turnback_db_up 0.0" in (await http.get(f"{proxy_ops}/metrics")).text
