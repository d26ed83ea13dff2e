"""What one request's head says, under the strict rules of this gateway.

Rule: a head is read completely and not refused, or nothing of its request is forwarded. It is
read before llhttp has judged it, so nothing here may trust its syntax.
"""

import re
from typing import Final

from app.proxy.bounds.learned import Learned
from app.proxy.bounds.limits import DEFAULT_LIMITS, Limits
from app.proxy.http1 import framing, problems, trace_context
from app.proxy.http1.forwarded import Relayed
from app.proxy.http1.framing import CRLF
from app.proxy.http1.problems import Problem

METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"))
METHODS_WITH_BODY: Final = frozenset((b"POST", b"PUT", b"PATCH"))
CHUNKED: Final = -1
_METHOD: Final = re.compile(rb"[A-Z][A-Z-]{0,31}")
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
MAX_KNOWN_HOSTS: Final = 1024
MAX_KNOWN_HOST: Final = 255
_hosts: Final[Learned[bytes, bytes]] = Learned(MAX_KNOWN_HOSTS)


class Refused(Exception):
    """This request is not served; `problem` and `detail` say why."""

    def __init__(self, problem: Problem, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail


def malformed(detail: str) -> Refused:
    """The request breaks the rules of HTTP/1.1."""
    return Refused(problems.MALFORMED_REQUEST, detail)


def body_too_large(limit: int) -> Refused:
    """The body has more bytes than its path takes."""
    return Refused(problems.BODY_TOO_LARGE, f"at most {limit} bytes are taken here")


def head_too_large(buffer: bytes, limits: Limits) -> Refused:
    """The head has more bytes than are read; most of them may be its target's."""
    long_url = buffer.find(CRLF, 0, limits.url_bytes) < 0
    limit = limits.url_bytes if long_url else limits.head_bytes
    problem = problems.URL_TOO_LONG if long_url else problems.HEAD_TOO_LARGE
    return Refused(problem, f"at most {limit} bytes are taken")


class RequestHead:
    """What one head says; not changed once it has been read, so that requests alike share it.

    Attributes:
        lines: Every field line that crosses, as it came, and how the body is framed.
        crossing: The same, joined, before the value of the request id's line.
        length: Declared body length, 0 without a body, CHUNKED when chunked.
        authority: The client's Host, as sent; empty on HTTP/1.0 without one.
        host: The same in lower case without its port.
        request_id: The client's own when sane, else empty.
        line: The request line, when it can be forwarded as it is; else empty.
        keep_alive: Whether the client lets the connection stay.
        has_proxy_connection: Whether llhttp saw a field that it, and nobody else here, takes for Connection.
        has_trace: Whether a valid `traceparent` is among the lines.
        relayed: What the head says of where it came from, None when nothing; without a Host never None.
        asked_model, forced_version, override_key, actor: The `x-turnback-` fields of these meanings, or empty.
    """

    __slots__ = (
        "_hosts",
        "_nominated",
        "_seen",
        "_transfer_encoding",
        "_upgrade",
        "actor",
        "asked_model",
        "authority",
        "crossing",
        "expect_continue",
        "forced_version",
        "has_proxy_connection",
        "has_trace",
        "host",
        "http_1_0",
        "keep_alive",
        "length",
        "line",
        "lines",
        "method",
        "override_key",
        "relayed",
        "request_id",
        "url",
    )

    def __init__(self, head: bytes, limits: Limits) -> None:
        """Read a head without its final blank line. Raises: Refused."""
        self.lines: list[bytes] = []
        self.length = 0
        self.line = b""
        self.authority = self.request_id = b""
        self.asked_model = self.forced_version = self.override_key = self.actor = b""
        self.keep_alive = True
        self.http_1_0 = self.expect_continue = self.has_trace = self.has_proxy_connection = False
        self.relayed: Relayed | None = None
        self._hosts = 0
        self._seen = 0
        self._transfer_encoding: bytes | None = None
        self._nominated: frozenset[bytes] | None = None
        self._upgrade: bytes | None = None
        fields = head.split(CRLF)
        request_line = fields[0].split(b" ")
        if len(request_line) != 3:
            raise malformed("the request line is not three words")
        self.method, self.url, version = request_line
        _NAMES.read(self, fields)
        if version == b"HTTP/1.1":
            self.line = fields[0]
        else:
            self._older_version(version)
        if (
            len(fields) > limits.fields + 1
            or len(self.url) > limits.url_bytes
            or self.method not in METHODS
            or self.length > limits.body_bytes
        ):
            raise self._beyond(len(fields), limits)
        self.host = _hosts.known.get(self.authority, b"")
        if not self.host or self._hosts != 1 or not self.url.startswith(b"/"):
            self._check_host()
        if self._seen & _ODD_SEEN:
            self._settle_oddities()
        if not self._seen & _BODY_SEEN and self.method in METHODS_WITH_BODY:
            self.lines.append(b"content-length: 0")
        self.crossing = joined(self.lines)

    @property
    def is_plain(self) -> bool:
        """Whether it has no id and no trace of its own, and no field that speaks of other fields."""
        return not self.request_id and not self._seen & (_ODD_SEEN | _TRACE_SEEN)

    # ------------------------------------------------------------------ fields

    def on_host(self, value: bytes) -> None:
        self._hosts += 1
        self.authority = value

    def on_content_length(self, value: bytes) -> None:
        length = framing.content_length(value)
        if length < 0 or self._seen & _LENGTH_SEEN:
            raise malformed("Content-Length must be one plain decimal number")
        self._seen |= _LENGTH_SEEN | _BODY_SEEN
        self.length = length
        self.lines.append(b"content-length: " + value)

    def on_transfer_encoding(self, value: bytes) -> None:
        if self._transfer_encoding is not None:
            raise malformed("Transfer-Encoding must be given once")
        self._transfer_encoding = value.lower()
        self._seen |= _ODD_SEEN | _BODY_SEEN

    def on_connection(self, value: bytes) -> None:
        if value in framing.KEEP_ALIVE:
            return
        options = framing.connection_options(value)
        if options is None:
            raise malformed("Connection must be a list of tokens")
        self._nominated = options if self._nominated is None else self._nominated | options
        self._seen |= _ODD_SEEN

    def on_request_id(self, value: bytes) -> None:
        if len(value) <= framing.MAX_REQUEST_ID and not value.translate(None, framing.TOKEN):
            self.request_id = value

    def on_expect(self, value: bytes) -> None:
        if value.lower() != b"100-continue":
            raise Refused(problems.EXPECTATION_FAILED, "the Expect field asks for something unknown")
        self.expect_continue = True

    def on_upgrade(self, value: bytes) -> None:
        self._upgrade = value.lower()
        self._seen |= _ODD_SEEN

    def on_proxy_connection(self, _value: bytes) -> None:
        self.has_proxy_connection = True

    def on_traceparent(self, value: bytes) -> None:
        self._seen |= _TRACES_SEEN | _ODD_SEEN if self._seen & _TRACE_SEEN else _TRACE_SEEN
        if trace_context.is_valid(value):
            self.has_trace = True
            self.lines.append(_TRACEPARENT + value)

    def on_tracestate(self, value: bytes) -> None:
        self._seen |= _ODD_SEEN
        self.lines.append(_TRACESTATE + value)

    def relays(self) -> Relayed:
        """Where the head's own word on where it came from is kept."""
        if self.relayed is None:
            self.relayed = Relayed()
        return self.relayed

    def on_asked_model(self, value: bytes) -> None:
        self._be_first(_MODEL_SEEN)
        self.asked_model = value

    def on_forced_version(self, value: bytes) -> None:
        self._be_first(_VERSION_SEEN)
        self.forced_version = value

    def on_override_key(self, value: bytes) -> None:
        self._be_first(_KEY_SEEN)
        self.override_key = value

    def on_actor(self, value: bytes) -> None:
        self._be_first(_ACTOR_SEEN)
        self.actor = value

    def on_singleton(self, bit: int, line: bytes) -> None:
        self._be_first(bit)
        self.lines.append(line)

    def _be_first(self, bit: int) -> None:
        if self._seen & bit:
            raise malformed("a field that must be single is repeated")
        self._seen |= bit

    def on_untrusted(self, _value: bytes) -> None:
        raise malformed("a field name is no token, has an underscore or imitates framing")

    # ------------------------------------------------------------------ the head as a whole

    def _beyond(self, lines: int, limits: Limits) -> Refused:
        """Which of the limits the head is beyond."""
        if lines > limits.fields + 1:
            return Refused(problems.HEAD_TOO_LARGE, f"at most {limits.fields} fields are taken")
        if len(self.url) > limits.url_bytes:
            return Refused(problems.URL_TOO_LONG, f"at most {limits.url_bytes} bytes are taken")
        if self.length > limits.body_bytes:
            return Refused(problems.BODY_TOO_LARGE, f"at most {limits.body_bytes} bytes are taken")
        if not _METHOD.fullmatch(self.method):
            return malformed("the method is not a word in capitals")
        return Refused(problems.METHOD_NOT_IMPLEMENTED, "use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")

    def _older_version(self, version: bytes) -> None:
        if not _VERSION.fullmatch(version):
            raise malformed("the request line does not end in an HTTP version")
        if version != b"HTTP/1.0":
            raise Refused(problems.VERSION_NOT_SUPPORTED, "use HTTP/1.1")
        if self._transfer_encoding is not None:
            raise malformed("HTTP/1.0 has no Transfer-Encoding")
        self.http_1_0 = True
        self.keep_alive = False
        self.expect_continue = False

    def _check_host(self) -> None:
        """Look closer at a target that is no path, or a Host not seen before."""
        if not self.url.startswith(b"/") and (self.url != b"*" or self.method != b"OPTIONS"):
            self._be_origin_form()
        if not self.authority and not self._hosts and self.http_1_0:
            self.relays()
            return
        host = framing.host_without_port(self.authority)
        if host is None or self._hosts > 1 or (not self._hosts and not self.http_1_0):
            raise malformed("exactly one Host field with a host is needed")
        if len(self.authority) <= MAX_KNOWN_HOST:
            _hosts.keep(self.authority, host)
        self.host = host

    def _be_origin_form(self) -> None:
        """Make an absolute-form target a path; its authority must be the Host (RFC 9112 §3.2.2)."""
        scheme, separator, rest = self.url.partition(b"://")
        authority, slash, path = rest.partition(b"/")
        if not separator or not authority or scheme.lower() not in {b"http", b"https"}:
            raise malformed("the target is neither a path nor an http address")
        if not self._hosts:
            self.authority = authority
        elif authority.lower() != self.authority.lower():
            raise malformed("the target's authority is not the Host")
        # A server without a path is the server itself to OPTIONS (RFC 9112 §3.2.4).
        self.url = slash + path if slash else b"*" if self.method == b"OPTIONS" else b"/"
        self.line = b""

    def _settle_oddities(self) -> None:
        """What only some heads have: a transfer coding, connection options, an upgrade."""
        if self._transfer_encoding is not None:
            self._be_chunked(self._transfer_encoding)
        if self._nominated is not None:
            self._apply_options(self._nominated)
        self._settle_trace()
        # Java's client offers h2c to everybody and goes on with HTTP/1.1 (RFC 9110 §7.8 lets us).
        if self._upgrade is not None and self._upgrade != b"h2c":
            raise Refused(problems.UPGRADE_NOT_IMPLEMENTED, "ask again without an Upgrade field")

    def _settle_trace(self) -> None:
        """Only one valid `traceparent` that no Connection field nominates is a trace, and has a `tracestate`."""
        if self._seen & _TRACES_SEEN or not any(line.startswith(_TRACEPARENT) for line in self.lines):
            self.has_trace = False
            self.lines = [line for line in self.lines if not line.startswith((_TRACEPARENT, _TRACESTATE))]

    def by_length(self, length: int) -> "RequestHead":
        """The same head for a body of so many bytes; another one where it was chunked before."""
        if self.length == length:
            return self
        # Made from the least a head can be, because compiled objects cannot be copied.
        head = RequestHead(b"GET / HTTP/1.0", DEFAULT_LIMITS)
        for name in _CARRIED:
            setattr(head, name, getattr(self, name))
        head.length = length
        head.lines = [line for line in self.lines if not line.startswith(_FRAMING_STARTS)]
        head.lines.append(b"content-length: %d" % length)
        head.crossing = joined(head.lines)
        return head

    def _be_chunked(self, coding: bytes) -> None:
        if coding != b"chunked" or self._seen & _LENGTH_SEEN:
            raise malformed("only Transfer-Encoding: chunked is taken, and no Content-Length beside it")
        self.length = CHUNKED
        self.lines.append(b"transfer-encoding: chunked")

    def _apply_options(self, options: frozenset[bytes]) -> None:
        if b"close" in options:
            self.keep_alive = False
        if not options <= framing.PLAIN_OPTIONS:
            self.lines = framing.without_nominated(self.lines, options - _FRAMING)


def joined(lines: list[bytes]) -> bytes:
    """Field lines up to where a request id follows."""
    return CRLF.join([*lines, framing.REQUEST_ID])


def _singleton(name: bytes, bit: int) -> framing.Meaning[RequestHead]:
    start = name + b": "

    def meaning(head: RequestHead, value: bytes) -> None:
        head.on_singleton(bit, start + value)

    return meaning


def _relayed_last(attribute: str) -> framing.Meaning[RequestHead]:
    def meaning(head: RequestHead, value: bytes) -> None:
        setattr(head.relays(), attribute, value)

    return meaning


_TRACEPARENT: Final = b"traceparent: "
_TRACESTATE: Final = b"tracestate: "
_CARRIED: Final = (
    *("method", "url", "line", "authority", "host", "request_id", "keep_alive", "http_1_0", "expect_continue"),
    *("has_proxy_connection", "has_trace", "relayed", "asked_model", "forced_version", "override_key", "actor"),
)
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))
_FRAMING_STARTS: Final = (b"content-length:", b"transfer-encoding:")
# Bits of what has been seen.
_LENGTH_SEEN: Final = 1
_BODY_SEEN: Final = 2
_ODD_SEEN: Final = 4
_MODEL_SEEN: Final = 64
_VERSION_SEEN: Final = 128
_KEY_SEEN: Final = 256
_TRACE_SEEN: Final = 512
_TRACES_SEEN: Final = 1024
_ACTOR_SEEN: Final = 2048
_NAMES: Final = framing.Names[RequestHead](
    {
        b"host": RequestHead.on_host,
        b"content-length": RequestHead.on_content_length,
        b"transfer-encoding": RequestHead.on_transfer_encoding,
        b"connection": RequestHead.on_connection,
        b"x-request-id": RequestHead.on_request_id,
        b"expect": RequestHead.on_expect,
        b"upgrade": RequestHead.on_upgrade,
        b"content-type": _singleton(b"content-type", 8),
        b"authorization": _singleton(b"authorization", 16),
        b"idempotency-key": _singleton(b"idempotency-key", 32),
        b"proxy-connection": RequestHead.on_proxy_connection,
        b"traceparent": RequestHead.on_traceparent,
        b"tracestate": RequestHead.on_tracestate,
        b"x-forwarded-for": lambda head, value: head.relays().addresses.append(value),
        b"forwarded": lambda head, value: head.relays().elements.append(value),
        b"x-forwarded-proto": _relayed_last("scheme"),
        b"x-forwarded-host": _relayed_last("host"),
        b"x-forwarded-port": _relayed_last("port"),
        b"x-turnback-actor": RequestHead.on_actor,
        b"x-turnback-model": RequestHead.on_asked_model,
        b"x-turnback-force-version": RequestHead.on_forced_version,
        b"x-turnback-override-key": RequestHead.on_override_key,
    },
    dropped=framing.DROPPED_FROM_REQUESTS,
    untrusted=RequestHead.on_untrusted,
    strict=True,
)
