"""`Allow`, OPTIONS and HEAD on every path of every port, over real connections; the paths come from the documents."""

import re
from collections.abc import Mapping

import pytest
from admin.admin_client import Probe, admin_client, application
from prometheus_client import CollectorRegistry
from proxy.serving import gateway_with, serving, table_of
from proxy.talking import Answer, get, talking
from starlette.applications import Starlette
from starlette.routing import Route

from app.admin.api import admin_app
from app.feedback.own_paths import Build, inference_app
from app.main import openapi_documents
from app.ops import Check, Readiness, ops_app
from app.proxy import Gateway
from app.proxy.bounds.admission import own
from app.proxy.downstream.addressed import Addressees
from app.proxy.downstream.own_port import OwnPort
from app.store.pg.database import Database

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
KNOWN = {"model": "fraud", "version": "v1", "action": "pause"}
Paths = Mapping[str, set[str]]


def documented(name: str) -> Paths:
    """Each path of a document, its parameters filled in, and the methods it takes."""
    return {
        re.sub(r"\{(\w+)\}", lambda found: KNOWN.get(found[1], "x"), path): _with_implied(
            {each.upper() for each in found}
        )
        for path, found in openapi_documents()[name]["paths"].items()
    }


def routed(app: Starlette) -> Paths:
    """The same of an application that has no document."""
    return {route.path: _with_implied(set(route.methods or ())) for route in app.routes if isinstance(route, Route)}


def _with_implied(methods: set[str]) -> set[str]:
    return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


def ready() -> Readiness:
    return Readiness("control", {"database": Check(ok=True, vital=True, detail="reachable")})


def own_port() -> OwnPort:
    return OwnPort(own(8, 65_536), Addressees(["gateway.test"]))


def ports() -> dict[str, tuple[Gateway | OwnPort, Starlette, Paths]]:
    """Every port: how its connections are read, its application, and what its paths take."""
    ops = ops_app(CollectorRegistry(), ready)
    admin = admin_app(None, version="test", body_max_bytes=65_536)
    inference = inference_app(Build("test", "boot"), None)
    return {
        "admin": (own_port(), admin, {**documented("admin"), **routed(admin)}),
        "ops": (own_port(), ops, routed(ops)),
        "inference": (gateway_with(table_of()), inference, documented("inference")),
    }


@pytest.mark.parametrize("name", ["admin", "ops", "inference"])
async def test_every_path_tells_every_method_it_takes_and_no_other(name: str) -> None:
    port, app, paths = ports()[name]
    wrong: dict[tuple[str, str], Answer] = {}
    asked = 0
    async with serving(port, app) as number, talking(number) as talk:
        for path, methods in paths.items():
            for method in METHODS:
                if method in methods and method != "OPTIONS":
                    continue
                asked += 1
                answer = await talk.ask(get(path, method=method), to_head=method == "HEAD")
                expected = 204 if method == "OPTIONS" else 405
                if answer.status != expected or set((answer.field("allow") or "").split(", ")) != methods:
                    wrong[path, method] = answer
    assert wrong == {}
    assert asked >= 3 * len(paths) > 0


async def test_a_path_with_nothing_at_it_allows_nothing() -> None:
    for port, app, _ in ports().values():
        async with serving(port, app) as number, talking(number) as talk:
            for method in METHODS:
                answer = await talk.ask(get("/turnback/nowhere", method=method), to_head=method == "HEAD")
                assert (answer.status, answer.field("allow")) == (404, None)


async def test_head_tells_what_get_would_and_brings_no_body(database: Database) -> None:
    async with admin_client(database) as admin:
        await admin.model()
    asked = 0
    async with serving(own_port(), application(database, Probe())) as number, talking(number) as talk:
        for path, methods in documented("admin").items():
            if "GET" not in methods:
                continue
            whole = await talk.ask(get(path, "x-request-id: same"))
            head = await talk.ask(get(path, "x-request-id: same", method="HEAD"), to_head=True)
            volatile = {"content-length", "date"}
            assert head.status == whole.status
            assert [each for each in head.fields if each[0] not in volatile] == [
                each for each in whole.fields if each[0] not in volatile
            ]
            assert head.field("content-length") is not None
            asked += 1
        # The connection is still in step.
        assert (await talk.ask(get("/v1/models"))).status == 200
    assert asked > 20


async def test_the_ops_port_answers_head_and_its_probes_whatever_they_call_it() -> None:
    port, app, _ = ports()["ops"]
    async with serving(port, app) as number, talking(number) as talk:
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await talk.ask(get(path, method="HEAD"), to_head=True)).status == 200
        for path, status in (("/livez", 200), ("/readyz", 200)):
            raw = get(path).replace(b"gateway.test", b"10.1.2.3:8322")
            assert (await talk.ask(raw)).status == status
        answer = await talk.ask(get("/metrics").replace(b"gateway.test", b"10.1.2.3:8322"))
        assert (answer.status, answer.problem()["code"]) == (421, "MisdirectedRequest")
