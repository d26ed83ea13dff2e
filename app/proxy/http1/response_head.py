"""What one upstream's response head says, and how the body after it is framed.

Rule: an upstream is not trusted more than a client: a head that is not plainly framed is broken,
and of a broken head nothing is forwarded.
"""

from collections.abc import Iterable
from typing import Final

from app.proxy.bounds.limits import Limits
from app.proxy.http1 import framing
from app.proxy.http1.framing import CRLF, HEAD_END
from app.proxy.http1.problems import STATUS_LINES

# How the response's body ends (RFC 9112 §6.3).
NO_BODY: Final = 0
BY_LENGTH: Final = 1
BY_CHUNKS: Final = 2
BY_CLOSE: Final = 3

# What a body is, as far as anybody who follows it wants to know.
OTHER: Final = 0
JSON: Final = 1
JSON_LINES: Final = 2
EVENT_STREAM: Final = 3

_STATUS: Final = len(b"HTTP/1.1 ")
_LENGTH_START: Final = b"content-length: "


class Broken(Exception):
    """The response cannot be used."""


class Content:
    """What a head says of the body's content.

    Attributes:
        kind: OTHER, JSON, JSON_LINES or EVENT_STREAM, by the Content-Type.
        coding: The Content-Encoding in lower case, empty when there is none.
        header_length: How many bytes of JSON stand before the binary tensors (Triton's binary data
            extension); -1 when there are none, or the field is no number.
    """

    __slots__ = ("coding", "header_length", "kind")

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Look for the three fields among a head's lines."""
        self.kind = OTHER
        self.coding = b""
        self.header_length = -1
        for line in lines:
            name, _, value = line.partition(b":")
            if len(name) in _CONTENT_NAMES:
                self._take(name.lower(), value.strip(framing.BLANKS))

    def _take(self, name: bytes, value: bytes) -> None:
        if name == b"content-type":
            media_type = value.partition(b";")[0].rstrip(framing.BLANKS).lower()
            is_json = media_type.endswith(b"+json")
            self.kind = _KINDS.get(media_type, JSON if is_json else OTHER)
        elif name == b"content-encoding":
            coding = value.lower()
            coding = b"" if coding == b"identity" else coding
            # More than one coding is none that is known.
            self.coding = self.coding + b"," + coding if self.coding else coding
        elif name == b"inference-header-content-length":
            self.header_length = framing.content_length(value)


class ResponseHead:
    """What one final response's head says; not changed once it has been read, so that responses alike share it.

    Attributes:
        status: 200 to 599.
        lines: Every field line that crosses, as it came, and the length.
        front: The status line and the same, joined.
        whole: The head as it came, with the blank line that ends it.
        length: The declared body length, -1 when none is declared.
        keep_alive: Whether the upstream lets the connection stay.
    """

    __slots__ = (
        "_content",
        "_nominated",
        "_transfer_encoding",
        "front",
        "keep_alive",
        "length",
        "lines",
        "status",
        "whole",
    )

    def __init__(self, head: bytes, limits: Limits) -> None:
        """Read a head without its final blank line. Raises: Broken."""
        self.lines: list[bytes] = []
        self.length = -1
        self.keep_alive = True
        self._transfer_encoding: bytes | None = None
        self._nominated: frozenset[bytes] | None = None
        self._content: Content | None = None
        fields = head.split(CRLF)
        self.status = STATUSES.get(fields[0][_STATUS : _STATUS + 3], 0)
        if not self.status or len(fields) > limits.response_fields or len(head) > limits.response_head_bytes:
            raise Broken
        _NAMES.read(self, fields)
        self._settle(is_old=not head.startswith(b"HTTP/1.1"))
        self.whole = head + HEAD_END
        self.front = CRLF.join([STATUS_LINES[self.status], *self.lines])

    def _settle(self, *, is_old: bool) -> None:
        """What the fields mean together. Raises: Broken."""
        if is_old:
            self.keep_alive = False
        if self._transfer_encoding is not None:
            self._check_transfer_encoding(self._transfer_encoding, is_old=is_old)
        if self._nominated is not None:
            self._apply_options(self._nominated)
        if self.status == 204:
            # It has no content, so it must not have a length either (RFC 9110 §8.6).
            self.lines = [line for line in self.lines if not line.startswith(_LENGTH_START)]

    @property
    def content(self) -> Content:
        """What the body is, looked up by the first who asks; answers that nobody follows never pay for it."""
        content = self._content
        if content is None:
            content = self._content = Content(self.lines)
        return content

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

    def _check_transfer_encoding(self, value: bytes, *, is_old: bool) -> None:
        """Take chunks and nothing else, and never from HTTP/1.0 (RFC 9112 §6.1). Raises: Broken."""
        if value != b"chunked" or self.length >= 0 or is_old:
            raise Broken
        if self.status in BODILESS:
            # Whoever announces chunks where no body may be is not trusted to send none.
            self.keep_alive = False

    def on_proxy_connection(self, value: bytes) -> None:
        """An old name that llhttp takes for Connection; whoever asks to close with it, gets that."""
        if b"close" in value.lower():
            self.keep_alive = False

    def on_untrusted(self, _value: bytes) -> None:
        raise Broken

    def _apply_options(self, options: frozenset[bytes]) -> None:
        if b"close" in options:
            self.keep_alive = False
        if not options <= framing.PLAIN_OPTIONS:
            self.lines = framing.without_nominated(self.lines, options - _FRAMING)


_KINDS: Final = {
    b"text/event-stream": EVENT_STREAM,
    b"application/json": JSON,
    b"text/json": JSON,
    b"application/x-ndjson": JSON_LINES,
    b"application/ndjson": JSON_LINES,
    b"application/jsonl": JSON_LINES,
    b"application/x-jsonlines": JSON_LINES,
    b"application/json-lines": JSON_LINES,
    b"application/stream+json": JSON_LINES,
}
# So that most other fields are passed over by their length.
_CONTENT_NAMES: Final = frozenset(map(len, (b"content-type", b"content-encoding", b"inference-header-content-length")))
STATUSES: Final = {b"%d" % status: status for status in range(200, 600)}
BODILESS: Final = frozenset((204, 304))
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))
_NAMES: Final = framing.Names[ResponseHead](
    {
        b"content-length": ResponseHead.on_content_length,
        b"transfer-encoding": ResponseHead.on_transfer_encoding,
        b"connection": ResponseHead.on_connection,
        b"proxy-connection": ResponseHead.on_proxy_connection,
    },
    dropped=framing.DROPPED_FROM_RESPONSES,
    untrusted=ResponseHead.on_untrusted,
    strict=False,
)
