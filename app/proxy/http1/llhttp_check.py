"""The second opinion on a request's bytes: llhttp's, asked before anything is forwarded.

Rule: bytes that came behind a complete request are looked at before that request is believed; where they
cannot begin a request, one of the two sides has misread where the first one ended.
"""

import re
from collections.abc import Mapping
from typing import Final

import httptools

from app.proxy.bounds.limits import Limits
from app.proxy.http1 import problems
from app.proxy.http1.framing import CRLF, HEAD_END
from app.proxy.http1.request_head import Refused, RequestHead, malformed

# llhttp is asked only whether it accepts the bytes; nobody listens to what it finds in them.
_NOBODY: Final = object()
# llhttp is generous with blanks in a request line; this reading, like that of whole heads, is not.
_REQUEST_LINE_BEGUN: Final = re.compile(rb"[A-Z][A-Z-]*(?: (?:[\x21-\x7e]+(?: [\x21-\x7e]*)?)?)?\r?")


class Judge:
    """llhttp, following one client connection."""

    __slots__ = ("_parser",)

    def __init__(self) -> None:
        self._parser: httptools.HttpRequestParser | None = None

    def hear(self, data: bytes) -> None:
        """The next bytes of a head. Raises: Refused."""
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(_NOBODY)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # It expects another protocol now, but the offer is not taken up.
            self._parser = None
        except httptools.HttpParserError:
            raise malformed("the request line or a header field cannot be read") from None

    def hear_head(self, data: bytes, request: RequestHead) -> None:
        """Bytes that end this head, perhaps with some of its body. Raises: Refused."""
        self.hear(data)
        if request.has_proxy_connection:
            self._parser = None

    def hear_body(self, data: bytes) -> None:
        """The next bytes of a body by length, if its head was heard."""
        if self._parser is not None:
            self._parser.feed_data(data)

    def forget(self) -> None:
        """Something was not shown, so start afresh with the next head."""
        self._parser = None


def check_next(rest: bytes, limits: Limits, known: Mapping[bytes, RequestHead]) -> None:  # ADR 0060
    """Look at what already follows a complete request.

    Raises: Refused: it cannot be the beginning of a request (one that is only not carried here can).
    """
    rest = rest.lstrip(CRLF)
    end = rest.find(HEAD_END)
    if not rest or rest[: max(end, 0)] in known:
        return
    if end < 0:
        Judge().hear(rest)
        if not _REQUEST_LINE_BEGUN.fullmatch(rest.partition(CRLF)[0]):
            raise malformed("what follows the request cannot begin another one")
        return
    Judge().hear(rest[: end + 4])
    try:
        RequestHead(rest[:end], limits)
    except Refused as refused:
        if refused.problem is problems.MALFORMED_REQUEST:
            raise
