"""The admin API as one application."""

from fastapi import FastAPI

from app.admin import (
    comparing,
    costs,
    drift,
    explanations,
    feedback,
    history,
    models,
    power,
    problems,
    quality,
    recalls,
    replays,
    rollouts,
    simulations,
    slices,
    watches,
)
from app.admin.described import described_app
from app.admin.needs import Services

PARTS = (
    models,
    rollouts,
    slices,
    history,
    explanations,
    replays,
    simulations,
    power,
    watches,
    recalls,
    quality,
    costs,
    comparing,
    drift,
    feedback,
)


def admin_app(services: Services | None, *, version: str, body_max_bytes: int) -> FastAPI:
    """The application of the admin listener; without services it can only describe itself."""
    app = described_app("Turnback admin API", version, openapi_url="/openapi.json")
    app.state.services = services
    app.state.body_max_bytes = body_max_bytes
    for part in PARTS:
        app.include_router(part.router, responses=problems.RESPONSES)
    return app
