"""The ops listener of every role: /metrics for Prometheus, /livez and /readyz for whoever restarts or routes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.web import problems
from app.web.methods import Methods
from app.web.request_id import Envelope


@dataclass(frozen=True, slots=True)
class Check:
    """One thing a process needs; `vital` when it cannot do its work without."""

    ok: bool
    vital: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether traffic should come here, and what is not as it should be."""

    role: str
    checks: Mapping[str, Check] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return all(check.ok for check in self.checks.values() if check.vital)

    @property
    def degraded(self) -> list[str]:
        return [name for name, check in self.checks.items() if not check.ok]


def ops_app(registry: CollectorRegistry, readiness: Callable[[], Readiness]) -> Starlette:
    """The application of the ops listener."""

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def livez(_: Request) -> Response:
        return _json({"status": "alive"})

    async def readyz(_: Request) -> Response:
        now = readiness()
        status = "ready" if not now.degraded else "degraded" if now.ready else "not_ready"
        checks = {name: {"ok": check.ok, "detail": check.detail} for name, check in now.checks.items()}
        body = {"status": status, "role": now.role, "degraded": now.degraded, "checks": checks}
        return _json(body, 200 if now.ready else 503)

    return Starlette(
        routes=[Route("/metrics", metrics), Route("/livez", livez), Route("/readyz", readyz)],
        middleware=[Middleware(Envelope), Middleware(Methods)],
        exception_handlers={HTTPException: problems.http_error},
    )


def _json(body: Mapping[str, object], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status_code=status, media_type="application/json")
