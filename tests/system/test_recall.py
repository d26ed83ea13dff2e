"""A recall beside what the client saw: as many answers of the version as it was given, and none that stable saved."""

import asyncio
from collections import Counter
from typing import Any

import httpx
from system.processes import Admin, Gateway, Stage

POLICY = {"warmup_s": 0.2, "max_extra_bad": 10_000.0, "freeze_at": 99.0, "guardrails": [{"metric": "errors"}]}


class Client:
    """Asks one at a time and remembers who answered."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.by_version: Counter[str] = Counter()

    async def ask(self, count: int) -> None:
        address = f"http://127.0.0.1:{self.gateway.inference_port}/v2/models/fraud/infer"
        async with httpx.AsyncClient(trust_env=False) as http:
            for _ in range(count):
                answer = await http.post(address, json={"inputs": []})
                assert answer.status_code == 200
                self.by_version[answer.headers["x-turnback-version"]] += 1

    async def ask_until(self, version: str, count: int) -> None:
        async with asyncio.timeout(60):
            while self.by_version[version] < count:
                await self.ask(20)


async def counted(admin: Admin, recall_id: str, answered: int) -> Any:  # noqa: ANN401 -- a document
    """The recall once the tallies of so many answers have come, and two seconds later."""
    for _ in range(150):
        if (await admin("GET", f"/recalls/{recall_id}"))["answered"] >= answered:
            break
        await asyncio.sleep(0.1)
    # What should not be counted would have come by then.
    await asyncio.sleep(2.0)
    return await admin("GET", f"/recalls/{recall_id}")


async def test_a_recall_counts_what_the_client_got_of_the_version_and_not_what_stable_saved() -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("all", tick_interval_s="0.2")
        admin = stage.admin(gateway)
        stable, canary = await stage.model_server("stable"), await stage.model_server("canary")
        await admin.register("fraud", v1=stable, v2=canary)
        await gateway.serves("fraud")
        client = Client(gateway)
        await client.ask(50)
        rollout = await admin("POST", "/models/fraud/rollouts", canary="v2", policy=POLICY, reason="a new build")
        await client.ask_until("v2", 30)
        # From here on nobody answers for v2: what is drawn for it is saved by stable.
        await canary.end()
        saved_from = client.by_version["v2"]
        await client.ask(100)
        decision = await admin("POST", f"/rollouts/{rollout['id']}:rollback", reason="it is gone")
        await client.ask(50)
        (event,) = (await admin("GET", "/recalls?model=fraud"))["items"]
        assert (event["version"], event["decision_id"]) == ("v2", decision["id"])
        assert client.by_version["v2"] == saved_from
        found = await counted(admin, event["id"], client.by_version["v2"])
        assert found["answered"] == client.by_version["v2"]
        assert found["failed"] > 0
        told = await gateway.event("recall.opened")
        assert (told["recall"], told["version"]) == (event["id"], "v2")


async def test_a_promoted_version_leaves_its_standby_a_little_and_the_watch_reads_both() -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("all", tick_interval_s="0.2")
        admin = stage.admin(gateway)
        servers = [await stage.model_server(name) for name in ("one", "two")]
        await admin.register("fraud", v1=servers[0], v2=servers[1])
        await gateway.serves("fraud")
        client = Client(gateway)
        policy = {**POLICY, "standby_bp": 500, "watch_s": 600.0}
        rollout = await admin("POST", "/models/fraud/rollouts", canary="v2", policy=policy, reason="a new build")
        await admin("POST", f"/rollouts/{rollout['id']}:promote", reason="now")
        await asyncio.sleep(1.0)
        before = client.by_version.copy()
        async with asyncio.timeout(60):
            while True:
                await client.ask(50)
                seen = (await admin("GET", "/models/fraud/watch"))["suspicions"]["answers"]
                if seen["standby"]["answers"] >= 5:
                    break
        assert before == Counter()
        assert seen["stable"]["answers"] <= client.by_version["v2"]
        assert seen["standby"]["answers"] <= client.by_version["v1"]
        share = client.by_version["v1"] / sum(client.by_version.values())
        assert 0.0 < share < 0.3
