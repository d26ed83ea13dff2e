"""An upstream connection as those see it whose requests it carries, and they as it sees them."""

from typing import Protocol

from app.proxy.http1.response_head import ResponseHead


class Answered(Protocol):
    """What an upstream connection needs of the exchange it serves.

    What is called many times takes its arguments by position: compiled code finds them sooner.
    """

    to_head: bool
    body_ended: bool

    def upstream_connected(self) -> None: ...
    def connect_failed(self, *, own_fault: bool) -> None: ...
    def head_received(self, head: ResponseHead, framing: int, tail: bytes, ended: bool) -> None: ...
    def body_received(self, data: bytes, ended: bool, wire: bytes) -> None: ...
    def upstream_broke(self, *, stale: bool, malformed: bool) -> None: ...
    def upstream_full(self) -> None: ...
    def upstream_drained(self) -> None: ...


class Carrier(Protocol):
    """A connection that serves one exchange after the other.

    Attributes:
        idle_since: When a sweep first saw it idle, on the monotonic clock; 0 when not yet.
    """

    idle_since: float

    def open_for(self, exchange: Answered) -> None:
        """Connect; the exchange hears `upstream_connected` or `connect_failed`."""

    def send(self, exchange: Answered, payload: bytes) -> None:
        """Serve the next exchange over this idle connection."""

    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def drop(self) -> None:
        """The exchange is over or lost interest: cut the connection at once."""

    def close(self) -> None:
        """Leave the pool and close."""
