"""The admin API as one application."""

from fastapi import FastAPI

from app.admin.dependencies import Services
from app.admin.history import replay
from app.admin.history import routes as history
from app.admin.models import routes as models
from app.admin.quality import compare, cost, drift, labels
from app.admin.quality import routes as quality
from app.admin.recalls import routes as recalls
from app.admin.rollouts import explanation, power, simulation, slices
from app.admin.rollouts import routes as rollouts
from app.admin.standby import routes as watches
from app.web import problems
from app.web.application import described_app

PARTS = (
    models,
    rollouts,
    slices,
    history,
    explanation,
    replay,
    simulation,
    power,
    watches,
    recalls,
    quality,
    cost,
    compare,
    drift,
    labels,
)


def admin_app(services: Services | None, *, version: str, body_max_bytes: int) -> FastAPI:
    """The application of the admin listener; without services it can only describe itself."""
    app = described_app("Turnback admin API", version, openapi_url="/openapi.json")
    app.state.services = services
    app.state.body_max_bytes = body_max_bytes
    for part in PARTS:
        app.include_router(part.router, responses=problems.RESPONSES)
    return app
