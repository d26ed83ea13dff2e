"""What the admin API says of slices: both versions in each, the most suspicious first, and which stand out."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from admin.admin_client import REASON, AdminClient, admin_client

from app.domain.evidence.model_evidence import ObservedEpoch
from app.domain.evidence.observed import Observed, SliceCounts
from app.domain.rollout.rollout import RolloutId
from app.store.pg.database import Database
from app.store.rollouts import rollouts


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as client:
        yield client


async def begun(admin: AdminClient) -> Any:  # noqa: ANN401 -- a document
    slices = [{"name": "carrier", "header": "x-carrier", "values_max": 4}]
    await admin.ok("POST", "/v1/models", {"name": "fraud", "slices": slices})
    for port, version in ((9_001, "v1"), (9_002, "v2")):
        await admin.ok("PUT", f"/v1/models/fraud/versions/{version}", {"urls": [f"http://127.0.0.1:{port}"]})
    return await admin.ok("POST", "/v1/models/fraud/rollouts", {"canary": "v2", **REASON})


def arm(**flawed: int) -> Observed:
    """Two hundred answers of each carrier, so many of them flawed."""
    counts = {name: SliceCounts(200, 0, 200, bad) for name, bad in flawed.items()}
    return Observed(slices={"carrier": counts})


async def see(database: Database, rollout_id: str, canary: Observed, stable: Observed) -> None:
    async with database.transaction() as tx:
        seen = await rollouts.rollout(tx, RolloutId(rollout_id))
        of_model = replace(seen.rollout.evidence.of_model, observed={5_000: ObservedEpoch(canary, stable)})
        evidence = replace(seen.rollout.evidence, of_model=of_model)
        changed = replace(seen.rollout, evidence=evidence)
        await rollouts.save(tx, changed, seen=seen.generation, generation=seen.generation)


async def test_every_slice_is_shown_with_both_rates_and_the_bad_one_stands_out(
    admin: AdminClient, database: Database
) -> None:
    rollout = await begun(admin)
    await see(database, rollout["id"], arm(UA=60, DL=2), arm(UA=2, DL=2))
    shown = await admin.ok("GET", f"/v1/rollouts/{rollout['id']}/slices")
    assert (shown["canary"], shown["stable"], shown["hypotheses"]) == ("v2", "v1", 10)
    worst = shown["items"][0]
    assert (worst["key"], worst["value"], worst["metric"], worst["stands_out"]) == ("carrier", "UA", "validity", True)
    assert (worst["canary_n"], worst["canary_rate"], worst["stable_rate"]) == (200, 0.3, 0.01)
    others = [(each["value"], each["metric"], each["stands_out"]) for each in shown["items"][1:]]
    assert sorted(others) == [("DL", "errors", False), ("DL", "validity", False), ("UA", "errors", False)]


async def test_before_anything_was_seen_there_is_nothing_to_show(admin: AdminClient) -> None:
    rollout = await begun(admin)
    assert (await admin.ok("GET", f"/v1/rollouts/{rollout['id']}/slices"))["items"] == []
    await admin.problem(404, "GET", "/v1/rollouts/nothing/slices")
