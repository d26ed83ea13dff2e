"""What people and CI do through the admin API."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from admin.admin_client import REASON, AdminClient, admin_client

from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.tally import Outcome, Tally, TallyKey, TallyRow
from app.store.evidence import tallies
from app.store.pg.database import Database


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as opened:
        yield opened


async def test_the_first_version_of_a_model_gets_all_traffic(admin: AdminClient) -> None:
    await admin.model("fraud", "v1", "v2")
    model = await admin.ok("GET", "/v1/models/fraud")
    assert model["stable"] == "v1"
    assert model["route"]["weights_bp"] == {"v1": 10_000}
    assert [version["version"] for version in model["versions"]] == ["v1", "v2"]
    assert model["rollout"] is None


async def test_registering_the_same_again_changes_nothing(admin: AdminClient) -> None:
    await admin.model("fraud", "v1")
    body = {"urls": ["http://127.0.0.1:9001/"]}
    again = await admin.http.put("/v1/models/fraud/versions/v1", json=body)
    assert again.status_code == 200
    problem = await admin.problem(409, "PUT", "/v1/models/fraud/versions/v1", json={"urls": ["http://127.0.0.1:7"]})
    assert problem["code"] == "NameTaken"


async def test_a_model_and_a_version_show_all_that_was_registered(admin: AdminClient) -> None:
    model = {
        "name": "fraud",
        "match": {"host": "fraud.test", "path_prefix": None},
        "sticky_header": None,
        "sticky_cookie": "sid",
        "protocol": "oip_v2",
        "observation": {"prediction": "/outputs/0/data/0", "score": "", "sample_bp": 500},
        "takes_invocations": True,
    }
    version = {
        "urls": ["https://127.0.0.1:9001/base", "http://127.0.0.1:9002"],
        "health_path": "/ready",
        "bulkhead": {"concurrency": 8, "queue": 0},
        "path": "/v2/models/fraud/versions/7",
        "served_model": "org/Fraud 7",
        "server_name": "models.test",
    }
    await admin.ok("POST", "/v1/models", model)
    shown = await admin.ok("PUT", "/v1/models/fraud/versions/v1", version)
    assert {name: shown[name] for name in version} == version
    again = await admin.http.put("/v1/models/fraud/versions/v1", json=version)
    assert (again.status_code, again.json()) == (200, shown)
    read = await admin.ok("GET", "/v1/models/fraud")
    assert {name: read[name] for name in model} == model
    assert read["versions"] == [shown]


async def test_what_is_not_said_of_a_version_is_the_default(admin: AdminClient) -> None:
    await admin.model("fraud", "v1")
    shown = await admin.ok("GET", "/v1/models/fraud/versions/v1")
    assert shown["urls"] == ["http://127.0.0.1:9001"]
    assert shown["bulkhead"] == {"concurrency": 1_024, "queue": 1_024}
    assert [shown[name] for name in ("path", "served_model", "server_name", "health_path")] == [None] * 4


async def test_one_model_at_most_takes_invocations(admin: AdminClient) -> None:
    await admin.ok("POST", "/v1/models", {"name": "fraud", "takes_invocations": True})
    problem = await admin.problem(409, "POST", "/v1/models", json={"name": "spam", "takes_invocations": True})
    assert problem["code"] == "NameTaken"


async def test_a_mirror_stays_until_it_is_ended_and_weights_stay_meanwhile(admin: AdminClient) -> None:
    await admin.model("fraud", "v1", "v2", "v3")
    weights = {"v1": 9_000, "v3": 1_000}
    await admin.ok("PUT", "/v1/models/fraud/route", {"weights_bp": weights, **REASON})
    mirror = {"version": "v2", "share_bp": 250}
    decision = await admin.ok("PUT", "/v1/models/fraud/route", {"mirror": mirror, **REASON})
    assert (decision["action"], decision["weights_after_bp"]) == ("set_mirror", weights)
    assert decision["sentence"] == "Changed the route of fraud by order: copies of 2.5 % of the requests go to v2."
    await admin.ok("PUT", "/v1/models/fraud/route", {"weights_bp": {"v1": 10_000}, **REASON})
    route = await admin.ok("GET", "/v1/models/fraud/route")
    assert (route["target"], route["mirror"]) == ({"v1": 10_000}, mirror)
    assert (await admin.ok("GET", "/v1/models/fraud"))["route"]["mirror"] == mirror
    ended = await admin.ok("PUT", "/v1/models/fraud/route", {"mirror": None, **REASON})
    assert (ended["action"], ended["generation_after"]) == ("end_mirror", route["generation"] + 1)
    assert (await admin.ok("GET", "/v1/models/fraud/route"))["mirror"] is None


async def test_models_are_listed_with_their_routes_and_running_rollouts(admin: AdminClient) -> None:
    await admin.ok("POST", "/v1/models", {"name": "empty", "match": {"host": "empty.test"}})
    await admin.model("fraud", "v1", "v2")
    rollout = await admin.rollout()
    empty, fraud = (await admin.ok("GET", "/v1/models"))["items"]
    assert (empty["name"], empty["stable"], empty["route"]) == ("empty", None, None)
    assert empty["match"] == {"host": "empty.test", "path_prefix": None}
    assert fraud["rollout"]["id"] == rollout["id"]


async def test_weights_set_by_hand_are_the_target_beside_what_was_observed(
    admin: AdminClient, database: Database
) -> None:
    await admin.model("fraud", "v1", "v2")
    decision = await admin.ok("PUT", "/v1/models/fraud/route", {"weights_bp": {"v1": 7_500, "v2": 2_500}, **REASON})
    assert decision["weights_after_bp"] == {"v1": 7_500, "v2": 2_500}
    second = int(datetime.now(UTC).timestamp()) - 1
    await write_tallies(database, (second, "v1", 30), (second, "v2", 10), (second - 3_000, "v2", 999))
    route = await admin.ok("GET", "/v1/models/fraud/route")
    assert route["target"] == {"v1": 7_500, "v2": 2_500}
    assert route["generation"] == decision["generation_after"]
    assert route["observed"]["v1"] == {"exchanges": 30, "share_bp": 7_500}
    assert route["observed"]["v2"] == {"exchanges": 10, "share_bp": 2_500}


async def test_a_rollout_is_started_paused_resumed_and_rolled_back(admin: AdminClient) -> None:
    await admin.model("fraud", "v1", "v2")
    rollout = await admin.rollout(warmup_s=0.0, max_weight_bp=500)
    assert rollout["policy"]["max_weight_bp"] == 500
    assert rollout["assessment"]["verdict"]
    path = f"/v1/rollouts/{rollout['id']}"
    for action, phase in (("pause", "paused"), ("resume", rollout["phase"]), ("rollback", "rolled_back")):
        decision = await admin.ok("POST", f"{path}:{action}", REASON)
        assert decision["reason"] == "a test"
        assert decision["actor"] == "operator"
        assert (await admin.ok("GET", path))["phase"] == phase
    assert (await admin.ok("GET", "/v1/models/fraud/route"))["target"]["v1"] == 10_000


async def test_an_operator_promotes(admin: AdminClient) -> None:
    await admin.model("fraud", "v1", "v2")
    rollout = await admin.rollout()
    await admin.ok("POST", f"/v1/rollouts/{rollout['id']}:promote", REASON)
    model = await admin.ok("GET", "/v1/models/fraud")
    assert model["stable"] == "v2"
    assert model["rollout"]["phase"] == "promoted"


async def test_a_dead_version_is_not_promoted(admin: AdminClient) -> None:
    await admin.model("fraud", "v1", "v2")
    rollout = await admin.rollout()
    admin.probe.unready["v2"] = "connection refused"
    problem = await admin.problem(409, "POST", f"/v1/rollouts/{rollout['id']}:promote", json=REASON)
    assert problem["code"] == "TargetUnhealthy"
    assert (await admin.ok("GET", "/v1/models/fraud"))["stable"] == "v1"


async def test_a_person_may_turn_back_to_a_version_that_does_not_answer_by_insisting(admin: AdminClient) -> None:
    await admin.model("fraud", "v1", "v2")
    order = f"/v1/rollouts/{(await admin.rollout())['id']}"
    await admin.ok("POST", f"{order}:promote", REASON)
    admin.probe.unready["v1"] = "connection refused"
    problem = await admin.problem(409, "POST", f"{order}:rollback", json=REASON)
    assert problem["code"] == "TargetUnhealthy"
    await admin.ok("POST", f"{order}:rollback", REASON | {"force": True})
    assert (await admin.ok("GET", "/v1/models/fraud"))["stable"] == "v1"


async def test_who_asks_is_in_the_audit_and_cannot_be_the_engine(admin: AdminClient) -> None:
    headers = {"x-turnback-actor": "jane@example.org"}
    answer = await admin.http.post("/v1/models", json={"name": "fraud"}, headers=headers)
    assert answer.status_code == 201
    assert (await admin.ok("GET", "/v1/audit"))["items"][0]["actor"] == "jane@example.org"
    for claimed in ("engine", "replica", "two words", "-x"):
        await admin.problem(422, "POST", "/v1/models", json={"name": "other"}, headers={"x-turnback-actor": claimed})


async def test_decisions_are_paged_newest_first_without_gaps(admin: AdminClient) -> None:
    await admin.model("fraud", "v1", "v2")
    for number in range(5):
        weights = {"v1": 10_000 - number - 1, "v2": number + 1}
        await admin.ok("PUT", "/v1/models/fraud/route", {"weights_bp": weights, **REASON})
    whole = (await admin.ok("GET", "/v1/decisions", model="fraud"))["items"]
    assert [decision["generation_after"] for decision in whole] == sorted(
        (decision["generation_after"] for decision in whole), reverse=True
    )
    paged: list[Any] = []
    page = await admin.ok("GET", "/v1/decisions", limit=2)
    paged += page["items"]
    while page["next_cursor"] is not None:
        page = await admin.ok("GET", "/v1/decisions", limit=2, cursor=page["next_cursor"])
        paged += page["items"]
    assert paged == whole
    assert await admin.ok("GET", f"/v1/decisions/{whole[0]['id']}") == whole[0]


async def test_who_was_live_when_is_known_with_the_reason(admin: AdminClient) -> None:
    await admin.model("fraud", "v1", "v2")
    before = await admin.ok("GET", "/v1/models/fraud/live")
    await admin.ok("PUT", "/v1/models/fraud/route", {"weights_bp": {"v1": 1, "v2": 9_999}, **REASON})
    now = await admin.ok("GET", "/v1/models/fraud/live")
    assert now["weights_bp"] == {"v1": 1, "v2": 9_999}
    assert now["decision"]["reason"] == "a test"
    then = await admin.ok("GET", "/v1/models/fraud/live", at=before["at"])
    assert then["weights_bp"] == {"v1": 10_000}
    await admin.problem(422, "GET", "/v1/models/fraud/live", params={"at": "2001-01-01T00:00:00Z"})


async def test_metrics_are_cut_into_steps_by_version(admin: AdminClient, database: Database) -> None:
    await admin.model("fraud", "v1", "v2")
    start = datetime.now(UTC).replace(microsecond=0, second=0) - timedelta(minutes=2)
    at = int(start.timestamp())
    await write_tallies(database, (at, "v1", 4), (at + 11, "v1", 5), (at + 11, "v2", 6))
    span = {"from": start.isoformat(), "to": (start + timedelta(seconds=20)).isoformat()}
    whole = await admin.ok("GET", "/v1/models/fraud/metrics", **span)
    assert {slot["version"]: slot["exchanges"] for slot in whole["items"]} == {"v1": 9, "v2": 6}
    steps = await admin.ok("GET", "/v1/models/fraud/metrics", **span, step=10, version="v1")
    assert [(slot["exchanges"], slot["outcomes"]) for slot in steps["items"]] == [(4, {"ok": 4}), (5, {"ok": 5})]
    assert steps["items"][0]["latency_ms_p50"] == pytest.approx(1.0, rel=0.03)


async def write_tallies(database: Database, *rows: tuple[int, str, int]) -> None:
    """Second, version, how many answers of one millisecond."""
    async with database.transaction() as tx:
        await tallies.upsert(
            tx,
            "0" * 32,
            [
                TallyRow(
                    TallyKey(second, ModelName("fraud"), 1, VersionName(version)),
                    Tally(count, {Outcome.OK: count}, 0, {348: count}),
                    1,
                )
                for second, version, count in rows
            ],
        )


async def test_what_cannot_be_read_of_one_model_is_named_and_keeps_no_other_from_the_list(
    admin: AdminClient, database: Database
) -> None:
    for name in ("broken", "fraud", "lost"):
        await admin.model(name, "v1", "v2")
    await admin.ok("POST", "/v1/models/lost/rollouts", {"canary": "v2", **REASON})
    async with database.transaction() as tx:
        await tx.exec_driver_sql("UPDATE models SET protocol = 'of tomorrow' WHERE name = 'broken'")
        await tx.exec_driver_sql("UPDATE rollouts SET state = '{}' WHERE model = 'lost'")
    listed = await admin.ok("GET", "/v1/models")
    assert [(model["name"], model["stable"]) for model in listed["items"]] == [("fraud", "v1"), ("lost", "v1")]
    assert set(listed["unreadable"]) == {"broken", "lost"}
    assert listed["unreadable"]["broken"] == "ValueError: 'of tomorrow' is not a valid Protocol"
