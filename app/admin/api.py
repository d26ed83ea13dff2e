"""The admin API as one application."""

from fastapi import FastAPI

from app.admin import (
    explanations,
    feedback,
    history,
    models,
    power,
    problems,
    recalls,
    replays,
    rollouts,
    simulations,
    watches,
)
from app.admin.described import described_app
from app.admin.needs import Services


def admin_app(services: Services | None, *, version: str, body_max_bytes: int) -> FastAPI:
    """The application of the admin listener; without services it can only describe itself."""
    app = described_app("Turnback admin API", version, openapi_url="/openapi.json")
    app.state.services = services
    app.state.body_max_bytes = body_max_bytes
    for part in (models, feedback, rollouts, history, explanations, replays, simulations, power, watches, recalls):
        app.include_router(part.router, responses=problems.RESPONSES)
    return app
