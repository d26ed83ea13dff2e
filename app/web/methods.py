"""HEAD wherever GET is, OPTIONS everywhere, and the true `Allow`, from the route table itself.

Rule: a path takes what its routes take, all of them; FastAPI has one route for each method and would
name the first one's alone (ADR 0137).
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def taken(scope: Scope) -> list[str]:
    """The methods the path of a request takes; empty when there is nothing at it."""
    routes: list[BaseRoute] = scope["app"].routes
    found = [method for method in _METHODS if _leads_somewhere(routes, {**scope, "method": method})]
    if "GET" in found:
        found.append("HEAD")
    return [*found, "OPTIONS"] if found else []


def allow(request: Request) -> str:
    """The value of `Allow` for the path of a request."""
    return ", ".join(taken(request.scope))


class Methods:
    """ASGI middleware that answers HEAD and OPTIONS for every route there is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["type"] == "http" else ""
        if method == "OPTIONS" and (methods := taken(scope)):
            await Response(status_code=204, headers={"allow": ", ".join(methods)})(scope, receive, send)
        elif method == "HEAD" and "HEAD" in taken(scope):
            # The head is GET's; that a body does not follow it is the listener's doing as well.
            await self.app({**scope, "method": "GET"}, receive, _without_body(send))
        else:
            await self.app(scope, receive, send)


def _leads_somewhere(routes: list[BaseRoute], scope: Scope) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in routes)


def _without_body(send: Send) -> Send:
    """Ends the answer with its first piece, so that nothing goes on being read for nobody."""
    is_over = False

    async def send_head(message: Message) -> None:
        nonlocal is_over
        if message["type"] == "http.response.start":
            await send(message)
        elif not is_over:
            is_over = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_head
