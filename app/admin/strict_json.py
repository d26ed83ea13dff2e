"""Bodies are JSON as RFC 8259 and I-JSON mean it, or they are refused before anybody looks inside.

Rule: no NaN, no duplicate member, no lone surrogate, no other media type, and never a guess.
"""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.errors import InvalidInput


class StrictRequest(Request):
    """A request whose body was read strictly before FastAPI asks for it."""

    document: object = None

    async def json(self) -> Any:  # noqa: ANN401 -- JSON has no narrower type before a schema has looked
        return self.document

    async def read(self, bytes_max: int) -> None:
        """Read the body once, and never more of it than the limit. Raises: HTTPException, InvalidInput."""
        _require_json(self)
        announced = self.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > bytes_max:
            raise _too_large(bytes_max)
        body = bytearray()
        async for piece in self.stream():
            body += piece
            if len(body) > bytes_max:
                raise _too_large(bytes_max)
        self._body = bytes(body)
        self.document = strict_loads(self._body)


class StrictRoute(APIRoute):
    """A route that takes JSON bodies only, and only strict ones."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            if self.body_field is not None:
                # Here and not when FastAPI calls json(): it would turn any error into a bare 400.
                await strict.read(request.app.state.body_max_bytes)
            return await handle(strict)

        return handle_strictly


def strict_loads(document: bytes, called: str = "body") -> object:
    """Parse one JSON document.

    Args:
        document: All of it.
        called: What it is, for whoever reads why it was refused; what it says is not repeated.

    Raises: InvalidInput.
    """
    try:
        # orjson refuses NaN, lone surrogates, bad UTF-8 and deep nesting, but not duplicates.
        orjson.loads(document)
        return json.loads(document, object_pairs_hook=_unique_members)
    except orjson.JSONDecodeError as bad:
        line = f"line {bad.lineno}, " if bad.lineno > 1 else ""
        raise InvalidInput("", f"the {called} is not strict JSON at {line}column {bad.colno}") from None
    except _Twice:
        raise InvalidInput("", f"the {called} has a member twice") from None
    except (ValueError, RecursionError):
        raise InvalidInput("", f"the {called} is not strict JSON") from None


class _Twice(Exception):
    """An object has two members of one name."""


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Twice
    return members


def _too_large(bytes_max: int) -> HTTPException:
    # What is left of the body will not be read, so the connection cannot be used again.
    return HTTPException(413, f"the body must not exceed {bytes_max} bytes", {"connection": "close"})


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(415, "the body must be application/json")
