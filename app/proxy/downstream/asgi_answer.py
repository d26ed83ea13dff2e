"""One answer of a FastAPI application over a connection that stays ours.

Rule: uvicorn's own protocol sees one canonical message and may only write and end; what a client sends
meanwhile, how fast it reads and what comes next is the connection's affair.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState


class Asking(Protocol):
    """The connection an answer is for."""

    def answer_ended(self, *, close: bool) -> None:
        """The answer is written, or nothing more of it will come; the latter always closes."""


class Answer(HttpToolsProtocol):
    """uvicorn's protocol for one request, made when that is whole and dropped when it is answered."""

    def __init__(
        self,
        config: "Config",
        server_state: "ServerState",
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._wire: _Wire | None = None

    def begin(self, message: bytes, transport: asyncio.Transport, asking: Asking) -> None:
        """Have the application answer one whole request, framed by its length."""
        self._wire = _Wire(transport, asking)
        self.connection_made(self._wire)
        # The connection is counted already, and told by uvicorn when the server ends.
        self.connections.discard(self)
        self.data_received(message)

    @property
    def is_stream(self) -> bool:
        """Whether an answer of unknown length has begun: it lasts as long as there is something to tell."""
        return self.cycle.response_started and bool(self.cycle.chunked_encoding)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self._wire is not None:
            self._wire.end(close=False)

    def leave(self) -> None:
        """The client is gone; the application hears of it."""
        if self._wire is not None:
            self._wire.is_over = True
        self.connection_lost(None)


class _Wire(asyncio.Transport):
    """The transport uvicorn's protocol sees.

    Attributes:
        is_over: Whether this answer has nothing to do with the connection any more.
    """

    def __init__(self, transport: asyncio.Transport, asking: Asking) -> None:
        super().__init__()
        self._transport = transport
        self._asking = asking
        self.is_over = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 -- as asyncio has it
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self.is_over or self._transport.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.is_over:
            self._transport.write(data)

    def close(self) -> None:
        """End the connection, with a whole answer or without."""
        self.end(close=True)

    def end(self, *, close: bool) -> None:
        if not self.is_over:
            self.is_over = True
            self._asking.answer_ended(close=close)

    def pause_reading(self) -> None:
        """The message is whole already."""

    def resume_reading(self) -> None:
        """The connection decides when its client may go on."""
