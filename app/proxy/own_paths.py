"""The gateway's own paths on the inference port: whole, checked messages for FastAPI.

Rule: uvicorn's own protocol sees one canonical message, made anew from a checked head, and then
the connection ends.
"""

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.proxy.collected_body import CollectedBody, Serving
from app.proxy.framing import CRLF, TARGET
from app.proxy.request_head import RequestHead, malformed

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

OWN_PREFIX: Final = b"/turnback/"
FEEDBACK_PATH: Final = b"/turnback/v1/feedback"
_FRAMING: Final = (b"content-length:", b"transfer-encoding:")
# What a rule and a handler cannot read differently: nothing escaped, no dot segment, no empty one, no ";".
_PLAIN: Final = re.compile(rb"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)+/?")


class OwnRequest:
    """One request to the gateway itself."""

    __slots__ = ("_head", "body")

    def __init__(self, head: RequestHead, request_id: bytes, body: CollectedBody) -> None:
        """Raises: Refused: its path could be read in two ways."""
        if not _PLAIN.fullmatch(head.url.partition(b"?")[0]) or not TARGET.fullmatch(head.url):
            raise malformed("a path under /turnback/ is made of plain, unescaped segments")
        self.body = body
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

    def go_on(self, connection: Serving) -> None:
        connection.hand_over(b"%b\r\ncontent-length: %d\r\n%b" % (self._head, self.body.size, self.body.tail()))


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
