"""A proxy that starts while Postgres is away serves from its disk, and one without a disk waits."""

import asyncio
from pathlib import Path

import httpx
from system.processes import Gateway, Stage
from system.recorded import tallied, until
from system.steady_load import Load

from app.store.pg.embedded import EmbeddedPostgres


async def test_a_start_without_postgres_serves_the_last_table_and_counts(
    own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    await _started_cold(own_postgres, own_postgres.url, str(tmp_path / "state"))


async def _started_cold(postgres: EmbeddedPostgres, url: str, state: str) -> None:
    async with Stage() as stage:
        control = await stage.gateway("control", database_url=url, upstream_allow="127.0.0.0/8")
        server = await stage.model_server("v1")
        await stage.admin(control).register("fraud", v1=server, v2=server)
        await stage.admin(control)("PUT", "/models/fraud/route", weights_bp={"v1": 9_000, "v2": 1_000}, reason="both")
        before = await stage.gateway("proxy", database_url=url, state_dir=state)
        await before.serves("fraud")
        assert await before.stop() == 0
        await asyncio.to_thread(postgres.stop_immediately)
        waiting = await stage.gateway("proxy", database_url=url, state_dir=f"{state}-empty", wait_for="server.started")
        proxy = await stage.gateway("proxy", database_url=url, state_dir=state, canary_max_stale_s="6")
        assert await _checks(proxy) == (200, "degraded", {"database"})
        async with Load([proxy.inference_port], "fraud", rate=200, connections=4) as load:
            await asyncio.sleep(1.5)
            assert load.answers.versions["v2"] > 0
            await proxy.event("replica.canaries_withheld")
            canary = load.answers.versions["v2"]
            await asyncio.sleep(1.0)
            # One that was drawn before may still have been on its way.
            assert load.answers.versions["v2"] <= canary + 4
        assert await _checks(proxy) == (200, "degraded", {"canaries", "database"})
        assert (load.answers.failed, load.answers.broken) == (0, [])
        assert (await _checks(waiting))[:2] == (503, "not_ready")
        await asyncio.to_thread(postgres.start)
        await asyncio.gather(proxy.event("database.returned"), waiting.event("server.ready"))
        seen = {("fraud", version, "ok"): count for version, count in load.answers.versions.items()}
        assert await until(lambda: tallied(url) == seen), (tallied(url), seen)
        # Each loop says for itself that Postgres answers again; the slowest asks once a second.
        async with asyncio.timeout(10):
            while (await _checks(proxy))[1] != "ready":  # noqa: ASYNC110 -- another process says it
                await asyncio.sleep(0.1)


async def _checks(gateway: Gateway) -> tuple[int, str, set[str]]:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{gateway.url('ops')}/readyz")
    document = answer.json()
    return answer.status_code, document["status"], set(document["degraded"])
