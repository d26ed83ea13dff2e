"""One process with its own Postgres: bad versions leave by themselves, good ones arrive, people overrule."""

import asyncio
from typing import Any

from system.processes import Admin, Stage
from system.recorded import exported
from system.steady_load import Load

# Small numbers, so that proof takes seconds; the rules are the same.
QUICK = {
    "guardrails": [{"metric": "errors", "floor": 0.4}],
    "warmup_s": 0.5,
    # No freeze on the way: at the weight before the last one, proof could take a minute.
    "freeze_at": 99.0,
    "max_extra_bad": 50.0,
    "alpha_promotion": 0.3,
}
RATE = 150.0


async def test_a_bad_canary_is_turned_back_a_good_one_promoted_and_a_person_overrules() -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("all", tick_interval_s="0.5")
        admin = stage.admin(gateway)
        good = [await stage.model_server(f"good{number}") for number in range(2)]
        bad = await stage.model_server("bad", error_rate=1.0)
        await admin.register("breaks", v1=good[0], v2=bad)
        await admin.register("works", v1=good[0], v2=good[1])
        await admin.register("ordered", v1=good[0], v2=good[1])
        await gateway.serves("breaks", "works", "ordered")
        loads = [
            Load([gateway.inference_port], model, rate=RATE, connections=4) for model in ("breaks", "works", "ordered")
        ]
        async with loads[0], loads[1], loads[2]:
            await asyncio.sleep(1)
            broken, worked, ordered = await asyncio.gather(_turned_back(admin), _promoted(admin), _ordered_back(admin))
        assert broken["phase"] == "rolled_back"
        assert loads[0].answers.by_version["v2", 500] <= 60
        assert loads[0].answers.failed == loads[0].answers.by_version["v2", 500]
        assert worked["phase"] == "promoted"
        assert (await admin("GET", "/models/works"))["stable"] == "v2"
        assert loads[1].answers.failed == 0
        assert ordered["phase"] == "rolled_back"
        assert loads[2].answers.failed == 0
        decisions = (await admin("GET", "/decisions?model=breaks"))["items"]
        assert (decisions[0]["action"], decisions[0]["actor"], decisions[0]["trigger"]) == (
            "roll_back",
            "engine",
            "errors",
        )
        assert decisions[0]["sentence"]
        for model in ("breaks", "works", "ordered"):
            assert await _replayed(admin, model) == {"agrees"}
        counted = await exported([gateway])
        assert counted["breaks", "v2", "upstream_error"] == loads[0].answers.by_version["v2", 500]
        assert await gateway.stop() == 0


async def _replayed(admin: Admin, model: str) -> set[str]:
    """How each decision of the engine comes out again, from its row and from what the gateway really counted."""
    decisions = (await admin("GET", f"/decisions?model={model}&limit=200"))["items"]
    by_engine = [decision["id"] for decision in decisions if decision["actor"] == "engine"]
    assert by_engine
    replayed = [await admin("GET", f"/decisions/{decision}/replay?from_rows=true") for decision in by_engine]
    assert [each["from_rows"]["differences"] for each in replayed] == [[]] * len(by_engine)
    return {each["outcome"] for each in replayed}


async def _turned_back(admin: Admin) -> Any:  # noqa: ANN401 -- a document
    rollout = await admin("POST", "/models/breaks/rollouts", canary="v2", policy=QUICK, reason="a bad one")
    return await admin.phase_after(rollout["id"], "rolled_back", "promoted")


async def _promoted(admin: Admin) -> Any:  # noqa: ANN401 -- a document
    rollout = await admin("POST", "/models/works/rollouts", canary="v2", policy=QUICK, reason="a good one")
    return await admin.phase_after(rollout["id"], "rolled_back", "promoted")


async def _ordered_back(admin: Admin) -> Any:  # noqa: ANN401 -- a document
    rollout = await admin("POST", "/models/ordered/rollouts", canary="v2", policy=QUICK, reason="a doubtful one")
    await admin.phase_after(rollout["id"], "ramping", "baking")
    decision = await admin("POST", f"/rollouts/{rollout['id']}:rollback", reason="a person says so")
    assert decision["weights_after_bp"] == {"v1": 10_000}
    return await admin("GET", f"/rollouts/{rollout['id']}")
