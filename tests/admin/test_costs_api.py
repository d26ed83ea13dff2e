"""What the admin API says of money: per answer, per day, for a version kept warm, and for a rollback."""

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from admin.admin_client import REASON, AdminClient, admin_client
from admin.stored_answers import store_observed, store_tallies

from app.domain.evidence.observed import Measure, Observed
from app.domain.evidence.tally import Outcome, Tally
from app.store.pg.database import Database

DAY_S = 86_400


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as client:
        yield client


async def registered(admin: AdminClient, **prices: Mapping[str, float] | None) -> None:
    await admin.ok("POST", "/v1/models", {"name": "fraud"})
    for port, (version, price) in enumerate(prices.items(), 9_001):
        body = {"urls": [f"http://127.0.0.1:{port}"], "credentials": {"prices": price}}
        await admin.ok("PUT", f"/v1/models/fraud/versions/{version}", body)


async def answered(database: Database, version: str, answers: int, cost: float, *, ago_s: int = 1_000) -> None:
    """So many answers in one second, each at this cost, of half a second and 100 completion tokens."""
    second = int(time.time()) - ago_s
    measures = {
        "cost": Measure(answers, answers * cost, answers * cost * cost),
        "seconds": Measure(answers, answers * 0.5, answers * 0.25),
        "completion_tokens": Measure(answers, answers * 100.0, answers * 1e4),
    }
    await store_tallies(database, [(second, 2, version, Tally(answers, {Outcome.OK: answers}))])
    await store_observed(database, [(second, version, Observed(answers, 0, answers, 0, {}, measures))])


async def cost(admin: AdminClient, **query: object) -> Any:  # noqa: ANN401 -- a document
    return await admin.ok("GET", "/v1/models/fraud/cost", **query)


async def test_a_versions_cost_is_per_answer_and_per_day_at_the_traffic_since_its_first_exchange(
    admin: AdminClient, database: Database
) -> None:
    await registered(admin, v1={"per_1k_completion_tokens": 0.02, "per_hour": 1.5})
    await answered(database, "v1", 300, 0.002)
    await answered(database, "v1", 700, 0.002, ago_s=500)
    shown = await cost(admin)
    (v1,) = shown["versions"]
    assert (v1["exchanges"], v1["measured"], v1["cost_per_answer"]) == (1_000, 1_000, pytest.approx(0.002))
    # The first exchange was 1,000 s ago, give or take the seconds that the test takes.
    assert v1["answers_per_s"] == pytest.approx(1.0, rel=0.05)
    assert v1["cost_per_day"] == pytest.approx(0.002 * v1["answers_per_s"] * DAY_S + 36.0)
    assert (v1["seconds_per_answer"], v1["completion_tokens_per_answer"]) == (0.5, 100.0)
    assert (v1["megabytes_per_answer"], v1["prompt_tokens_per_answer"]) == (None, None)
    assert (shown["kept_warm"], shown["rollback"]) == ([], None)


async def test_what_lies_before_the_window_is_not_counted(admin: AdminClient, database: Database) -> None:
    await registered(admin, v1={})
    await answered(database, "v1", 10, 1.0)
    await answered(database, "v1", 10, 3.0, ago_s=100)
    assert (await cost(admin, window_s=500))["versions"][0]["cost_per_answer"] == pytest.approx(3.0)


async def test_a_version_without_prices_costs_nothing_that_could_be_shown(
    admin: AdminClient, database: Database
) -> None:
    await registered(admin, v1=None)
    await store_tallies(database, [(int(time.time()) - 10, 2, "v1", Tally(5, {Outcome.OK: 5}))])
    (v1,) = (await cost(admin))["versions"]
    assert [v1[name] for name in ("cost_per_answer", "cost_per_day", "per_hour", "measured")] == [None, None, None, 0]


@pytest.mark.parametrize(("canarys", "says"), [(0.003, "saves"), (0.001, "costs")])
async def test_a_rollback_says_what_it_would_do_to_the_bill_before_it_is_done(
    admin: AdminClient, database: Database, canarys: float, says: str
) -> None:
    await registered(admin, v1={"per_answer": 0.002}, v2={"per_answer": canarys, "per_hour": 2.0})
    rollout = await admin.rollout("v2", standby_bp=500)
    assert (await cost(admin))["kept_warm"] == [{"version": "v2", "role": "canary", "per_day": 48.0}]
    await answered(database, "v1", 900, 0.002)
    await answered(database, "v2", 100, canarys)
    await admin.ok("POST", f"/v1/rollouts/{rollout['id']}:promote", REASON)
    back = (await cost(admin))["rollback"]
    assert (back["away"], back["back"], back["saved_when_stopped"]) == ("v2", "v1", 48.0)
    # A tenth of the window's answers were the canary's, and 95 % would move now: 1,000 answers in 1,000 s.
    assert back["answers_per_s"] == pytest.approx(0.95, rel=0.05)
    assert back["per_day"] == pytest.approx((0.002 - canarys) * back["answers_per_s"] * DAY_S)
    assert f"turning v2 back to v1 {says}" in back["sentence"]
    assert "48 a day are saved once v2 is shut down" in back["sentence"]


async def test_a_rollback_of_a_canary_without_a_weight_moves_nothing(admin: AdminClient, database: Database) -> None:
    await registered(admin, v1={"per_answer": 0.002}, v2={"per_answer": 0.003})
    await admin.rollout("v2")
    await answered(database, "v1", 900, 0.002)
    await answered(database, "v2", 100, 0.003)
    assert (await cost(admin))["rollback"]["sentence"] == "turning v2 back to v1 moves no traffic now"


async def test_a_standby_is_kept_warm_and_a_promotion_can_be_turned_back(admin: AdminClient) -> None:
    await registered(admin, v1={"per_hour": 3.0}, v2={})
    rollout = await admin.rollout("v2", warmup_s=0.0)
    await admin.ok("POST", f"/v1/rollouts/{rollout['id']}:promote", REASON)
    shown = await cost(admin)
    assert shown["kept_warm"] == [{"version": "v1", "role": "standby", "per_day": 72.0}]
    assert (shown["rollback"]["away"], shown["rollback"]["per_day"]) == ("v2", None)
    assert "moves no traffic now" in shown["rollback"]["sentence"]
    await admin.ok("POST", f"/v1/rollouts/{rollout['id']}:rollback", REASON)
    after = await cost(admin)
    assert (after["kept_warm"], after["rollback"]) == ([], None)


@pytest.mark.parametrize("window_s", ["0", "604801", "-1", "x", "1.5", "NaN"])
async def test_a_window_that_cannot_be_is_refused(admin: AdminClient, window_s: str) -> None:
    await admin.model()
    problem = await admin.problem(422, "GET", "/v1/models/fraud/cost", params={"window_s": window_s})
    assert [error["pointer"] for error in problem["errors"]] == ["/query/window_s"]
