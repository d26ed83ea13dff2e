"""What the admin API says of quality: by labels that came in time, by slice and class, beside offline figures."""

from collections.abc import AsyncIterator
from itertools import chain
from typing import Any

import pytest
from admin.admin_client import REASON, AdminClient, admin_client
from admin.stored_answers import Answer, right_and_wrong, store_answers

from app.store.pg.database import Database

ACCURACY = {"name": "accuracy", "kind": "accuracy", "horizon_s": 60.0}


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as client:
        yield client


async def registered(admin: AdminClient, *metrics: dict[str, object], **offline: dict[str, float]) -> None:
    """Fraud with v1 and v2, half of the traffic each since generation 2."""
    declared = {"feedback": {"metrics": list(metrics or (ACCURACY,))}, "slices": [{"name": "carrier", "header": "x-c"}]}
    await admin.ok("POST", "/v1/models", {"name": "fraud", "observation": {}, **declared})
    for port, version in ((9001, "v1"), (9002, "v2")):
        body = {"urls": [f"http://127.0.0.1:{port}"], "credentials": {"offline": offline.get(version, {})}}
        await admin.ok("PUT", f"/v1/models/fraud/versions/{version}", body)
    decision = await admin.ok("PUT", "/v1/models/fraud/route", {"weights_bp": {"v1": 5_000, "v2": 5_000}, **REASON})
    assert decision["generation_after"] == 2


async def quality(admin: AdminClient, **query: object) -> dict[str, Any]:
    """Version to its figures by the first metric."""
    shown = await admin.ok("GET", "/v1/models/fraud/quality", **query)
    return {each["version"]: each for each in shown["metrics"][0]["versions"]}


async def test_a_version_is_as_accurate_as_its_matured_labels_say(admin: AdminClient, database: Database) -> None:
    await registered(admin)
    unlabelled = [Answer(version="v1", ago_s=600) for _ in range(50)]
    await store_answers(database, [*right_and_wrong("v1", 135, 15), *unlabelled, *right_and_wrong("v2", 5, 5)])
    shown = await quality(admin)
    matured = shown["v1"]["matured"]
    assert (matured["drawn"], matured["labelled"], matured["coverage"]) == (200, 150, 0.75)
    assert (matured["overall"]["scored"], matured["overall"]["value"]) == (150, pytest.approx(0.9))
    assert 0.75 < matured["overall"]["low"] < 0.86
    assert 0.93 < matured["overall"]["high"] < 0.98
    assert matured["confusion"] == [
        {"label": "0", "predicted": "1", "predictions": 15},
        {"label": "1", "predicted": "1", "predictions": 135},
    ]
    assert shown["v2"]["matured"]["overall"]["value"] == pytest.approx(0.5)
    assert shown["v1"]["told"] == {
        "labelled": 150,
        "by_several": 0,
        "disagreed": 0,
        "late": 0,
        "lag_s_p50": 10.0,
        "lag_s_p95": 10.0,
        "disputes": [],
    }


async def test_labels_that_still_come_and_labels_that_came_too_late_are_kept_apart(
    admin: AdminClient, database: Database
) -> None:
    await registered(admin)
    young = right_and_wrong("v1", 4, 0, ago_s=30)
    late = [Answer(version="v1", ago_s=600, labels={"desk": (0, 300.0)}) for _ in range(7)]
    await store_answers(database, [*right_and_wrong("v1", 10, 0), *young, *late])
    shown = (await quality(admin))["v1"]
    assert (shown["matured"]["drawn"], shown["matured"]["labelled"]) == (17, 10)
    assert shown["matured"]["overall"]["value"] == 1.0
    assert shown["ripening"] == {"drawn": 4, "labelled": 4, "value": 1.0}
    assert (shown["told"]["labelled"], shown["told"]["late"]) == (21, 7)


async def test_sources_that_disagree_are_counted_and_the_first_one_counts(
    admin: AdminClient, database: Database
) -> None:
    await registered(admin)
    both = {"desk": (1, 5.0), "robot": (0, 20.0)}
    same: list[dict[str, tuple[Any, float]]] = [{"desk": (1, 5.0), "robot": (alike, 20.0)} for alike in (1, 1.0, True)]
    answers = [Answer(version="v1", ago_s=600, labels=labels) for labels in (both, both, *same)]
    await store_answers(database, [*answers, *right_and_wrong("v1", 1, 0)])
    shown = (await quality(admin))["v1"]
    assert (shown["told"]["by_several"], shown["told"]["disagreed"]) == (5, 2)
    assert shown["told"]["disputes"] == [{"source": "desk", "other": "robot", "answers": 5, "disagreed": 2}]
    assert shown["matured"]["overall"] == pytest.approx({**shown["matured"]["overall"], "scored": 6, "value": 1.0})


async def test_a_slice_has_its_own_value_and_rare_values_are_other(admin: AdminClient, database: Database) -> None:
    await registered(admin)
    counts = {**{f"C{number}": (20, 0) for number in range(16)}, **{f"R{number}": (1, 0) for number in range(5)}}
    cut = [
        right_and_wrong("v1", *count, slices={"carrier": name})
        for name, count in {**counts, "C0": (100, 0), "UA": (25, 125)}.items()
    ]
    await store_answers(database, list(chain.from_iterable(cut)))
    carriers = (await quality(admin))["v1"]["matured"]["slices"]["carrier"]
    assert (carriers["UA"]["scored"], carriers["UA"]["value"]) == (150, pytest.approx(1 / 6))
    assert carriers["UA"]["high"] < carriers["C0"]["low"]
    assert (len(carriers), carriers["other"]["scored"]) == (17, 25)


async def test_a_probability_has_a_reliability_table(admin: AdminClient, database: Database) -> None:
    await registered(admin, {"name": "brier", "kind": "brier", "horizon_s": 60.0})
    said = [(0.85, 1)] * 60 + [(0.85, 0)] * 40 + [(0.15, 0)] * 100
    answers = [
        Answer(version="v1", ago_s=600, metric="brier", prediction=int(score > 0.5), score=max(score, 1 - score),
               labels={"desk": (label, 1.0)})
        for score, label in said
    ]  # fmt: skip
    await store_answers(database, answers)
    matured = (await quality(admin))["v1"]["matured"]
    assert [(each["n"], each["share_positive"]) for each in matured["reliability"]] == [(100, 0.0), (100, 0.6)]
    assert matured["calibration_error"] == pytest.approx((0.15 + 0.25) / 2)
    brier = (60 * 0.15**2 + 40 * 0.85**2 + 100 * 0.15**2) / 200
    assert matured["overall"]["value"] == pytest.approx(brier)
    assert matured["overall"]["low"] < brier < matured["overall"]["high"]


async def test_more_than_fifty_classes_have_no_matrix(admin: AdminClient, database: Database) -> None:
    await registered(admin)
    answers = [
        Answer(version="v1", ago_s=600, prediction=f"c{number}", labels={"desk": (f"c{number}", 1.0)})
        for number in range(51)
    ]
    await store_answers(database, answers)
    matured = (await quality(admin))["v1"]["matured"]
    assert (matured["confusion"], matured["overall"]["value"]) == ([], 1.0)


async def test_online_far_below_offline_is_flagged_only_when_it_is_sure(admin: AdminClient, database: Database) -> None:
    await registered(admin, v1={"accuracy": 0.99}, v2={"accuracy": 0.99})
    await store_answers(database, [*right_and_wrong("v1", 160, 40), *right_and_wrong("v2", 4, 1)])
    shown = await quality(admin)
    assert [(shown[name]["offline"], shown[name]["possible_leakage_or_skew"]) for name in ("v1", "v2")] == [
        (0.99, True),
        (0.99, False),
    ]


async def test_one_declared_metric_can_be_asked_for_and_no_other(admin: AdminClient) -> None:
    await registered(admin, ACCURACY, {"name": "clicks", "kind": "event"})
    shown = await admin.ok("GET", "/v1/models/fraud/quality", metric="clicks")
    assert [(each["metric"]["name"], each["versions"]) for each in shown["metrics"]] == [("clicks", [])]
    problem = await admin.problem(422, "GET", "/v1/models/fraud/quality", params={"metric": "nope"})
    assert [error["pointer"] for error in problem["errors"]] == ["/query/metric"]


async def test_a_model_without_feedback_has_no_metrics_and_an_unknown_one_is_not_found(admin: AdminClient) -> None:
    await admin.model()
    assert (await admin.ok("GET", "/v1/models/fraud/quality"))["metrics"] == []
    for path in ("quality", "cost", "compare?versions=v1,v2"):
        assert (await admin.problem(404, "GET", f"/v1/models/nobody/{path}"))["code"] == "UnknownModel"
