"""Explanations, replay, simulate and power through the admin API: what they take, refuse and say."""

from collections.abc import AsyncIterator

import pytest
from admin.admin_client import REASON, AdminClient, admin_client

from app.store.pg.database import Database

ERRORS = {"stable_rate": 0.01, "canary_rate": 0.02}


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as opened:
        yield opened


async def test_an_order_is_replayed_as_what_it_is(admin: AdminClient) -> None:
    await admin.model()
    rollout = await admin.rollout()
    decision = await admin.ok("POST", f"/v1/rollouts/{rollout['id']}:pause", REASON)
    replayed = await admin.ok("GET", f"/v1/decisions/{decision['id']}/replay", from_rows="true")
    assert (replayed["outcome"], replayed["sentence"]) == ("order", "Nothing to recompute: an order.")
    assert (replayed["recomputed"], replayed["differences"], replayed["from_rows"]) == (None, [], None)
    assert replayed["decided_with"] == replayed["replayed_with"]


@pytest.mark.parametrize("decision", ["00000000-0000-7000-8000-000000000000", "d-41"])
async def test_no_decision_is_replayed_that_is_not_there(admin: AdminClient, decision: str) -> None:
    problem = await admin.problem(404, "GET", f"/v1/decisions/{decision}/replay")
    assert problem["code"] == "UnknownDecision"


async def test_a_model_without_rollouts_has_nothing_to_simulate(admin: AdminClient) -> None:
    await admin.model()
    simulation = await admin.ok("POST", "/v1/policies:simulate", {"model": "fraud", "policy": {}})
    assert (simulation["model"], simulation["items"]) == ("fraud", [])


async def test_a_rollout_that_was_just_started_is_told_twice(admin: AdminClient) -> None:
    await admin.model()
    rollout = await admin.rollout(warmup_s=60.0)
    (retold,) = (await admin.ok("POST", "/v1/policies:simulate", {"model": "fraud", "policy": {"warmup_s": 0.0}}))[
        "items"
    ]
    assert retold["rollout"]["id"] == rollout["id"]
    assert (retold["was"]["phase"], retold["would_be"]["ending"]["phase"]) == ("warming", "ramping")
    assert [step["action"] for step in retold["would_be"]["steps"]] == ["advance"]
    assert any("there is no data" in sentence for sentence in retold["unknown"])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"model": "fraud", "policy": {"alpha_rollback": 2.0}}, "/policy/alpha_rollback"),
        ({"model": "fraud", "policy": {}, "history_s": 0.0}, "/history_s"),
        ({"model": "fraud", "policy": {}, "limit": 51}, "/limit"),
        ({"model": "fraud"}, "/policy"),
        ({"model": "fraud", "policy": {}, "extra": 1}, "/extra"),
    ],
)
async def test_a_simulation_names_what_it_cannot_take(admin: AdminClient, body: object, pointer: str) -> None:
    await admin.model()
    problem = await admin.problem(422, "POST", "/v1/policies:simulate", json=body)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_a_simulation_of_an_unknown_model_is_not_found(admin: AdminClient) -> None:
    problem = await admin.problem(404, "POST", "/v1/policies:simulate", json={"model": "nobody", "policy": {}})
    assert problem["code"] == "UnknownModel"


async def test_power_says_answers_labels_and_time(admin: AdminClient) -> None:
    asked = {**ERRORS, "exchanges_per_s": 10.0, "judged_share": 0.5, "within_s": 3_600.0}
    power = await admin.ok("POST", "/v1/policies:power", asked)
    assert power["turn_back"]["judged"] == pytest.approx(6_944, abs=1)
    assert power["turn_back"]["exchanges"] == pytest.approx(2 * power["turn_back"]["judged"])
    assert power["turn_back"]["seconds"] == pytest.approx(power["turn_back"]["exchanges"] / 10)
    assert power["prove"]["extra_bad"] == 0.0
    assert power["margin"] == 0.01
    assert 0.0 < power["smallest_effect"] < 0.02


async def test_power_of_a_shared_alarm_takes_longer(admin: AdminClient) -> None:
    alone = await admin.ok("POST", "/v1/policies:power", ERRORS)
    shared = await admin.ok("POST", "/v1/policies:power", {**ERRORS, "share": 0.3})
    assert shared["turn_back"]["exchanges"] > alone["turn_back"]["exchanges"]
    assert shared["prove"] == alone["prove"]


async def test_power_of_latency_proves_what_is_faster_and_turns_back_what_is_slower(admin: AdminClient) -> None:
    latency = {"metric": "latency", "stable_rate": 0.05}
    slower = await admin.ok("POST", "/v1/policies:power", {**latency, "canary_rate": 0.1})
    faster = await admin.ok("POST", "/v1/policies:power", {**latency, "canary_rate": 0.02})
    assert (slower["prove"], faster["turn_back"]) == (None, None)
    assert slower["turn_back"]["exchanges"] > 0
    assert faster["prove"]["exchanges"] > 0


async def test_power_of_a_score_needs_its_deviation(admin: AdminClient) -> None:
    asked = {"metric": "score", "difference": 0.02, "deviation": 0.12, "margin": 0.01}
    power = await admin.ok("POST", "/v1/policies:power", asked)
    assert power["turn_back"]["limit"] == pytest.approx(1_326, abs=1)
    assert power["prove"]["exchanges"] > power["turn_back"]["exchanges"]


async def test_traffic_that_was_not_measured_is_not_made_up(admin: AdminClient) -> None:
    await admin.model()
    power = await admin.ok("POST", "/v1/policies:power", {**ERRORS, "model": "fraud", "within_s": 60.0})
    assert (power["exchanges_per_s"], power["turn_back"]["seconds"], power["smallest_effect"]) == (None, None, None)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/stable_rate"),
        ({**ERRORS, "deviation": 0.1}, "/deviation"),
        ({**ERRORS, "difference": 0.1}, "/difference"),
        ({**ERRORS, "model": "fraud", "exchanges_per_s": 1.0}, "/model"),
        ({**ERRORS, "weight_bp": 10_000}, "/weight_bp"),
        ({"stable_rate": 0.99, "margin": 0.5}, "/margin"),
        ({"metric": "latency", "stable_rate": 0.05, "margin": 0.1}, "/margin"),
        ({"metric": "score", "difference": 0.1}, "/deviation"),
        ({"metric": "score", "deviation": 0.1, "stable_rate": 0.1}, "/stable_rate"),
        ({"metric": "score", "deviation": 0.1, "canary_rate": 0.1}, "/canary_rate"),
        ({"metric": "speed", "stable_rate": 0.1}, "/metric"),
    ],
)
async def test_power_names_what_it_cannot_take(admin: AdminClient, body: object, pointer: str) -> None:
    problem = await admin.problem(422, "POST", "/v1/policies:power", json=body)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_power_of_extreme_rates_is_an_answer_all_the_same(admin: AdminClient) -> None:
    for stable, canary in ((0.0, 1.0), (0.0, 0.0), (1.0, 1.0), (0.5, 1e-9)):
        answer = await admin.http.post("/v1/policies:power", json={"stable_rate": stable, "canary_rate": canary})
        assert answer.status_code in {200, 422}, answer.text


async def test_a_model_is_explained_by_its_rollout_its_mirror_and_its_last_decision(admin: AdminClient) -> None:
    await admin.model("fraud", "v1", "v2", "v3")
    nothing = await admin.ok("GET", "/v1/models/fraud/explanation")
    assert (nothing["rollout"], nothing["explanation"], nothing["mirror"]) == (None, None, None)
    assert nothing["decision"]["action"] == "register"
    await admin.ok("PUT", "/v1/models/fraud/route", {"mirror": {"version": "v3", "share_bp": 100}, **REASON})
    rollout = await admin.rollout()
    explained = await admin.ok("GET", "/v1/models/fraud/explanation")
    assert explained["rollout"]["id"] == rollout["id"]
    assert explained["mirror"]["mirror"] == {"version": "v3", "share_bp": 100}
    assert explained["mirror"]["paired"]["pairs"] == 0
    assert explained["decision"]["action"] == "start"
    said = explained["explanation"]
    assert said["sentence"] == "v2 has given no answers yet."
    assert (said["evidence"]["suspicious_at"], said["evidence"]["turned_back_at"]) == (10.0, 100.0)
    assert "not the probability that v2 is bad" in said["evidence"]["p_means"]
    assert [moment["action"] for moment in said["history"]] == ["start"]
    assert [each["version"] for each in said["not_counted"]] == ["v1", "v2"]
    alone = await admin.ok("GET", f"/v1/rollouts/{rollout['id']}/explanation")
    assert {**alone, "behind_s": 0} == {**said, "behind_s": 0}


async def test_nothing_is_explained_that_is_not_there(admin: AdminClient) -> None:
    for path, code in (("models/nobody", "UnknownModel"), ("rollouts/r-1", "UnknownRollout")):
        assert (await admin.problem(404, "GET", f"/v1/{path}/explanation"))["code"] == code
