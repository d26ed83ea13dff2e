"""A real process whose rights are taken away or whose rows make no sense says so, serves stable, and ends in time."""

import asyncio
import signal
from typing import Any

import httpx

from bench.loop_world import FRAUD, SPLIT, Gateway, World, world

LOST = "pull: refused: permission denied for table routes"
STALE_S = "2"
PATIENCE_S = 30.0


async def test_readiness_names_the_reason_and_the_age_and_the_canary_gets_nothing() -> None:
    async with world() as scene, scene.gateway(canary_max_stale_s=STALE_S) as gateway:
        await scene.route(SPLIT)
        await _until(gateway, lambda ready, share: ready["status"] == "ready" and share == 0.1)
        await scene.sql("REVOKE SELECT ON routes FROM turnback_owner")
        await scene.route(SPLIT)
        ready = await _until(gateway, lambda ready, share: "canaries" in ready["degraded"] and share is None)
        assert ready["status"] == "degraded"
        assert ready["checks"]["database"]["detail"].startswith(LOST)
        assert ready["checks"]["canaries"]["detail"] == "withheld"
        assert (await gateway.inference.get(f"/m/{FRAUD}/x")).headers["x-turnback-version"] == "v1"
        await _mended(scene, gateway)
        await scene.sql("UPDATE models SET protocol = 'of tomorrow' WHERE name = 'other'")
        await scene.route(SPLIT)
        ready = await _until(gateway, lambda ready, _: "models" in ready["degraded"])
        assert ready["checks"]["models"]["detail"].startswith("other unreadable for ")
        assert ready["checks"]["models"]["detail"].endswith("ValueError: 'of tomorrow' is not a valid Protocol")
        assert (await gateway.ops.get("/readyz")).status_code == httpx.codes.OK
        assert gateway.events().count("database.lost") == 1
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended(PATIENCE_S) is not None
        assert gateway.process.returncode == 0


async def _mended(scene: World, gateway: Gateway) -> None:
    await scene.sql("GRANT SELECT ON routes TO turnback_owner")
    await _until(gateway, lambda ready, share: ready["status"] == "ready" and share == 0.1)


async def _until(gateway: Gateway, holds: Any) -> dict[str, Any]:  # noqa: ANN401 -- of readiness and the canary's weight
    async with asyncio.timeout(PATIENCE_S):
        while True:
            ready: dict[str, Any] = await gateway.ready()
            share = (await gateway.metrics()).get(f'turnback_traffic_weight_ratio{{model="{FRAUD}",version="v2"}}')
            if holds(ready, share):
                return ready
            await asyncio.sleep(0.05)
