"""The gateway's own paths, on whichever port: whole, checked messages for FastAPI.

Rule: uvicorn's own protocol sees one canonical message after the other, each made anew from a checked head.
"""

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from app.proxy.downstream.asgi_answer import Answer
from app.proxy.downstream.whole_body import CollectedBody, Serving
from app.proxy.http1.framing import CRLF, TARGET
from app.proxy.http1.request_head import RequestHead, malformed

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

OWN_PREFIX: Final = b"/turnback/"
FEEDBACK_PATH: Final = b"/turnback/v1/feedback"
_FRAMING: Final = (b"content-length:", b"transfer-encoding:")
_ACTOR: Final = b"x-turnback-actor: "
_CLOSE: Final = b"\r\nconnection: close"
# What a rule and a handler cannot read differently: nothing escaped, no dot segment, no empty one, no ";".
_PLAIN: Final = re.compile(rb"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)+/?|/")


class OwnRequest:
    """One request to the gateway itself."""

    __slots__ = ("_head", "_request", "body")

    def __init__(self, request: RequestHead, request_id: bytes, body: CollectedBody) -> None:
        """Raises: Refused: its path could be read in two ways."""
        if not _PLAIN.fullmatch(request.url.partition(b"?")[0]) or not TARGET.fullmatch(request.url):
            raise malformed("a path of the gateway's own is made of plain, unescaped segments")
        self.body = body
        self._request = request
        fields = [line for line in request.lines if not line.startswith(_FRAMING)]
        if request.actor:
            fields.append(_ACTOR + request.actor)
        self._head = CRLF.join(
            (
                b"%b %b HTTP/1.1" % (request.method, request.url),
                b"host: " + request.authority,
                b"x-request-id: " + request_id,
                *fields,
            )
        )

    def go_on(self, connection: Serving) -> None:
        close = _CLOSE if connection.is_last(self._request) else b""
        length = self.body.size
        connection.hand_over(b"%b%b\r\ncontent-length: %d\r\n%b" % (self._head, close, length, self.body.tail()))


class Uvicorn:
    """What uvicorn handed to a protocol of ours, and its own protocol would take."""

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

    def answer(self) -> Answer:
        """Uvicorn's own protocol, for one request."""
        return Answer(self._config, self.server_state, self._app_state, self.loop)
