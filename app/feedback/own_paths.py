"""The gateway's own paths on the inference port: everything under /turnback/."""

from dataclasses import dataclass

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from app.feedback import api
from app.feedback.desk import FeedbackDesk
from app.web import problems
from app.web.application import described_app
from app.web.strict_route import StrictRoute


@dataclass(frozen=True, slots=True)
class Build:
    """Which build this is, and which start of it."""

    version: str
    boot: str


class BuildView(BaseModel):
    """Which build answers, and which start of it."""

    version: str
    boot: str


def inference_app(build: Build, desk: FeedbackDesk | None) -> FastAPI:
    """What the inference listener hands over when a path is not inference; without a desk it only describes itself."""
    app = described_app("Turnback inference port", build.version, openapi_url=None)
    app.state.feedback = desk
    router = APIRouter(prefix="/turnback/v1", route_class=StrictRoute, tags=["gateway"])

    @router.get("/version", summary="Which build answers here")
    async def version() -> BuildView:
        return BuildView(version=build.version, boot=build.boot)

    for part in (router, api.router):
        app.include_router(part, responses={404: problems.RESPONSES[404], 405: problems.RESPONSES[405]})
    return app
