"""Declarations of labels, slices, features, prices and references that cannot be are refused by the field's name."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from admin.admin_client import REASON, AdminClient, admin_client, problem_of

from app.store.pg.database import Database

METRIC: dict[str, object] = {"name": "accuracy", "kind": "accuracy"}
JSON = {"content-type": "application/json"}


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as opened:
        yield opened


def pointers(problem: Any) -> list[str]:  # noqa: ANN401 -- a document
    return [error["pointer"] for error in problem["errors"]]


DECLARED_BADLY: list[tuple[dict[str, object], str]] = [
    ({"feedback": {}}, "/feedback/metrics"),
    ({"feedback": {"metrics": []}}, "/feedback/metrics"),
    ({"feedback": []}, "/feedback"),
    ({"feedback": {"metrics": [METRIC], "rows": "some"}}, "/feedback/rows"),
    ({"feedback": {"metrics": [METRIC], "client_key_header": "X Key"}}, "/feedback/client_key_header"),
    ({"feedback": {"metrics": [METRIC] * 9}}, "/feedback/metrics"),
    ({"feedback": {"metrics": [METRIC, METRIC]}}, "/feedback/metrics/1/name"),
    ({"feedback": {"metrics": [METRIC | {"name": "a b"}]}}, "/feedback/metrics/0/name"),
    ({"feedback": {"metrics": [METRIC | {"kind": "vibes"}]}}, "/feedback/metrics/0/kind"),
    ({"feedback": {"metrics": [METRIC | {"missing": "good"}]}}, "/feedback/metrics/0/missing"),
    ({"feedback": {"metrics": [METRIC | {"horizon_s": 0}]}}, "/feedback/metrics/0/horizon_s"),
    ({"feedback": {"metrics": [METRIC | {"horizon_s": 90 * 86_400 + 1}]}}, "/feedback/metrics/0/horizon_s"),
    ({"feedback": {"metrics": [METRIC | {"horizon_s": "1h"}]}}, "/feedback/metrics/0/horizon_s"),
    ({"feedback": {"metrics": [METRIC | {"low": 1.0, "high": 1.0}]}}, "/feedback/metrics/0/high"),
    ({"feedback": {"metrics": [METRIC | {"high": 1e300}]}}, "/feedback/metrics/0/high"),
    ({"feedback": {"metrics": [METRIC | {"threshold": True}]}}, "/feedback/metrics/0/threshold"),
    ({"feedback": {"metrics": [METRIC | {"positive": ""}]}}, "/feedback/metrics/0/positive"),
    ({"slices": [{"name": "s"}]}, "/slices/0"),
    ({"slices": [{"name": "s", "header": "x-a", "pointer": "/a"}]}, "/slices/0"),
    ({"slices": [{"name": "s", "header": "X-A"}]}, "/slices/0/header"),
    ({"slices": [{"name": "s", "pointer": "a"}]}, "/slices/0/pointer"),
    ({"slices": [{"name": "s", "header": "x-a", "values_max": 10**6}]}, "/slices/0/values_max"),
    ({"slices": [{"name": "s", "header": "x-a", "values_max": 0}]}, "/slices/0/values_max"),
    ({"slices": [{"name": name, "header": "x-a", "values_max": 51} for name in "ab"]}, "/slices"),
    ({"slices": [{"name": "s", "header": "x-a"}] * 2}, "/slices/1/name"),
    ({"slices": [{"name": f"s{number}", "header": "x-a", "values_max": 1} for number in range(5)]}, "/slices"),
    ({"features": [{"name": "f"}]}, "/features/0/pointer"),
    ({"features": [{"name": "predictions", "pointer": "/a"}]}, "/features/0/name"),
    ({"features": [{"name": "f", "pointer": "/~2"}]}, "/features/0/pointer"),
    ({"features": [{"name": "f", "pointer": "/a"}] * 2}, "/features/1/name"),
    ({"features": [{"name": f"f{number}", "pointer": "/a"} for number in range(101)]}, "/features"),
]


async def test_a_declaration_that_cannot_be_names_the_field(admin: AdminClient, subtests: pytest.Subtests) -> None:
    for declared, pointer in DECLARED_BADLY:
        with subtests.test(str(declared)[:80]):
            problem = await admin.problem(422, "POST", "/v1/models", json={"name": "fraud", **declared})
            assert pointer in pointers(problem)
    assert (await admin.ok("GET", "/v1/models"))["items"] == []


UNFIT_HEADERS = (
    ("host", "names where the request goes"),
    ("content-length", "frames the request"),
    ("transfer-encoding", "frames the request"),
    ("connection", "frames the request"),
    ("authorization", "is a secret"),
    ("proxy-authorization", "is a secret"),
    ("cookie", "is a secret"),
    ("x-api-key", "is a secret"),
    ("x-request-id", "names one request"),
    ("traceparent", "names one request"),
    ("x-forwarded-for", "is told anew"),
    ("x-turnback-version", "is the gateway's own"),
    ("x-turnback-anything", "is the gateway's own"),
)


async def test_framing_secrets_and_what_names_one_request_are_neither_slices_nor_keys_and_it_is_said_why(
    admin: AdminClient, subtests: pytest.Subtests
) -> None:
    for header, why in UNFIT_HEADERS:
        declared: tuple[tuple[dict[str, object], str], ...] = (
            ({"slices": [{"name": "s", "header": header}]}, "/slices/0/header"),
            (
                {"feedback": {"metrics": [METRIC], "client_key_header": header}},
                "/feedback/client_key_header",
            ),
        )
        for said, pointer in declared:
            with subtests.test(f"{header} {pointer}"):
                problem = await admin.problem(422, "POST", "/v1/models", json={"name": "fraud", **said})
                assert pointers(problem) == [pointer]
                assert why in problem["detail"]
    await admin.ok("POST", "/v1/models", {"name": "fraud", "slices": [{"name": "s", "header": "user-agent"}]})


CREDENTIALS_THAT_CANNOT_BE: list[tuple[dict[str, object], str]] = [
    ({"offline": {"accuracy": "0.9"}}, "/offline/accuracy"),
    ({"offline": {"accuracy": True}}, "/offline/accuracy"),
    ({"offline": {"accuracy": 1e13}}, "/offline/accuracy"),
    ({"offline": {f"m{number}": 0.5 for number in range(51)}}, "/offline"),
    ({"prices": {"per_answer": -0.01}}, "/prices/per_answer"),
    ({"prices": {"per_answer": "1"}}, "/prices/per_answer"),
    ({"prices": {"cap": 0.0}}, "/prices/cap"),
    ({"prices": {"per_token": 1.0}}, "/prices/per_token"),
    ({"signature": {"low": 2.0, "high": 1.0}}, "/signature/high"),
    ({"prices": {"per_answer": 2.0, "cap": 1.0}}, "/prices/cap"),
    ({"signature": {"classes": []}}, "/signature/classes"),
    ({"signature": {"classes": ["a\n"]}}, "/signature/classes/0"),
    ({"signature": {"predictions_min": 0}}, "/signature/predictions_min"),
    ({"reference": {"predictions": [0.0] * 10_001}}, "/reference/predictions"),
    ({"reference": {"features": {f"f{number}": [1.0] for number in range(101)}}}, "/reference/features"),
    ({"reference": {"features": {"predictions": [1.0]}}}, "/reference/features/predictions"),
    ({"reference": {"features": {"amuont": [1.0]}}}, "/reference/features/amuont"),
    ({"whatever": 1}, "/whatever"),
]


async def test_credentials_that_cannot_be_name_the_field(admin: AdminClient, subtests: pytest.Subtests) -> None:
    await admin.model("fraud", "v1")
    for said, pointer in CREDENTIALS_THAT_CANNOT_BE:
        with subtests.test(str(said)[:80]):
            body = {"urls": ["http://127.0.0.1:9002"], "credentials": said}
            problem = await admin.problem(422, "PUT", "/v1/models/fraud/versions/v2", json=body)
            assert f"/credentials{pointer}" in pointers(problem)
    await admin.problem(404, "GET", "/v1/models/fraud/versions/v2")


async def test_no_number_that_is_none_gets_into_a_declaration(admin: AdminClient, subtests: pytest.Subtests) -> None:
    """NaN and infinities, as other languages write them and as JSON's numbers can be too large to be."""
    await admin.model("fraud", "v1")
    metric = b'{"name": "m", "feedback": {"metrics": [{"name": "a", "kind": "score", "high": %s}]}}'
    version = b'{"urls": ["http://127.0.0.1:9002"], "credentials": %s}'
    said = (
        b'{"offline": {"f1": %s}}',
        b'{"prices": {"cap": %s}}',
        b'{"signature": {"low": %s}}',
        b'{"reference": {"predictions": [%s]}}',
    )
    of_versions = [("PUT", "/v1/models/fraud/versions/v2", version.replace(b"%s", each)) for each in said]
    bodies = [("POST", "/v1/models", metric), *of_versions]
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"):
        for method, path, body in bodies:
            with subtests.test(f"{number!r} in {body[:60]!r}"):
                answer = await admin.http.request(method, path, content=body.replace(b"%s", number), headers=JSON)
                assert answer.status_code == 422, answer.text
                problem_of(answer)


async def test_offline_limits_that_cannot_be_name_the_field(admin: AdminClient, subtests: pytest.Subtests) -> None:
    await admin.model("fraud", "v1", "v2")
    cases: list[tuple[object, str]] = [
        ([{"metric": "f1"}, {"metric": "f1"}], "/1/metric"),
        ([{"metric": "f1", "margin": -0.1}], "/0/margin"),
        ([{"metric": "f1", "margin": "0.1"}], "/0/margin"),
        ([{"metric": "f 1"}], "/0/metric"),
        ([{"margin": 0.1}], "/0/metric"),
        ([{"metric": f"m{number}"} for number in range(17)], ""),
        ({"metric": "f1"}, ""),
    ]
    for limits, pointer in cases:
        with subtests.test(str(limits)[:80]):
            body = {"canary": "v2", "policy": {"offline": limits}, **REASON}
            problem = await admin.problem(422, "POST", "/v1/models/fraud/rollouts", json=body)
            assert pointers(problem) == [f"/policy/offline{pointer}"]
