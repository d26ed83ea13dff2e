"""The gateway's own paths on the inference port: whole, checked messages for FastAPI.

Rule: uvicorn's own protocol sees one canonical message, made anew from a checked head, and then
the connection ends.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.proxy import problems
from app.proxy.framing import CRLF
from app.proxy.limits import Limits
from app.proxy.request_head import Refused, RequestHead

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

OWN_PREFIX: Final = b"/turnback/"
_FRAMING: Final = (b"content-length:", b"transfer-encoding:")


class OwnRequest:
    """Collects one request to the gateway itself."""

    __slots__ = ("_body", "_head", "_limits", "_size")

    def __init__(self, head: RequestHead, request_id: bytes, limits: Limits) -> None:
        self._limits = limits
        self._body: list[bytes] = []
        self._size = 0
        fields = [line for line in head.lines if not line.startswith(_FRAMING)]
        self._head = CRLF.join(
            (
                b"%b %b HTTP/1.1" % (head.method, head.url),
                b"host: " + head.authority,
                b"connection: close",
                b"x-request-id: " + request_id,
                *fields,
            )
        )

    def add(self, payload: bytes) -> None:
        """Body bytes, decoded. Raises: Refused."""
        self._size += len(payload)
        if self._size > self._limits.own_body_bytes:
            raise Refused(problems.BODY_TOO_LARGE, f"at most {self._limits.own_body_bytes} bytes are taken here")
        self._body.append(payload)

    def message(self) -> bytes:
        return b"%b\r\ncontent-length: %d\r\n\r\n%b" % (self._head, self._size, b"".join(self._body))


class Uvicorn:
    """What uvicorn handed to the data plane's protocol, and its own protocol would take."""

    __slots__ = ("_app_state", "_config", "loop", "server_state")

    def __init__(
        self,
        config: "Config",
        server_state: "ServerState",
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._config = config
        self._app_state = app_state
        self.server_state = server_state
        self.loop = loop

    def serve(self, transport: asyncio.Transport, message: bytes) -> None:
        """Let uvicorn's own protocol serve this message, and all that follows, on the connection."""
        protocol = HttpToolsProtocol(self._config, self.server_state, self._app_state, self.loop)
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        protocol.data_received(message)
