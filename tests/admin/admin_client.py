"""The admin application on a real database, called without a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_bytes
from typing import Any

import httpx
from fastapi import FastAPI

from app.actions.context import Means
from app.admin.api import admin_app
from app.admin.dependencies import Services
from app.domain.catalog.models import Protocol, Timeouts, Version
from app.errors import PROBLEM_TYPE
from app.store.pg.database import Database
from app.telemetry import DecisionCount
from app.upstream_allow import LOOPBACK, AllowList

BODY_MAX_BYTES = 65_536
REASON = {"reason": "a test"}


class Probe:
    """Says of every version what it was told to say; ready unless told otherwise."""

    def __init__(self) -> None:
        self.unready: dict[str, str] = {}

    async def __call__(self, _: Protocol, version: Version) -> str | None:
        return self.unready.get(version.name)


class AdminClient:
    """Calls the API and checks the shape of everything that is not a success."""

    def __init__(self, http: httpx.AsyncClient, probe: Probe) -> None:
        self.http = http
        self.probe = probe

    async def ok(self, method: str, path: str, body: object = None, **query: object) -> Any:  # noqa: ANN401 -- a document
        answer = await self.http.request(method, path, json=body, params={k: str(v) for k, v in query.items()})
        assert answer.is_success, answer.text
        return answer.json()

    async def problem(self, status: int, method: str, path: str, **request: Any) -> Any:  # noqa: ANN401 -- a document
        answer = await self.http.request(method, path, **request)
        assert answer.status_code == status, answer.text
        return problem_of(answer)

    async def model(self, name: str = "fraud", *versions: str) -> None:
        await self.ok("POST", "/v1/models", {"name": name})
        for number, version in enumerate(versions or ("v1", "v2")):
            await self.ok(
                "PUT", f"/v1/models/{name}/versions/{version}", {"urls": [f"http://127.0.0.1:{9001 + number}"]}
            )

    async def rollout(self, canary: str = "v2", **policy: object) -> Any:  # noqa: ANN401 -- a document
        return await self.ok("POST", "/v1/models/fraud/rollouts", {"canary": canary, "policy": policy, **REASON})


def problem_of(answer: httpx.Response) -> Any:  # noqa: ANN401 -- a document
    """The one shape of every error."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"{PROBLEM_TYPE}{problem['code']}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert "Traceback" not in answer.text
    return problem


def application(database: Database, probe: Probe) -> FastAPI:
    """The admin application on this database."""
    means = Means(database, probe, AllowList(LOOPBACK).check, token_bytes)
    services = Services(means, Timeouts(), 60, DecisionCount())
    return admin_app(services, version="test", body_max_bytes=BODY_MAX_BYTES)


@asynccontextmanager
async def admin_client(database: Database) -> AsyncIterator[AdminClient]:
    probe = Probe()
    transport = httpx.ASGITransport(application(database, probe))
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as http:
        yield AdminClient(http, probe)
