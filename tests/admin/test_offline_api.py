"""A rollout whose canary falls short offline does not begin, and nothing of it is left behind."""

from collections.abc import AsyncIterator, Mapping

import pytest
from admin.admin_client import REASON, AdminClient, admin_client

from app.store.pg.database import Database


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as client:
        yield client


async def registered(admin: AdminClient, **offline: Mapping[str, float]) -> None:
    await admin.ok("POST", "/v1/models", {"name": "fraud"})
    for port, (version, said) in enumerate(offline.items(), 9_001):
        body = {"urls": [f"http://127.0.0.1:{port}"], "credentials": {"offline": said}}
        await admin.ok("PUT", f"/v1/models/fraud/versions/{version}", body)


async def test_a_canary_that_falls_short_offline_is_refused_and_nothing_begins(admin: AdminClient) -> None:
    await registered(admin, v1={"f1": 0.9}, v2={"f1": 0.85}, v3={})
    for canary, why in (("v2", "worse by 0.05"), ("v3", "registered without the offline metric f1")):
        body = {"canary": canary, "policy": {"offline": [{"metric": "f1", "margin": 0.01}]}, **REASON}
        problem = await admin.problem(422, "POST", "/v1/models/fraud/rollouts", json=body)
        assert (problem["code"], [error["pointer"] for error in problem["errors"]]) == ("RolloutRefused", ["/canary"])
        assert why in problem["detail"]
    assert (await admin.ok("GET", "/v1/models/fraud/rollouts"))["items"] == []
    assert (await admin.ok("GET", "/v1/models/fraud/route"))["generation"] == 1


async def test_a_canary_within_the_margin_begins_and_its_policy_says_the_limit(admin: AdminClient) -> None:
    await registered(admin, v1={"loss": 0.30}, v2={"loss": 0.32})
    limit = {"metric": "loss", "margin": 0.05, "lower_is_better": True}
    rollout = await admin.rollout("v2", offline=[limit])
    assert rollout["policy"]["offline"] == [limit]
    again = await admin.ok("GET", f"/v1/rollouts/{rollout['id']}")
    assert again["policy"]["offline"] == [limit]
