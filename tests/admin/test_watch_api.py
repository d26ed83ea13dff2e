"""What the admin API says of a promoted version and its standby."""

from collections.abc import AsyncIterator

import pytest
from admin.admin_client import REASON, AdminClient, admin_client

from app.store.pg.database import Database


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as client:
        await client.model()
        yield client


async def test_a_promotion_shows_its_standby_until_another_rollout_ends_it(admin: AdminClient) -> None:
    assert (await admin.ok("GET", "/v1/models/fraud"))["standby"] is None
    rollout = await admin.rollout(watch_s=600.0, standby_bp=200)
    assert (rollout["policy"]["watch_s"], rollout["policy"]["standby_bp"]) == (600.0, 200)
    await admin.ok("POST", f"/v1/rollouts/{rollout['id']}:promote", REASON)
    model, watch = await admin.ok("GET", "/v1/models/fraud"), await admin.ok("GET", "/v1/models/fraud/watch")
    assert (model["standby"]["version"], model["standby"]["weight_bp"]) == ("v1", 200)
    assert model["route"]["weights_bp"] == {"v2": 9_800, "v1": 200}
    assert (watch["rollout_id"], watch["stable"], watch["standby"]) == (rollout["id"], "v2", "v1")
    assert (watch["log_m"], watch["ended_by"], watch["found"], watch["acts"]) == (None, None, [], True)
    assert watch["suspicions"] == {"answers": {"stable": {"answers": 0, "bad": 0}, "standby": {"answers": 0, "bad": 0}}}
    assert watch["false_alarm_buckets"] * watch["bucket_s"] == pytest.approx(10 * 365.25 * 86_400, rel=1e-6)
    await admin.ok("PUT", "/v1/models/fraud/versions/v3", {"urls": ["http://127.0.0.1:9003"]})
    await admin.rollout("v3")
    assert (await admin.ok("GET", "/v1/models/fraud"))["standby"] is None
    assert (await admin.ok("GET", "/v1/models/fraud/watch"))["ended_by"] == "rollout"


async def test_a_model_without_a_standby_has_no_watch_and_an_unknown_one_is_not_found(admin: AdminClient) -> None:
    assert (await admin.problem(404, "GET", "/v1/models/fraud/watch"))["code"] == "UnknownWatch"
    assert (await admin.problem(404, "GET", "/v1/models/nobody/watch"))["code"] == "UnknownModel"


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"standby_bp": 0}, "/policy/standby_bp"),
        ({"standby_bp": 501}, "/policy/standby_bp"),
        ({"watch_s": -1.0}, "/policy/watch_s"),
        ({"watch_s": "day"}, "/policy/watch_s"),
    ],
)
async def test_a_standby_beyond_its_range_is_refused(admin: AdminClient, policy: dict[str, object], field: str) -> None:
    body = {"canary": "v2", "policy": policy, **REASON}
    problem = await admin.problem(422, "POST", "/v1/models/fraud/rollouts", json=body)
    assert [error["pointer"] for error in problem["errors"]] == [field]
