"""The admin API as one application."""

from fastapi import FastAPI

from app.admin.dependencies import Services
from app.admin.explanation import router as explanation
from app.admin.history.replay import router as replay
from app.admin.history.routes import router as history
from app.admin.models.routes import router as models
from app.admin.quality.compare import router as compare
from app.admin.quality.cost import router as cost
from app.admin.quality.drift import router as drift
from app.admin.quality.labels import router as labels
from app.admin.quality.routes import router as quality
from app.admin.recalls.routes import router as recalls
from app.admin.rollouts.power import router as power
from app.admin.rollouts.routes import router as rollouts
from app.admin.rollouts.simulation import router as simulation
from app.admin.rollouts.slices import router as slices
from app.admin.standby.routes import router as standby
from app.web import problems
from app.web.application import described_app

# In the order of the document.
ROUTERS = (
    models,
    rollouts,
    slices,
    history,
    explanation,
    replay,
    simulation,
    power,
    standby,
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
    for router in ROUTERS:
        app.include_router(router, responses=problems.RESPONSES)
    return app
