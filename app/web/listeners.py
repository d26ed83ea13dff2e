"""Several HTTP servers in one event loop: bound before anything starts, stopped when main says so.

Rule: a server here owns neither signals nor logging; main does.
"""

import asyncio
import math
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from app.errors import CannotServe


class Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # ADR 0030
        yield


@dataclass(frozen=True, slots=True)
class Listener:
    """One bound socket and the server that will answer on it."""

    name: str
    socket: socket.socket
    server: Server

    @property
    def address(self) -> str:
        """`host:port` as it is bound, the port a real one."""
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def serve(self) -> None:
        await self.server.serve(sockets=[self.socket])

    async def drain(self, serving: "asyncio.Task[None]") -> None:
        """Stop accepting, let running exchanges finish within the grace time, return when all is closed."""
        self.server.should_exit = True
        await asyncio.wait([serving])


def bind(name: str, host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet. Raises: CannotServe."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind(address)
    except OSError as refused:
        raise CannotServe(
            f"The {name} listener cannot bind to {host}:{port} ({refused.strerror or refused});"
            f" choose another with TURNBACK_{name.upper()}_PORT or TURNBACK_{name.upper()}_HOST."
        ) from None
    return bound


def listener(
    name: str,
    bound: socket.socket,
    app: ASGIApp,
    *,
    drain_s: float,
    http: Callable[..., asyncio.Protocol],
) -> Listener:
    """Prepare a server for a bound socket.

    Args:
        name: What it is called in logs and settings.
        bound: The socket.
        app: Answers what is not inference.
        drain_s: What running requests have to finish when the process ends.
        http: Makes the protocol of a connection; there is no default, because uvicorn's own reads heads without end.
    """
    config = uvicorn.Config(
        app,
        http=http,  # type: ignore[arg-type]  # uvicorn calls it, its annotation asks for a class
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=math.ceil(drain_s),
        backlog=2_048,
    )
    return Listener(name, bound, Server(config))
