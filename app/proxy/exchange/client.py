"""The connection a request came over, as its exchange sees it."""

from typing import Protocol


class AnsweredClient(Protocol):
    """What an exchange needs of it.

    Attributes:
        is_write_paused: Whether the client does not read its answer fast enough.
        is_read_paused: Whether the client has to wait with its body.
    """

    is_write_paused: bool
    is_read_paused: bool

    def write(self, data: bytes) -> None: ...
    def exchange_ended(self, *, close: bool) -> None: ...
    def cut(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
