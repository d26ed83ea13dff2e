"""What a client gets to read, by h11: an implementation of HTTP/1.1 that shares no line with ours."""

from collections.abc import Sequence
from dataclasses import dataclass

import h11

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class ReadAnswer:
    """One final response.

    Attributes:
        fields: Lower-case names and values, in order.
        body: Decoded; as far as it came.
        complete: False when it broke off.
    """

    status: int
    fields: Fields
    body: bytes
    complete: bool

    def value(self, name: bytes) -> bytes | None:
        """The value of the only field of that name, None without one."""
        values = [value for key, value in self.fields if key == name]
        assert len(values) <= 1, values
        return values[0] if values else None


class NotHttp(Exception):
    """The bytes are no response, whatever may still come."""


def read_answers(wire: bytes, methods: Sequence[bytes], *, ended: bool) -> list[ReadAnswer]:
    """The answers to requests of these methods, as far as they came. Raises: NotHttp.

    Args:
        wire: Everything the client received over one connection.
        methods: What was asked, in order; the last one stands for all that follow.
        ended: Whether the connection ended after these bytes.
    """
    answers: list[ReadAnswer] = []
    while wire:
        method = methods[min(len(answers), len(methods) - 1)] if methods else b"GET"
        answer, wire = _read_one(wire, method, ended=ended)
        if answer is not None:
            answers.append(answer)
    return answers


def _read_one(wire: bytes, method: bytes, *, ended: bool) -> tuple[ReadAnswer | None, bytes]:
    """The first answer, None when not even its head is whole, and the bytes behind it."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(wire)
    head: h11.Response | None = None
    body = b""
    event = _next_event(connection, ended=ended)
    while isinstance(event, h11.InformationalResponse | h11.Response | h11.Data):
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        event = _next_event(connection, ended=ended)
    complete = isinstance(event, h11.EndOfMessage)
    rest = connection.trailing_data[0] if complete else b""
    if head is None:
        return None, rest
    return ReadAnswer(
        head.status_code, [(bytes(name), bytes(value)) for name, value in head.headers], body, complete
    ), rest


def _next_event(connection: h11.Connection, *, ended: bool) -> object:
    """What comes next; NEED_DATA where the bytes, or the connection, end too early. Raises: NotHttp."""
    try:
        event = connection.next_event()
        if event is h11.NEED_DATA and ended:
            connection.receive_data(b"")
            event = connection.next_event()
    except h11.RemoteProtocolError as error:
        # h11 speaks of a peer that closed in the middle; anything else is no HTTP at all.
        if "closed connection" not in str(error):
            raise NotHttp(str(error)) from None
        return h11.NEED_DATA
    return event
