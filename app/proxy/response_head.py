"""What one upstream's response head says, and how the body after it is framed.

Rule: an upstream is not trusted more than a client: a head that is not plainly framed is broken,
and of a broken head nothing is forwarded.
"""

from typing import Final

from app.proxy import framing
from app.proxy.framing import CRLF
from app.proxy.limits import Limits

# How the response's body ends (RFC 9112 §6.3).
NO_BODY: Final = 0
BY_LENGTH: Final = 1
BY_CHUNKS: Final = 2
BY_CLOSE: Final = 3

_STATUS: Final = len(b"HTTP/1.1 ")
_LENGTH_START: Final = b"content-length: "


class Broken(Exception):
    """The response cannot be used."""


class ResponseHead:
    """What one final response's head says; not changed once it has been read, so that responses alike share it.

    Attributes:
        status: 200 to 599.
        lines: Every field line that crosses, as it came, and the length.
        length: The declared body length, -1 when none is declared.
        keep_alive: Whether the upstream lets the connection stay.
    """

    __slots__ = ("_nominated", "_transfer_encoding", "keep_alive", "length", "lines", "status")

    def __init__(self, head: bytes, limits: Limits) -> None:
        """Read a head without its final blank line. Raises: Broken."""
        self.lines: list[bytes] = []
        self.length = -1
        self.keep_alive = True
        self._transfer_encoding: bytes | None = None
        self._nominated: frozenset[bytes] | None = None
        fields = head.split(CRLF)
        self.status = STATUSES.get(fields[0][_STATUS : _STATUS + 3], 0)
        if not self.status or len(fields) > limits.response_fields or len(head) > limits.response_head_bytes:
            raise Broken
        _NAMES.read(self, fields)
        self._settle(head)

    def _settle(self, head: bytes) -> None:
        """What the fields mean together. Raises: Broken."""
        if not head.startswith(b"HTTP/1.1"):
            self.keep_alive = False
        if self._transfer_encoding is not None and (self._transfer_encoding != b"chunked" or self.length >= 0):
            raise Broken
        if self._nominated is not None:
            self._apply_options(self._nominated)
        if self.status == 204:
            # It has no content, so it must not have a length either (RFC 9110 §8.6).
            self.lines = [line for line in self.lines if not line.startswith(_LENGTH_START)]

    def framing(self, *, to_head: bool) -> int:
        """How the body ends.

        Args:
            to_head: Whether the request was HEAD.
        """
        if to_head or self.status in BODILESS:
            return NO_BODY
        if self.length >= 0:
            return BY_LENGTH
        return BY_CLOSE if self._transfer_encoding is None else BY_CHUNKS

    # ------------------------------------------------------------------ fields

    def on_content_length(self, value: bytes) -> None:
        length = framing.content_length(value)
        if length < 0 or self.length >= 0:
            raise Broken
        self.length = length
        self.lines.append(_LENGTH_START + value)

    def on_transfer_encoding(self, value: bytes) -> None:
        if self._transfer_encoding is not None:
            raise Broken
        self._transfer_encoding = value.lower()

    def on_connection(self, value: bytes) -> None:
        if value in framing.KEEP_ALIVE:
            return
        options = framing.connection_options(value)
        if options is None:
            raise Broken
        self._nominated = options if self._nominated is None else self._nominated | options

    def on_untrusted(self, _value: bytes) -> None:
        raise Broken

    def _apply_options(self, options: frozenset[bytes]) -> None:
        if b"close" in options:
            self.keep_alive = False
        if not options <= framing.PLAIN_OPTIONS:
            self.lines = framing.without_nominated(self.lines, options - _FRAMING)


STATUSES: Final = {b"%d" % status: status for status in range(200, 600)}
BODILESS: Final = frozenset((204, 304))
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))
_NAMES: Final = framing.Names[ResponseHead](
    {
        b"content-length": ResponseHead.on_content_length,
        b"transfer-encoding": ResponseHead.on_transfer_encoding,
        b"connection": ResponseHead.on_connection,
    },
    dropped=framing.DROPPED_FROM_RESPONSES,
    untrusted=ResponseHead.on_untrusted,
    strict=False,
)
