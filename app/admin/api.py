"""The admin API as one application."""

from fastapi import FastAPI
from fastapi.middleware import Middleware

from app.admin import history, models, problems, rollouts
from app.admin.envelope import Envelope
from app.admin.needs import Services


def admin_app(services: Services | None, *, version: str, body_max_bytes: int) -> FastAPI:
    """The application of the admin listener; without services it can only describe itself."""
    app = FastAPI(
        title="Turnback admin API",
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        middleware=[Middleware(Envelope)],
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.services = services
    app.state.body_max_bytes = body_max_bytes
    problems.install(app)
    for part in (models, rollouts, history):
        app.include_router(part.router, responses=problems.RESPONSES)
    return app
