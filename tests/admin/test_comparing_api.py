"""Two versions on one page: what differs, how sure that is, and when they cannot be compared."""

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from admin.admin_client import REASON, AdminClient, admin_client
from admin.stored_answers import right_and_wrong, store_answers, store_observed, store_tallies

from app.domain.evidence.observed import Flaw, Measure, Observed
from app.domain.evidence.tally import Outcome, Tally
from app.domain.stats.latency_histogram import latency_bin
from app.store.pg.database import Database

METRICS = (
    {"name": "accuracy", "kind": "accuracy", "horizon_s": 60.0},
    {"name": "recall", "kind": "recall", "horizon_s": 60.0},
)


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as client:
        yield client


async def registered(admin: AdminClient, weights_bp: Mapping[str, int], **offline: Mapping[str, float]) -> None:
    """Fraud with v1, v2 and v3 at these weights since generation 2."""
    await admin.ok("POST", "/v1/models", {"name": "fraud", "observation": {}, "feedback": {"metrics": METRICS}})
    for port, version in enumerate(("v1", "v2", "v3"), 9_001):
        body = {"urls": [f"http://127.0.0.1:{port}"], "credentials": {"offline": offline.get(version, {})}}
        await admin.ok("PUT", f"/v1/models/fraud/versions/{version}", body)
    await admin.ok("PUT", "/v1/models/fraud/route", {"weights_bp": weights_bp, **REASON})


async def compared(admin: AdminClient, versions: str = "v1,v2") -> Any:  # noqa: ANN401 -- a document
    return await admin.ok("GET", "/v1/models/fraud/compare", versions=versions)


async def test_versions_that_a_coin_chose_between_differ_by_an_interval(admin: AdminClient, database: Database) -> None:
    await registered(admin, {"v1": 4_000, "v2": 4_000, "v3": 2_000})
    await store_answers(database, [*right_and_wrong("v1", 540, 60), *right_and_wrong("v2", 420, 180)])
    shown = await compared(admin)
    accuracy, recall = shown["quality"]
    assert shown["concurrent"] is True
    assert (accuracy["first"]["value"], accuracy["second"]["value"]) == (pytest.approx(0.9), pytest.approx(0.7))
    assert accuracy["difference"] == pytest.approx(-0.2, abs=0.01)
    assert -0.4 < accuracy["low"] < -0.2 < accuracy["high"] < 0.0
    assert (accuracy["why_no_interval"], accuracy["lower_is_better"]) == (None, False)
    assert recall["first"]["value"] is None
    other_way = (await compared(admin, "v2,v1"))["quality"][0]
    assert (other_way["low"], other_way["high"]) == pytest.approx((-accuracy["high"], -accuracy["low"]))


async def test_versions_that_were_never_drawn_together_are_not_concurrent(
    admin: AdminClient, database: Database
) -> None:
    await registered(admin, {"v1": 10_000})
    answers = [*right_and_wrong("v1", 90, 10), *right_and_wrong("v2", 70, 30, generation=3)]
    await store_answers(database, answers)
    shown = await compared(admin)
    accuracy = shown["quality"][0]
    assert (shown["concurrent"], accuracy["difference"], accuracy["low"]) == (False, None, None)
    assert accuracy["why_no_interval"].startswith("not concurrent")
    assert (accuracy["first"]["value"], accuracy["second"]["value"]) == (pytest.approx(0.9), pytest.approx(0.7))


async def test_labels_that_come_for_one_version_more_often_compare_nothing(
    admin: AdminClient, database: Database
) -> None:
    await registered(admin, {"v1": 5_000, "v2": 5_000})
    await store_answers(database, [*right_and_wrong("v1", 500, 50), *right_and_wrong("v2", 50, 5)])
    accuracy = (await compared(admin))["quality"][0]
    assert accuracy["low"] is None
    assert accuracy["why_no_interval"].startswith("not comparable")


async def test_latency_errors_flaws_cost_and_offline_stand_side_by_side(admin: AdminClient, database: Database) -> None:
    await registered(admin, {"v1": 5_000, "v2": 5_000}, v1={"f1": 0.9, "only": 1.0}, v2={"f1": 0.85})
    second = int(time.time()) - 100
    quick = Tally(90, {Outcome.OK: 90}, latency_bins={latency_bin(10_000): 90})
    slow = Tally(
        100, {Outcome.OK: 96, Outcome.UPSTREAM_ERROR: 3, Outcome.TIMEOUT: 1}, latency_bins={latency_bin(80_000): 100}
    )
    await store_tallies(database, [(second, 2, "v1", quick), (second, 2, "v2", slow)])
    flawed = Observed(100, 4, 96, 12, {Flaw.EMPTY: 12}, {"cost": Measure(96, 9.6, 0.96)})
    await store_observed(database, [(second, "v2", flawed), (second - 1, "v2", flawed)])
    shown = await compared(admin)
    first, other = shown["first"], shown["second"]
    assert (first["version"], first["exchanges"], first["error_rate"]) == ("v1", 90, 0.0)
    assert (other["errors"], other["timeouts"], other["judged"], other["error_rate"]) == (3, 1, 100, 0.04)
    assert first["latency_ms_p95"] == pytest.approx(10.0, rel=0.03)
    assert other["latency_ms_p95"] == pytest.approx(80.0, rel=0.03)
    assert (other["read"], other["flawed"], other["flaws"]) == (192, 24, {"empty": 24})
    assert (other["cost"]["cost_per_answer"], first["cost"]["cost_per_answer"]) == (pytest.approx(0.1), None)
    assert (first["offline"], shown["offline_difference"]) == (
        {"f1": 0.9, "only": 1.0},
        {"f1": pytest.approx(-0.05)},
    )


@pytest.mark.parametrize("versions", ["", "v1", "v1,", "v1,v1", "v1,v2,v3", ",", "v1;v2"])
async def test_a_comparison_needs_two_different_versions(admin: AdminClient, versions: str) -> None:
    await admin.model()
    answer = await admin.http.get("/v1/models/fraud/compare", params={"versions": versions})
    assert answer.status_code in {404, 422}, answer.text
    assert answer.json()["code"] in {"InvalidInput", "UnknownVersion"}


async def test_a_version_that_is_not_there_cannot_be_compared(admin: AdminClient) -> None:
    await admin.model()
    problem = await admin.problem(404, "GET", "/v1/models/fraud/compare", params={"versions": "v1,v9"})
    assert problem["code"] == "UnknownVersion"
    await admin.problem(422, "GET", "/v1/models/fraud/compare")
