"""What one upstream's response head says, and how the body after it is framed.

Rule: an upstream is not trusted more than a client: a head that is not plainly framed is broken,
and of a broken head nothing is forwarded.
"""

from typing import TYPE_CHECKING, Final

from app.proxy import framing

if TYPE_CHECKING:
    import httptools

# How the response's body ends.
NO_BODY: Final = 0
BY_LENGTH: Final = 1
BY_CHUNKS: Final = 2
BY_CLOSE: Final = 3

MAX_INTERIM: Final = 8
_crossing: Final = framing.RESPONSE_NAMES.crossing
_special: Final = framing.RESPONSE_NAMES.special


class Broken(Exception):
    """Stops the parser: the response cannot be used."""


class ResponseHead:
    """Accumulates one head; `renew` makes it ready for the next.

    Attributes:
        lines: `name: value` of every field that crosses; the first place is for the status line.
        length: The declared body length, -1 when none is declared.
        interim: Interim (1xx) heads seen before the final one.
    """

    __slots__ = (
        "_chunked",
        "_max_fields",
        "_nominated",
        "_parser",
        "complete",
        "interim",
        "keep_alive",
        "length",
        "lines",
        "status",
    )

    def __init__(self, max_fields: int) -> None:
        self._max_fields = max_fields
        self._parser: httptools.HttpResponseParser | None = None
        self.renew()

    def renew(self) -> None:
        self.complete = False
        self.interim = 0
        self._renew_fields()

    def _renew_fields(self) -> None:
        self.lines: list[bytes] = [b""]
        self.length = -1
        self.status = 0
        self.keep_alive = True
        self._chunked = False
        self._nominated: frozenset[bytes] | None = None

    def read_by(self, parser: "httptools.HttpResponseParser") -> None:
        """Name the parser that calls back: the status is asked of it."""
        self._parser = parser

    def framing(self, *, to_head: bool) -> int:
        """How the body ends (RFC 9112 §6.3).

        Args:
            to_head: Whether the request was HEAD.
        """
        if to_head or self.status == 304 or self.status == 204:
            return NO_BODY
        if self.length >= 0:
            return BY_LENGTH
        return BY_CHUNKS if self._chunked else BY_CLOSE

    # ------------------------------------------------------------------ called by llhttp

    def on_message_begin(self) -> None:
        if self.complete:
            raise Broken

    def on_header(self, name: bytes, value: bytes) -> None:
        start = _crossing.get(name)
        if start is not None:
            self.lines.append(start + value)
            return
        meaning = _special.get(name)
        if meaning == framing.CONTENT_LENGTH:
            self._content_length(value)
        elif meaning != framing.DROP:
            self._other(meaning, name, value)

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser is None or len(self.lines) > self._max_fields:
            raise Broken
        self.status = parser.get_status_code()
        if self.status < 200:
            self._interim()
            return
        self.keep_alive = parser.should_keep_alive()
        if self.status > 599 or (self._chunked and self.length >= 0):
            raise Broken
        if self._nominated is not None and not self._nominated <= _PLAIN_OPTIONS:
            self.lines = [b"", *framing.without_nominated(self.lines[1:], self._nominated)]
        self.complete = True

    # ------------------------------------------------------------------ fields

    def _content_length(self, value: bytes) -> None:
        length = framing.content_length(value)
        if length < 0 or self.length >= 0:
            raise Broken
        self.length = length

    def _other(self, meaning: int | None, name: bytes, value: bytes) -> None:
        if meaning is None:
            meaning = framing.RESPONSE_NAMES.learn(name)
        if meaning is None:
            self.lines.append(name.lower() + b": " + value)
        elif meaning == framing.TRANSFER_ENCODING:
            if self._chunked or value.strip(b" \t").lower() != b"chunked":
                raise Broken
            self._chunked = True
        elif meaning == framing.CONNECTION:
            self._connection(value)
        elif meaning == framing.CONTENT_LENGTH:
            self._content_length(value)
        elif meaning == framing.REFUSE:
            raise Broken

    def _connection(self, value: bytes) -> None:
        options = framing.connection_options(value)
        if options is None:
            raise Broken
        self._nominated = options if self._nominated is None else self._nominated | options

    def _interim(self) -> None:
        if self.status < 100 or self.status == 101 or self.interim == MAX_INTERIM:
            raise Broken
        interim = self.interim + 1
        self._renew_fields()
        self.interim = interim


_PLAIN_OPTIONS: Final = frozenset((b"close", b"keep-alive"))
