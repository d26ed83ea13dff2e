"""What cannot be accepted is refused with a problem that names the field and repeats nothing.

Cases are subtests: each test pays for one database.
"""

from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Any

import orjson
import pytest
from admin.admin_client import BODY_MAX_BYTES, REASON, AdminClient, admin_client, problem_of

from app.admin.models.bodies import TimeoutsBody
from app.admin.rollouts.bodies import PolicyBody
from app.admin.rollouts.views import PolicyView
from app.domain.catalog.models import Timeouts
from app.domain.catalog.policy import Policy
from app.store.pg.database import Database

UUID = "01890a5d-ac96-774b-bcce-b302099a8057"
JSON = {"content-type": "application/json"}


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AdminClient]:
    async with admin_client(database) as opened:
        yield opened


def pointers(problem: Any) -> list[str]:  # noqa: ANN401 -- a document
    return [error["pointer"] for error in problem["errors"]]


async def test_what_is_not_there_is_a_404(admin: AdminClient, subtests: pytest.Subtests) -> None:
    await admin.model("fraud", "v1", "v2")
    for path, code in (
        ("/v1/models/nobody", "UnknownModel"),
        ("/v1/models/not%20a%20name", "UnknownModel"),
        ("/v1/models/%00", "UnknownModel"),
        ("/v1/models/nobody/versions", "UnknownModel"),
        ("/v1/models/nobody/route", "UnknownModel"),
        ("/v1/models/nobody/rollouts", "UnknownModel"),
        ("/v1/models/nobody/live", "UnknownModel"),
        ("/v1/models/nobody/metrics", "UnknownModel"),
        ("/v1/models/fraud/versions/v9", "UnknownVersion"),
        (f"/v1/rollouts/{UUID}", "UnknownRollout"),
        ("/v1/rollouts/x", "UnknownRollout"),
        (f"/v1/decisions/{UUID}", "UnknownDecision"),
        ("/v1/decisions/1", "UnknownDecision"),
        ("/v2/models", "UnknownPath"),
        ("/", "UnknownPath"),
    ):
        with subtests.test(path):
            assert (await admin.problem(404, "GET", path))["code"] == code
    for model, code in (("nobody", "UnknownModel"), ("fraud", "UnknownVersion")):
        with subtests.test(f"a rollout of {model}"):
            problem = await admin.problem(404, "POST", f"/v1/models/{model}/rollouts", json={"canary": "v9", **REASON})
            assert problem["code"] == code


async def test_weights_that_are_no_distribution_name_the_field(admin: AdminClient, subtests: pytest.Subtests) -> None:
    await admin.model("fraud", "v1", "v2")
    cases: list[tuple[object, str]] = [
        ({"v1": 9_000, "v2": 999}, "/weights_bp"),
        ({"v1": 10_001, "v2": -1}, "/weights_bp/v1"),
        ({"v1": 5_000.5, "v2": 4_999.5}, "/weights_bp/v1"),
        ({"v1": "10000"}, "/weights_bp/v1"),
        ({"v1": True, "v2": 9_999}, "/weights_bp/v1"),
        ({}, "/weights_bp"),
        ({"v 1": 10_000}, "/weights_bp/v 1"),
        ([10_000], "/weights_bp"),
        (None, "/weights_bp"),
    ]
    for weights, pointer in cases:
        with subtests.test(str(weights)):
            problem = await admin.problem(422, "PUT", "/v1/models/fraud/route", json={"weights_bp": weights, **REASON})
            assert pointer in pointers(problem)
    assert (await admin.ok("GET", "/v1/models/fraud"))["route"]["weights_bp"] == {"v1": 10_000}


async def test_a_second_rollout_and_weights_by_hand_wait_for_the_first_one(admin: AdminClient) -> None:
    await admin.model("fraud", "v1", "v2", "v3")
    await admin.rollout("v2")
    second = await admin.problem(409, "POST", "/v1/models/fraud/rollouts", json={"canary": "v3", **REASON})
    assert second["code"] == "RolloutActive"
    assert pointers(second) == ["/model"]
    by_hand = {"weights_bp": {"v1": 9_000, "v2": 1_000}, **REASON}
    assert (await admin.problem(409, "PUT", "/v1/models/fraud/route", json=by_hand))["code"] == "RolloutActive"


async def test_an_upstream_off_the_list_or_not_http_is_a_422_that_names_it(
    admin: AdminClient, subtests: pytest.Subtests
) -> None:
    await admin.model("fraud", "v1")
    for url in (
        "https://10.0.0.1",
        "ftp://127.0.0.1:1",
        "http://10.0.0.1:80",
        "http://169.254.169.254/latest",
        "http://0x7f.1:80",
        "not a url",
        "",
    ):
        with subtests.test(url):
            body = {"urls": ["http://127.0.0.1:9002", url]}
            problem = await admin.problem(422, "PUT", "/v1/models/fraud/versions/v2", json=body)
            assert pointers(problem) == ["/urls/1"]
    await admin.problem(404, "GET", "/v1/models/fraud/versions/v2")


async def test_a_model_that_cannot_be_names_the_field(admin: AdminClient, subtests: pytest.Subtests) -> None:
    cases: list[tuple[object, str]] = [
        ({"name": "a/b"}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 64}, "/name"),
        ({"name": "fraud\n"}, "/name"),
        ({"name": 7}, "/name"),
        ({}, "/name"),
        ({"name": "fraud", "wieght": 1}, "/wieght"),
        ({"name": "fraud", "match": {}}, "/match"),
        ({"name": "fraud", "match": {"path_prefix": "no-slash"}}, "/match/path_prefix"),
        ({"name": "fraud", "match": {"host": "UPPER"}}, "/match/host"),
        ({"name": "fraud", "sticky_header": "x-user", "sticky_cookie": "sid"}, "/sticky_cookie"),
        ({"name": "fraud", "sticky_cookie": "a;b"}, "/sticky_cookie"),
        ({"name": "fraud", "protocol": "grpc"}, "/protocol"),
        ({"name": "fraud", "observation": {"prediction": "no/slash"}}, "/observation/prediction"),
        ({"name": "fraud", "observation": {"score": "/a~2"}}, "/observation/score"),
        ({"name": "fraud", "observation": {"score": "/a~"}}, "/observation/score"),
        ({"name": "fraud", "observation": {"sample_bp": 0}}, "/observation/sample_bp"),
        ({"name": "fraud", "takes_invocations": "yes"}, "/takes_invocations"),
        ([], ""),
        ("fraud", ""),
    ]
    for body, pointer in cases:
        with subtests.test(str(body)):
            assert pointer in pointers(await admin.problem(422, "POST", "/v1/models", json=body))
    assert (await admin.ok("GET", "/v1/models"))["items"] == []


async def test_a_version_that_cannot_be_names_the_field(admin: AdminClient, subtests: pytest.Subtests) -> None:
    await admin.model("fraud", "v1")
    server = "http://127.0.0.1:9002"
    cases: list[tuple[dict[str, object], str]] = [
        ({}, "/urls"),
        ({"urls": []}, "/urls"),
        ({"urls": server}, "/urls"),
        ({"urls": [7]}, "/urls/0"),
        ({"urls": [f"http://127.0.0.1:{port}" for port in range(9_000, 9_017)]}, "/urls"),
        ({"urls": [server, "http://127.0.0.1:9003", f"{server}/"]}, "/urls/2"),
        ({"url": server}, "/url"),
        ({"urls": [server], "server_name": "models.test"}, "/server_name"),
        ({"urls": ["https://127.0.0.1:9002"], "server_name": "MODELS"}, "/server_name"),
        ({"urls": [server], "path": "v2"}, "/path"),
        ({"urls": [server], "path": "/v2/../v1"}, "/path"),
        ({"urls": [server], "served_model": ""}, "/served_model"),
        ({"urls": [server], "served_model": "a\nb"}, "/served_model"),
        ({"urls": [server], "bulkhead": {"concurrency": 0}}, "/bulkhead/concurrency"),
        ({"urls": [server], "bulkhead": {"queue": -1}}, "/bulkhead/queue"),
    ]
    for body, pointer in cases:
        with subtests.test(str(body)):
            problem = await admin.problem(422, "PUT", "/v1/models/fraud/versions/v2", json=body)
            assert pointer in pointers(problem)
    await admin.problem(404, "GET", "/v1/models/fraud/versions/v2")


async def test_a_mirror_that_cannot_be_names_the_field(admin: AdminClient, subtests: pytest.Subtests) -> None:
    await admin.model("fraud", "v1", "v2")
    before = await admin.ok("GET", "/v1/models/fraud/route")
    cases: list[tuple[dict[str, object], str]] = [
        ({"mirror": {"version": "v1", "share_bp": 100}}, "/mirror/version"),
        ({"mirror": {"version": "v2", "share_bp": 100}, "weights_bp": {"v2": 10_000}}, "/mirror/version"),
        ({"mirror": {"version": "v2", "share_bp": 0}}, "/mirror/share_bp"),
        ({"mirror": {"version": "v2"}}, "/mirror/share_bp"),
        ({}, ""),
    ]
    for body, pointer in cases:
        with subtests.test(str(body)):
            problem = await admin.problem(422, "PUT", "/v1/models/fraud/route", json=body | REASON)
            assert pointer in pointers(problem)
    unknown = {"mirror": {"version": "v9", "share_bp": 100}, **REASON}
    await admin.problem(404, "PUT", "/v1/models/fraud/route", json=unknown)
    assert await admin.ok("GET", "/v1/models/fraud/route") == before


async def test_an_action_without_a_plain_reason_is_refused(admin: AdminClient, subtests: pytest.Subtests) -> None:
    await admin.model("fraud", "v1", "v2")
    path = f"/v1/rollouts/{(await admin.rollout())['id']}:rollback"
    for reason in ("", "   ", "two\nlines", "nul\x00", "x" * 501, None, 7):
        with subtests.test(repr(reason)):
            assert pointers(await admin.problem(422, "POST", path, json={"reason": reason})) == ["/reason"]
    await admin.problem(422, "POST", path, json={})


async def test_a_policy_that_cannot_be_names_the_field(admin: AdminClient, subtests: pytest.Subtests) -> None:
    await admin.model("fraud", "v1", "v2")
    cases: list[tuple[dict[str, object], str]] = [
        ({"alpha_rollback": 0}, "/policy/alpha_rollback"),
        ({"max_weight_bp": 10_000}, "/policy/max_weight_bp"),
        ({"max_weight_bp": 10.5}, "/policy/max_weight_bp"),
        ({"on_deadline": "explode"}, "/policy/on_deadline"),
        ({"guardrails": [{"metric": "errors", "dry_run": True}]}, "/policy/guardrails"),
        ({"guardrails": [{"metric": "errors"}, {"metric": "vibes"}]}, "/policy/guardrails/1/metric"),
        ({"alpha": 0.5}, "/policy/alpha"),
    ]
    for policy, pointer in cases:
        with subtests.test(str(policy)):
            body = {"canary": "v2", "policy": policy, **REASON}
            assert pointer in pointers(await admin.problem(422, "POST", "/v1/models/fraud/rollouts", json=body))


async def test_a_stable_canary_gets_no_rollout(admin: AdminClient) -> None:
    await admin.model("fraud", "v1")
    problem = await admin.problem(422, "POST", "/v1/models/fraud/rollouts", json={"canary": "v1", **REASON})
    assert pointers(problem) == ["/canary"]


async def test_a_finished_rollout_takes_no_orders(admin: AdminClient, subtests: pytest.Subtests) -> None:
    await admin.model("fraud", "v1", "v2")
    path = f"/v1/rollouts/{(await admin.rollout())['id']}"
    await admin.ok("POST", f"{path}:rollback", REASON)
    for action in ("pause", "resume", "promote", "abort"):
        with subtests.test(action):
            problem = await admin.problem(409, "POST", f"{path}:{action}", json=REASON)
            assert problem["code"] == "IllegalTransition"
    await admin.problem(422, "POST", f"{path}:explode", json=REASON)


async def test_what_is_not_strict_json_is_refused(admin: AdminClient, subtests: pytest.Subtests) -> None:
    for body in (
        b"",
        b"{",
        b"nul",
        b"null",
        b'{"name": NaN}',
        b'{"name": "a", "name": "b"}',
        b'{"name": "\\ud800"}',
        b'{"name": "\xff"}',
        b"[" * 60_000,
        b'{"name": ' + b"9" * 5_000 + b"}",
    ):
        with subtests.test(str(body[:20])):
            answer = await admin.http.post("/v1/models", content=body, headers=JSON)
            assert answer.status_code == 422
            problem_of(answer)


async def test_a_body_over_the_limit_is_a_413_whether_announced_or_not(admin: AdminClient) -> None:
    body = orjson.dumps({"name": "x" * BODY_MAX_BYTES})
    assert (await admin.problem(413, "POST", "/v1/models", content=body, headers=JSON))["code"] == "BodyTooLarge"

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1_000):
            yield body[start : start + 1_000]

    await admin.problem(413, "POST", "/v1/models", content=in_pieces(), headers=JSON)


async def test_another_media_type_is_a_415_and_a_wrong_method_a_405(
    admin: AdminClient, subtests: pytest.Subtests
) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""):
        with subtests.test(media_type):
            headers = {"content-type": media_type}
            problem = await admin.problem(415, "POST", "/v1/models", content=b'{"name": "a"}', headers=headers)
            assert problem["code"] == "UnsupportedMediaType"
    answer = await admin.http.delete("/v1/models")
    assert problem_of(answer)["code"] == "MethodNotAllowed"
    assert answer.headers["allow"]


async def test_a_query_that_cannot_be_names_the_parameter(admin: AdminClient, subtests: pytest.Subtests) -> None:
    await admin.model("fraud", "v1")
    of_metrics, of_decisions = "/v1/models/fraud/metrics", "/v1/decisions"
    cases: list[tuple[str, dict[str, str], str]] = [
        (of_metrics, {"from": "yesterday"}, "/query/from"),
        (of_metrics, {"from": "0"}, "/query/from"),
        (of_metrics, {"from": "2026-01-01"}, "/query/from"),
        (of_metrics, {"from": "2026-01-01T00:00:00"}, "/query/from"),
        (of_metrics, {"from": "2026-13-01T00:00:00Z"}, "/query/from"),
        (of_metrics, {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "/query/from"),
        (of_metrics, {"to": "9999-12-31T23:59:59Z"}, "/query/to"),
        (of_metrics, {"step": "0"}, "/query/step"),
        (of_metrics, {"step": "1", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}, "/query/step"),
        (of_decisions, {"cursor": "???"}, "/query/cursor"),
        (of_decisions, {"cursor": "AAAA"}, "/query/cursor"),
        (of_decisions, {"cursor": "ÄÄÄÄ"}, "/query/cursor"),
        (of_decisions, {"limit": "0"}, "/query/limit"),
        (of_decisions, {"limit": "201"}, "/query/limit"),
        (of_decisions, {"limit": "x"}, "/query/limit"),
    ]
    for path, query, pointer in cases:
        with subtests.test(str(query)):
            assert pointers(await admin.problem(422, "GET", path, params=query)) == [pointer]


async def test_a_refusal_never_repeats_a_value(admin: AdminClient) -> None:
    typed = "hunter2-hunter2"
    for body in ({"name": f"{typed}/"}, {"name": "a", "sticky_header": typed.upper()}, {"name": [typed]}):
        answer = await admin.http.post("/v1/models", json=body)
        assert answer.status_code == 422
        assert typed not in answer.text.lower()


async def test_a_request_keeps_its_own_id_if_it_is_a_plain_one(admin: AdminClient) -> None:
    for offered, kept in (("abc-1", True), ("a b", False), ("x" * 129, False)):
        answer = await admin.http.get("/v1/models", headers={"x-request-id": offered})
        assert (answer.headers["x-request-id"] == offered) is kept


def test_the_schemas_know_every_field_of_the_domain() -> None:
    assert set(PolicyBody.model_fields) == {field.name for field in fields(Policy)}
    assert set(PolicyView.model_fields) == {field.name for field in fields(Policy)}
    assert set(TimeoutsBody.model_fields) == {field.name for field in fields(Timeouts)}
