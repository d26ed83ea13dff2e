"""A sticky model is rolled out, and a mirror compared, through real processes."""

import asyncio
from pathlib import Path

import httpx
import psycopg
from system.processes import Gateway, Stage

MODEL = "fraud"
CALLERS = 400


async def ask(http: httpx.AsyncClient, caller: int) -> str:
    """Which version answers a caller."""
    answer = await http.post(
        f"/v2/models/{MODEL}/infer", json={"inputs": []}, headers={"cookie": f"theme=dark; sid=caller-{caller}"}
    )
    return answer.headers["x-turnback-version"]


async def serving(stage: Stage, database_url: str, folder: Path) -> Gateway:
    return await stage.gateway("all", database_url=database_url, upstream_allow="127.0.0.0/8", state_dir=str(folder))


def rows(database_url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(query.encode()).fetchall()


async def test_a_sticky_canary_that_fails_is_turned_back_by_its_callers(database_url: str, tmp_path: Path) -> None:
    async with Stage() as stage:
        gateway = await serving(stage, database_url, tmp_path)
        admin = stage.admin(gateway)
        await admin("POST", "/models", name=MODEL, sticky_cookie="sid", protocol="oip_v2")
        for version, error_rate in (("v1", 0.0), ("v2", 1.0)):
            server = await stage.model_server(version, error_rate=error_rate)
            await admin("PUT", f"/models/{MODEL}/versions/{version}", urls=[server.url], health_path="/ready")
        await gateway.serves(MODEL)
        policy = {"warmup_s": 0.0, "max_extra_bad": 10_000.0}
        rollout = await admin("POST", f"/models/{MODEL}/rollouts", canary="v2", policy=policy, reason="a test")
        assert rollout["counted_per"] == "caller"
        async with httpx.AsyncClient(base_url=gateway.url("inference"), trust_env=False) as http:
            ended = asyncio.create_task(admin.phase_after(rollout["id"], "rolled_back"))
            caller = 0
            while not ended.done():
                # Each caller is met once; between them one comes again and again.
                caller += 1
                await ask(http, caller)
                await ask(http, 0)
        decision = (await admin("GET", f"/decisions?model={MODEL}&limit=1"))["items"][0]
        assert (decision["action"], decision["trigger"]) == ("roll_back", "errors")
        replayed = await admin("GET", f"/decisions/{decision['id']}/replay?from_rows=true")
        assert (replayed["outcome"], replayed["from_rows"]["differences"]) == ("agrees", [])
        numbers = decision["evidence"]["numbers"]
        assert numbers["counted_per"] == "caller"
        assert 0 < numbers["canary_answers"] + numbers["stable_answers"] <= caller + 1
        units = rows(database_url, "SELECT count(*), count(DISTINCT unit) FROM units")[0]
        assert units[0] == units[1]
        assert isinstance(units[0], int)
        assert numbers["canary_answers"] + numbers["stable_answers"] <= units[0] <= caller + 1


async def test_a_caller_keeps_its_version_while_weights_rise(database_url: str, tmp_path: Path) -> None:
    async with Stage() as stage:
        gateway = await serving(stage, database_url, tmp_path)
        admin = stage.admin(gateway)
        await admin("POST", "/models", name=MODEL, sticky_cookie="sid")
        for version in ("v1", "v2"):
            server = await stage.model_server(version)
            await admin("PUT", f"/models/{MODEL}/versions/{version}", urls=[server.url])
        await gateway.serves(MODEL)
        seen: list[list[str]] = []
        async with httpx.AsyncClient(base_url=gateway.url("inference"), trust_env=False) as http:
            for weight_bp in (2_000, 6_000):
                weights = {"v1": 10_000 - weight_bp, "v2": weight_bp}
                made = await admin("PUT", f"/models/{MODEL}/route", weights_bp=weights, reason="a test")
                await applied(gateway, made["generation_after"])
                seen.append([await ask(http, caller) for caller in range(CALLERS)])
        first, second = seen
        assert {"v1", "v2"} == set(first)
        assert all(later == "v2" for before, later in zip(first, second, strict=True) if before == "v2")
        assert second.count("v2") > first.count("v2")


async def test_a_mirror_gets_copies_and_explain_can_say_how_it_compares(database_url: str, tmp_path: Path) -> None:
    async with Stage() as stage:
        gateway = await serving(stage, database_url, tmp_path)
        admin = stage.admin(gateway)
        servers = {name: await stage.model_server(name) for name in ("v1", "v2")}
        await admin.register(MODEL, **servers)
        await gateway.serves(MODEL)
        mirror = {"version": "v2", "share_bp": 10_000}
        made = await admin("PUT", f"/models/{MODEL}/route", mirror=mirror, reason="a test")
        await applied(gateway, made["generation_after"])
        async with httpx.AsyncClient(base_url=gateway.url("inference"), trust_env=False) as http:
            assert {await ask(http, caller) for caller in range(20)} == {"v1"}
        async with asyncio.timeout(20):
            while True:
                items = (await admin("GET", f"/models/{MODEL}/metrics?version=v2"))["items"]
                counters = items[0]["counters"] if items else {}
                if counters.get("mirror_pairs", 0) == 20:
                    break
                await asyncio.sleep(0.1)
        # Each server says its own name, so no pair can agree.
        assert counters["mirror_differed"] == 20
        assert items[0]["exchanges"] == 0
        explained = (await admin("GET", f"/models/{MODEL}/explanation"))["mirror"]
        assert explained["mirror"] == mirror
        assert explained["paired"]["sentence"] == (
            "Of 20 pairs 0 failed for v2 alone and 0 for v1 alone: nothing says that it fails more often."
        )


async def applied(gateway: Gateway, generation: int) -> None:
    """Wait until the gateway routes by that generation."""
    wanted = f'turnback_generation{{model="{MODEL}"}} {float(generation)}'
    async with asyncio.timeout(20), httpx.AsyncClient(trust_env=False) as http:
        while True:
            shown = await http.get(f"{gateway.url('ops')}/metrics")
            if wanted in shown.text:
                return
            await asyncio.sleep(0.05)
