"""An event loop without a network: both ends of every connection live in memory.

Rule: bytes arrive exactly in the pieces in which they are given, so that what TCP does by chance a
test does on purpose. Whatever a protocol raises reaches the test.
"""

import asyncio
from collections.abc import Callable
from typing import Any

PEER = ("192.0.2.1", 1234)


class WirelessTransport(asyncio.Transport):
    """What a protocol holds of its connection.

    Attributes:
        sent: Everything the protocol has written.
        closed: Whether the protocol has ended the connection.
        aborted: Whether it did so by a reset.
        finished: Whether it has said that it writes no more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.sent = b""
        self.closed = self.aborted = self.finished = False
        self.on_write: Callable[[bytes], None] = _nobody_listens
        self._loop = loop
        self._protocol = protocol
        self._unread: list[bytes] = []
        self._reading = True

    # ------------------------------------------------------------------ for the other end

    def deliver(self, data: bytes) -> None:
        """Hand over bytes in one piece; kept back while the protocol does not read."""
        self._unread.append(data)
        self._hand_over()

    def lose(self, error: Exception | None) -> None:
        """The other end closed, or reset, the connection."""
        self._end(error)

    def _hand_over(self) -> None:
        while self._reading and self._unread and not self.closed:
            self._protocol.data_received(self._unread.pop(0))

    # ------------------------------------------------------------------ for the protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closed:
            self.sent += bytes(data)
            self.on_write(bytes(data))

    def write_eof(self) -> None:
        self.finished = True

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self.aborted = True
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            self._loop.call_soon(self._protocol.connection_lost, error)

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self._hand_over)

    def is_reading(self) -> bool:
        return self._reading

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever kept here, so nothing is ever full."""

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 -- as asyncio has it
        return PEER if name == "peername" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol


def _nobody_listens(_data: bytes) -> None:
    """The other end takes the bytes and does nothing."""


class WirelessLoop(asyncio.SelectorEventLoop):
    """Runs protocols; every connection made goes to `accept`.

    Attributes:
        accept: The upstream: hears of each new connection's transport.
        errors: What a callback has raised.
    """

    def __init__(self) -> None:
        super().__init__()
        self.accept: Callable[[WirelessTransport], None] = _nobody_accepts
        self.errors: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, context: self.errors.append(context))

    async def create_connection(  # type: ignore[override]  # the real one has a parameter for every kind of socket
        self, protocol_factory: Callable[[], asyncio.Protocol], *_where: object, **_how: object
    ) -> tuple[WirelessTransport, asyncio.Protocol]:
        return self.connect(protocol_factory())

    def connect(self, protocol: asyncio.Protocol) -> tuple[WirelessTransport, asyncio.Protocol]:
        transport = WirelessTransport(self, protocol)
        self.accept(transport)
        protocol.connection_made(transport)
        return transport, protocol

    def take(self, protocol: asyncio.Protocol) -> WirelessTransport:
        """A connection that somebody made to this protocol."""
        transport = WirelessTransport(self, protocol)
        protocol.connection_made(transport)
        return transport


def _nobody_accepts(transport: WirelessTransport) -> None:
    """Every connection is taken, nothing is answered."""
