"""Bodies are strict JSON, or they are refused before anybody looks inside.

Rule: no other media type, and never a guess.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.strict_json import strict_loads


class StrictRequest(Request):  # ADR 0031
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


def _too_large(bytes_max: int) -> HTTPException:
    # What is left of the body will not be read, so the connection cannot be used again.
    return HTTPException(413, f"the body must not exceed {bytes_max} bytes", {"connection": "close"})


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(415, "the body must be application/json")
