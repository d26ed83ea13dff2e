"""A port on which every path is the gateway's own: admin and ops.

Rule: the same strict connection as on the inference port, and nobody who only holds a place keeps it from
one who asks.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from app.proxy.bounds.limits import Limits
from app.proxy.downstream.addressed import Addressees
from app.proxy.downstream.connection import StrictConnection
from app.proxy.downstream.own_paths import Uvicorn
from app.proxy.downstream.port import Port
from app.proxy.downstream.whole_body import ServerOptions
from app.proxy.http1.request_head import RequestHead
from app.proxy.http1.request_heads import Alike

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState


class OwnPort(Port):  # ADR 0135
    """What the connections of the admin port share, or those of the ops port.

    Attributes:
        addressees: Whom requests may be addressed to.
    """

    __slots__ = ("addressees",)

    def __init__(self, limits: Limits, addressees: Addressees) -> None:
        super().__init__(limits)
        self.addressees = addressees

    def refusal(self, address: str, in_all: int) -> str | None:
        """As Port; where all places are taken, the connection that needs its own least makes room."""
        if in_all >= self.limits.connections and self._make_room():
            in_all -= 1
        return super().refusal(address, in_all)

    def _make_room(self) -> bool:
        ranked = [(rank, client) for client in self.clients if (rank := client.dispensable()) is not None]
        if not ranked:
            return False
        min(ranked, key=lambda each: each[0])[1].make_room()
        return True

    def protocol(
        self,
        config: "Config",
        server_state: "ServerState",
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> "OwnConnection":
        """A protocol for one client connection; `http=port.protocol` in uvicorn's configuration."""
        loop = _loop or asyncio.get_running_loop()
        self.keep_sweeping(loop)
        return OwnConnection(self, Uvicorn(config, server_state, app_state, loop))


class OwnConnection(StrictConnection):
    """One connection to such a port."""

    __slots__ = ("_addressees",)

    def __init__(self, port: OwnPort, uvicorn: Uvicorn) -> None:
        super().__init__(port, uvicorn)
        self._addressees = port.addressees

    def _serve(self, request: RequestHead, tail: bytes, started: float, _ids: Alike | None = None) -> None:
        """Let the listener's application answer. Raises: Refused."""
        self._addressees.check(request, self._transport.get_extra_info("sockname"))
        limit = self._port.limits.own_body_bytes
        if request.url == b"*":
            self._begin_whole(request, ServerOptions(request, self._collected(request, limit)), tail, started)
        else:
            self._begin_own(request, limit, tail, started)
