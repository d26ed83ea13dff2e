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
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for schema in schemas.values():
            _say_as_answer(schema)
        schemas.update(problems.SCHEMAS)
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
        generate_unique_id_function=_operation_id,
    )
    problems.install(app)
    return app


def _say_as_answer(schema: dict[str, Any]) -> None:
    """Leave out what only a caller of the constructor needs: a value's attributes, defaults of what is always there."""
    if "description" in schema:
        schema["description"] = schema["description"].partition("\n\nAttributes:")[0]
    for name in schema.get("required", ()):
        schema["properties"][name].pop("default", None)


def _operation_id(route: APIRoute) -> str:
    return route.name
