"""A FastAPI application as this project means it: problems for errors, strict bodies, plain operation ids."""

from typing import Any

from fastapi import FastAPI
from fastapi.middleware import Middleware
from fastapi.routing import APIRoute

from app.web import problems
from app.web.methods import Methods
from app.web.request_id import Envelope


class DescribedApp(FastAPI):
    """An application whose OpenAPI document knows its problems."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document.setdefault("components", {}).setdefault("schemas", {}).update(problems.SCHEMAS)
        return document


def described_app(title: str, version: str, *, openapi_url: str | None) -> DescribedApp:
    """An application with nothing in it yet."""
    app = DescribedApp(
        title=title,
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url=openapi_url,
        middleware=[Middleware(Envelope), Middleware(Methods)],
        redirect_slashes=False,
        separate_input_output_schemas=False,
        generate_unique_id_function=_operation_id,
    )
    problems.install(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
