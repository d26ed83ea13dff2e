"""What one request's head says: llhttp calls back, the strict rules of this gateway decide.

Rule: a head is complete and unrefused, or nothing of its request is forwarded.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from app.proxy import framing, problems
from app.proxy.limits import Limits
from app.proxy.problems import Problem

if TYPE_CHECKING:
    import httptools

METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"))
METHODS_WITH_BODY: Final = frozenset((b"POST", b"PUT", b"PATCH"))
MAX_KNOWN_HOSTS: Final = 1024
MAX_KNOWN_HOST: Final = 255
_crossing: Final = framing.REQUEST_NAMES.crossing
_special: Final = framing.REQUEST_NAMES.special
_known_hosts: Final[dict[bytes, bytes]] = {}


class Refused(Exception):
    """Stops the parser: the head's `refusal` says why."""


class NextMessage(Exception):
    """Stops the parser: bytes of a following request came in the same read."""


class RequestHead:
    """Accumulates one head; `renew` makes it ready for the next.

    Attributes:
        lines: `name: value` of every field that crosses; the first two places are for the
            request line and the upstream's host.
        length: Declared body length, 0 without a body, -1 when chunked.
        authority: The client's Host (or absolute-form authority), as sent; empty on HTTP/1.0 without one.
        host: The same in lower case without its port.
        request_id: The client's own when sane, else empty.
        keep_alive: Whether the client lets the connection stay.
        refusal: Why this request is not served, with one sentence.
    """

    __slots__ = (
        "_hosts",
        "_length",
        "_limits",
        "_nominated",
        "_parser",
        "_seen",
        "_transfer_encoding",
        "_upgrade",
        "authority",
        "complete",
        "expect_continue",
        "host",
        "http_1_0",
        "keep_alive",
        "length",
        "lines",
        "method",
        "refusal",
        "request_id",
        "url",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser: httptools.HttpRequestParser | None = None
        self.renew()

    def renew(self) -> None:
        self.complete = False
        self.refusal: tuple[Problem, str] | None = None
        self.method = b""
        self.url = b""
        self.lines: list[bytes] = [b"", b""]
        self.length = 0
        self.authority = b""
        self.host = b""
        self.request_id = b""
        self.keep_alive = True
        self.http_1_0 = False
        self.expect_continue = False
        self._hosts = 0
        self._length = -1
        self._transfer_encoding: bytes | None = None
        self._nominated: frozenset[bytes] | None = None
        self._upgrade: bytes | None = None
        self._seen: set[bytes] | None = None

    def read_by(self, parser: "httptools.HttpRequestParser") -> None:
        """Name the parser that calls back: the method and the version are asked of it."""
        self._parser = parser

    def refuse(self, problem: Problem, detail: str) -> Refused:
        """Note why; the caller raises what this returns."""
        if self.refusal is None:
            self.refusal = (problem, detail)
        return Refused()

    # ------------------------------------------------------------------ called by llhttp

    def on_url(self, url: bytes) -> None:
        if self.complete:
            raise NextMessage
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        start = _crossing.get(name)
        if start is not None:
            self.lines.append(start + value)
            return
        meaning = _special.get(name)
        if meaning == framing.HOST_FIELD:
            self._hosts += 1
            self.authority = value
        elif meaning == framing.CONTENT_LENGTH:
            self._content_length(value)
        elif meaning is not None:
            self._other(meaning, name, value)
        else:
            self._unseen(name, value)

    def on_headers_complete(self) -> None:
        self.complete = True
        parser = self._parser
        if parser is None:
            raise self.refuse(problems.MALFORMED_REQUEST, "the parser is gone")
        self.method = parser.get_method()
        self._check_shape()
        if parser.get_http_version() != "1.1":
            self._older_version(parser.get_http_version())
        self._check_host()
        if self._transfer_encoding is not None:
            self._check_transfer_encoding(self._transfer_encoding)
        elif self._length >= 0:
            self.length = self._length
            self.lines.append(b"content-length: %d" % self._length)
            if self._length > self._limits.body_bytes:
                raise self.refuse(problems.BODY_TOO_LARGE, f"at most {self._limits.body_bytes} bytes are taken")
        elif self.method in METHODS_WITH_BODY:
            self.lines.append(b"content-length: 0")
        if self._upgrade is not None and self._upgrade != b"h2c":
            raise self.refuse(problems.UPGRADE_NOT_IMPLEMENTED, "connect without an Upgrade field")

    # ------------------------------------------------------------------ fields

    def _unseen(self, name: bytes, value: bytes) -> None:
        meaning = framing.REQUEST_NAMES.learn(name)
        if meaning is None:
            self.lines.append(name.lower() + b": " + value)
        elif meaning == framing.HOST_FIELD:
            self._hosts += 1
            self.authority = value
        elif meaning == framing.CONTENT_LENGTH:
            self._content_length(value)
        else:
            self._other(meaning, name, value)

    def _other(self, meaning: int, name: bytes, value: bytes) -> None:
        if meaning != framing.DROP:
            _OTHER_FIELDS[meaning](self, name, value)

    def _content_length(self, value: bytes) -> None:
        length = framing.content_length(value)
        if length < 0 or self._length >= 0:
            raise self.refuse(problems.MALFORMED_REQUEST, "Content-Length must be one plain decimal number")
        self._length = length

    def _on_transfer_encoding(self, name: bytes, value: bytes) -> None:
        if self._transfer_encoding is not None:
            raise self.refuse(problems.MALFORMED_REQUEST, "Transfer-Encoding must be given once")
        self._transfer_encoding = value.strip(b" \t").lower()

    def _on_connection(self, name: bytes, value: bytes) -> None:
        options = framing.connection_options(value)
        if options is None:
            raise self.refuse(problems.MALFORMED_REQUEST, "Connection must be a list of tokens")
        self._nominated = options if self._nominated is None else self._nominated | options

    def _on_request_id(self, name: bytes, value: bytes) -> None:
        if framing.is_sane_request_id(value):
            self.request_id = value

    def _on_expect(self, name: bytes, value: bytes) -> None:
        if value.strip(b" \t").lower() != b"100-continue":
            raise self.refuse(problems.EXPECTATION_FAILED, "the Expect field asks for something unknown")
        self.expect_continue = True

    def _on_upgrade(self, name: bytes, value: bytes) -> None:
        self._upgrade = value.strip(b" \t").lower()

    def _on_singleton(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if self._seen is None:
            self._seen = {lower}
        elif lower in self._seen:
            raise self.refuse(problems.MALFORMED_REQUEST, "a field that must be single is repeated")
        else:
            self._seen.add(lower)
        self.lines.append(lower + b": " + value)

    def _on_refused(self, name: bytes, value: bytes) -> None:
        raise self.refuse(problems.MALFORMED_REQUEST, "a field name has an underscore or imitates framing")

    # ------------------------------------------------------------------ the head as a whole

    def _check_shape(self) -> None:
        if self.method not in METHODS:
            raise self.refuse(problems.METHOD_NOT_IMPLEMENTED, "use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")
        if len(self.url) > self._limits.url_bytes:
            raise self.refuse(problems.URL_TOO_LONG, f"at most {self._limits.url_bytes} bytes are taken")
        if len(self.lines) - 2 > self._limits.fields:
            raise self.refuse(problems.HEAD_TOO_LARGE, f"at most {self._limits.fields} fields are taken")
        options = self._nominated
        if options is not None:
            self.keep_alive = b"close" not in options
            if not options <= _PLAIN_OPTIONS:
                self.lines = self.lines[:2] + framing.without_nominated(self.lines[2:], options)

    def _older_version(self, version: str) -> None:
        if version != "1.0":
            raise self.refuse(problems.VERSION_NOT_SUPPORTED, "use HTTP/1.1")
        if self._transfer_encoding is not None:
            raise self.refuse(problems.MALFORMED_REQUEST, "HTTP/1.0 has no Transfer-Encoding")
        self.http_1_0 = True
        self.keep_alive = False
        self.expect_continue = False

    def _check_host(self) -> None:
        if self.url[:1] != b"/" and self.url != b"*":
            self._absolute_form()
        if self._hosts != 1:
            if self._hosts or not self.http_1_0:
                raise self.refuse(problems.MALFORMED_REQUEST, "exactly one Host field is needed")
            return
        host = _known_hosts.get(self.authority)
        if host is None:
            host = framing.host_without_port(self.authority)
            if host is None:
                raise self.refuse(problems.MALFORMED_REQUEST, "the Host field is not a host")
            if len(self.authority) <= MAX_KNOWN_HOST and len(_known_hosts) < MAX_KNOWN_HOSTS:
                _known_hosts[self.authority] = host
        self.host = host

    def _absolute_form(self) -> None:
        """Make the target an origin-form one; its authority must be the Host (RFC 9112 §3.2.2)."""
        scheme, separator, rest = self.url.partition(b"://")
        slash = rest.find(b"/")
        authority, path = (rest, b"/") if slash < 0 else (rest[:slash], rest[slash:])
        if "?" in authority.decode("latin-1") or not separator or scheme.lower() not in (b"http", b"https"):
            raise self.refuse(problems.MALFORMED_REQUEST, "the target is neither a path nor an http address")
        if self._hosts == 1 and authority.lower() != self.authority.strip(b" \t").lower():
            raise self.refuse(problems.MALFORMED_REQUEST, "the target's authority is not the Host")
        self.url = path

    def _check_transfer_encoding(self, coding: bytes) -> None:
        if coding != b"chunked" or self._length >= 0:
            raise self.refuse(problems.MALFORMED_REQUEST, "only Transfer-Encoding: chunked, without Content-Length")
        self.length = -1
        self.lines.append(b"transfer-encoding: chunked")


_PLAIN_OPTIONS: Final = frozenset((b"close", b"keep-alive"))
_OTHER_FIELDS: Final[Mapping[int, Callable[[RequestHead, bytes, bytes], None]]] = {
    framing.TRANSFER_ENCODING: RequestHead._on_transfer_encoding,
    framing.CONNECTION: RequestHead._on_connection,
    framing.REQUEST_ID: RequestHead._on_request_id,
    framing.EXPECT: RequestHead._on_expect,
    framing.UPGRADE: RequestHead._on_upgrade,
    framing.SINGLETON: RequestHead._on_singleton,
    framing.REFUSE: RequestHead._on_refused,
}
