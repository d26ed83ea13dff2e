"""Errors as RFC 9457 problems; the only place of the control plane that knows status codes.

Rule: a problem says what is wrong and where, never what was sent and never how the inside failed.
docs/problems.md has a heading for each type (ADR 0031).
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.errors import PROBLEM_TYPE, ErrorKind, InvalidInput, TurnbackError
from app.web import methods

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

STATUS: Mapping[ErrorKind, HTTPStatus] = {
    ErrorKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorKind.CONFLICT: HTTPStatus.CONFLICT,
    ErrorKind.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorKind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}

# Problems no TurnbackError stands for: HTTP itself refused, or something broke.
HTTP_CODES: Mapping[int, str] = {
    400: "MalformedRequest",
    401: "Unauthorized",
    404: "UnknownPath",
    405: "MethodNotAllowed",
    413: "BodyTooLarge",
    415: "UnsupportedMediaType",
    500: "InternalError",
}

# How OpenAPI describes them: one schema, whatever the status.
SCHEMAS: Mapping[str, Any] = {
    "Problem": {
        "title": "Problem",
        "description": "RFC 9457: what is wrong, and which fields are at fault.",
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string"},
            "request_id": {"type": "string"},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}},
        },
    },
    "FieldError": {
        "title": "FieldError",
        "description": "What is wrong with one field; the pointer is RFC 6901.",
        "type": "object",
        "required": ["pointer", "detail"],
        "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
    },
}
_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": HTTPStatus(status).phrase, "content": _CONTENT}
    for status in (400, 401, 403, 404, 405, 409, 413, 415, 421, 422, 500, 503)
} | {"default": {"description": "The request was refused before anybody looked at its path", "content": _CONTENT}}

log = structlog.get_logger()


def install(app: FastAPI) -> None:
    """Let every answer of this application that is an error be a problem."""
    app.add_exception_handler(TurnbackError, _turnback_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, http_error)


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    title: str | None = None,
    members: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One RFC 9457 answer; `code` is the name its type ends in."""
    body = {
        **(members or {}),
        "type": PROBLEM_TYPE + code,
        "title": title or HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "request_id": request_id(request),
    }
    return Response(
        orjson.dumps(body, default=str), status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def request_id(request: Request) -> str:
    """The id this request is known by in answers and logs; the envelope put it there."""
    return str(request.scope["state"]["request_id"])


async def _turnback_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, TurnbackError):
        raise error
    members = {name: value for name, value in error.members.items() if name != "field"}
    if isinstance(error, InvalidInput):
        members["errors"] = [{"pointer": error.field, "detail": error.why}]
    elif isinstance(field := error.members.get("field"), str):
        members["errors"] = [{"pointer": field, "detail": error.detail}]
    headers = {"Retry-After": str(RETRY_AFTER_S)} if error.kind is ErrorKind.UNAVAILABLE else None
    return problem(
        request,
        STATUS[error.kind],
        type(error).__name__,
        error.detail,
        title=error.title,
        members=members,
        headers=headers,
    )


async def _validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [
        {"pointer": _pointer(found["loc"]), "detail": found["msg"].removeprefix("Value error, ")}
        for found in error.errors()
    ]
    return problem(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        InvalidInput.__name__,
        "; ".join(f"{found['pointer']}: {found['detail']}" for found in errors[:3]),
        title=InvalidInput.title,
        members={"errors": errors},
    )


def _pointer(location: Sequence[int | str]) -> str:
    """A JSON pointer into the body, or the query as "/query/name" (RFC 6901)."""
    place, *rest = location
    parts = rest if place == "body" else [place, *rest]
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


async def http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = HTTP_CODES.get(error.status_code, "HttpError")
    details = {404: "there is nothing at this path", 405: f"this path does not take {request.method}"}
    detail = details.get(error.status_code, str(error.detail))
    headers = {"allow": methods.allow(request)} if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else error.headers
    return problem(request, error.status_code, code, detail, headers=headers)


def unexpected(request: Request, error: Exception) -> Response:
    """A 500 that says nothing of the inside; the log has the trace under the same id."""
    log.error("admin.request_failed", path=request.url.path, request_id=request_id(request), exc_info=error)
    return problem(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "InternalError",
        "something broke inside; the log has it under this request_id",
    )
