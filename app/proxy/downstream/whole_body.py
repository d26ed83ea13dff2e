"""Bodies that have to be whole before their request can go on, and the memory they may take together.

Rule: every byte held is counted against the process until its request is answered or gone.
"""

from typing import Final, Protocol

from app.proxy.bounds.memory import CollectedBytes
from app.proxy.http1 import problems
from app.proxy.http1.body_model import find_model
from app.proxy.http1.framing import CRLF
from app.proxy.http1.request_head import Refused, RequestHead, body_too_large

# Where the body names the model: OpenAI's paths, and Anthropic's.
NAMED_IN_BODY: Final = frozenset(
    (b"/v1/chat/completions", b"/v1/completions", b"/v1/embeddings", b"/v1/responses", b"/v1/messages")
)


class CollectedBody:
    """One body as it comes.

    Attributes:
        size: Bytes so far.
    """

    __slots__ = ("_held", "_limit", "_pieces", "size")

    def __init__(self, limit: int, held: CollectedBytes) -> None:
        self._limit = limit
        self._held = held
        self._pieces = [CRLF]
        self.size = 0

    def add(self, payload: bytes) -> None:
        """Body bytes, decoded. Raises: Refused."""
        if self.size + len(payload) > self._limit:
            raise body_too_large(self._limit)
        if not self._held.take(len(payload)):
            raise Refused(problems.GATEWAY_OVERLOADED, "other requests' bodies take all the memory there is for them")
        self.size += len(payload)
        self._pieces.append(payload)

    def tail(self) -> bytes:
        """All of it, behind the line end that stands before a body; to be taken once."""
        whole = b"".join(self._pieces)
        self._pieces = []
        return whole

    def release(self) -> None:
        """Give the memory back."""
        self._held.give_back(self.size)
        self._pieces = []
        self.size = 0


class WholeRequest(Protocol):
    """A request that waits for its body."""

    body: CollectedBody

    def go_on(self, connection: "Serving") -> None:
        """The body is whole. Raises: Refused."""


class Serving(Protocol):
    """What such a request does with its connection in the end."""

    def is_last(self, request: RequestHead) -> bool:
        """Whether the connection ends with an answer given now."""

    def hand_over(self, message: bytes) -> None:
        """Let the listener's application answer this message."""

    def answer_options(self, request: RequestHead) -> None:
        """Say what the server as a whole can do."""

    def serve_named(self, request: RequestHead, tail: bytes, name: bytes, span: tuple[int, int]) -> None:
        """Begin the exchange of a request whose body names its model."""


class NamedInBody:
    """A request whose body has to be read to know its model."""

    __slots__ = ("_request", "body")

    def __init__(self, request: RequestHead, body: CollectedBody) -> None:
        self._request = request
        self.body = body

    def go_on(self, connection: Serving) -> None:
        """Find the model, and serve the request with its body by length. Raises: Refused."""
        tail = self.body.tail()
        field = find_model(tail)
        request = self._request.by_length(len(tail) - len(CRLF))
        span = (field.start - len(CRLF), field.end - len(CRLF))
        connection.serve_named(request, tail, field.name, span)


class ServerOptions:
    """OPTIONS of the server itself, whose body nobody wants but has to be over."""

    __slots__ = ("_request", "body")

    def __init__(self, request: RequestHead, body: CollectedBody) -> None:
        self._request = request
        self.body = body

    def go_on(self, connection: Serving) -> None:
        connection.answer_options(self._request)


def is_named_in_body(request: RequestHead) -> bool:
    """Whether only its body can say which model a request without a route is for."""
    return request.method == b"POST" and request.url.partition(b"?")[0] in NAMED_IN_BODY
