"""Whatever a client sends to the admin port, the answer is one its OpenAPI document knows."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from system.processes import Stage

PROJECT = Path(__file__).resolve().parents[2]
METHODS = {"get", "put", "post", "delete", "patch"}
EXAMPLES = 8
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


async def test_no_input_gets_an_answer_the_document_does_not_know(database_url: str) -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("control", database_url=database_url, upstream_allow="127.0.0.0/8")
        admin = stage.admin(gateway)
        server = await stage.model_server("v1")
        await admin.register("fraud", v1=server, v2=server)
        rollout = await admin("POST", "/models/fraud/rollouts", canary="v2", reason="something to hit")
        decision = (await admin("GET", "/decisions"))["items"][0]
        known = {"model": "fraud", "version": "v1", "rollout_id": rollout["id"], "decision_id": decision["id"]}
        called = await asyncio.to_thread(_call_everything, gateway.url("admin"), known)
    assert called == _published_operations()


def _published_operations() -> int:
    paths = orjson.loads((PROJECT / "openapi" / "admin.json").read_bytes())["paths"]
    return sum(len(METHODS & set(path)) for path in paths.values())


def _call_everything(url: str, known: dict[str, str]) -> int:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    for operation in operations:
        _call_often(url, operation, known)
    return len(operations)


def _call_often(url: str, operation: Any, known: dict[str, str]) -> None:  # noqa: ANN401 -- generic in four private types
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), aim=st.booleans())
    def call(case: Any, aim: bool) -> None:  # noqa: ANN401 -- likewise
        # Random names would only ever meet a 404.
        if aim:
            case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
        case.call_and_validate(base_url=url, checks=CHECKS)

    call()
