"""A slow, independent reading of a client's bytes: which requests are in there, by this gateway's rules.

Rule: this reads the whole of the bytes at once, by RFC 9112 line by line, and shares no code with
the gateway. Where the RFC leaves it to the recipient and the gateway may be stricter, a request is
doubtful: it may be refused, but it may not be read differently.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.([01])")
_FIELD: Final = re.compile(rb"(%b):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*" % _TOKEN)
_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"))
_PATH: Final = re.compile(rb"/[!-\"$-\[\]-~]*")
_DOTS: Final = re.compile(rb"(?:\.|%2[eE]){1,2}")
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?]*)(/.*)?")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9.\-_~%!$&'()*+,;=]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})((?:;.*)?)", re.DOTALL)
_EXTENSIONS: Final = re.compile(
    rb"(?:;%b(?:=(?:%b|\"(?:[^\"\\\r\n\x00-\x08\x0b-\x1f\x7f]|\\[\t -~])*\"))?)*" % (_TOKEN, _TOKEN)
)
_TRAILER_NOT: Final = frozenset(
    (b"content-length", b"transfer-encoding", b"host", b"connection", b"trailer", b"te", b"upgrade")
)
_SINGLE: Final = (b"content-type", b"authorization", b"idempotency-key", b"content-length", b"transfer-encoding")
_ENDINGS: Final = (
    *(b"\n", b"\n\r\n", b"\r\n\r\n", b"\r\nHost: a\r\n\r\n", b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    *(b"/ HTTP/1.1\r\nHost: a\r\n\r\n", b"ET / HTTP/1.1\r\nHost: a\r\n\r\n", b"a: b\r\n\r\n", b": b\r\n\r\n"),
    *(b"x" * 400, b"\r\n0\r\n\r\n", b"0\r\n\r\n"),
)
MAX_BODY: Final = 1 << 30
MAX_FIELDS: Final = 100


@dataclass
class ReadRequest:
    """One request that is in the bytes.

    Attributes:
        target: In origin-form.
        fields: Lower-case names and stripped values, in order.
        doubtful: Whether the gateway may refuse it, too.
        is_last: Whether the connection ends with it.
    """

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    doubtful: bool = False
    is_last: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]

    @property
    def options(self) -> set[bytes]:
        """What the Connection fields name."""
        values = self.values(b"connection")
        return {option.strip(b" \t").lower() for value in values for option in value.split(b",")}

    @property
    def is_about_the_server(self) -> bool:
        """OPTIONS *, which is answered by the gateway (RFC 9110 §9.3.7)."""
        return self.target == b"*"


class Ending(Enum):
    """What is behind the last whole request."""

    NOTHING = auto()
    UNFINISHED = auto()
    REFUSED = auto()


class _Refused(Exception):
    """What comes next is no request for this gateway."""


class _Unfinished(Exception):
    """What comes next is not whole; perhaps it never could be."""


@dataclass
class Reading:
    """All requests in a client's bytes."""

    requests: list[ReadRequest] = field(default_factory=list)
    ending: Ending = Ending.NOTHING

    def may_refuse(self, number: int) -> bool:
        """Whether a request may be refused: for itself, or for what already follows it and is no request."""
        request = self.requests[number]
        if number + 1 < len(self.requests):
            return request.doubtful or self.requests[number + 1].doubtful
        return request.doubtful or self.ending is Ending.REFUSED


def read_requests(raw: bytes) -> Reading:
    """What the gateway has to find in these bytes, however they are cut."""
    reading = _read_all(raw)
    if reading.ending is Ending.UNFINISHED and not _can_go_on(raw, len(reading.requests)):
        # Some of what is no request any more is seen before it is whole, some is not.
        for request in reading.requests[-1:]:
            request.doubtful = True
    return reading


def _can_go_on(raw: bytes, whole: int) -> bool:
    """Whether one of some usual endings makes another request of what is left."""
    return any(len(_read_all(raw + ending).requests) > whole for ending in _ENDINGS)


def _read_all(raw: bytes) -> Reading:
    reading = Reading()
    try:
        while True:
            raw, odd = _without_blank_lines(raw)
            if not raw:
                return reading
            request, raw = _read_one(raw)
            request.doubtful |= odd
            reading.requests.append(request)
            if request.is_last:
                # What follows is not read; whether it is held against the request depends on when it comes.
                request.doubtful |= bool(raw.strip(b"\r\n"))
                return reading
    except _Refused:
        reading.ending = Ending.REFUSED
    except _Unfinished:
        reading.ending = Ending.UNFINISHED
    return reading


def _without_blank_lines(raw: bytes) -> tuple[bytes, bool]:
    """The bytes behind empty lines, and whether one of those was not ended by CRLF (RFC 9112 §2.2)."""
    stripped = raw.lstrip(b"\r\n")
    blank = raw[: len(raw) - len(stripped)]
    return stripped, blank.replace(b"\r\n", b"") != b""


def _read_one(raw: bytes) -> tuple[ReadRequest, bytes]:
    head, end, rest = raw.partition(b"\r\n\r\n")
    if not end:
        raise _Unfinished
    start, *lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(start)
    if match is None or match[1] not in _METHODS or len(lines) > MAX_FIELDS:
        raise _Refused
    fields = [_read_field(line) for line in lines]
    request = ReadRequest(match[1], match[2], fields)
    is_old = match[3] == b"0"
    _check_fields(request)
    _find_target(request, is_old=is_old)
    request.is_last = is_old or b"close" in request.options
    return request, _read_body(request, rest, is_old=is_old)


def _read_field(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise _Refused
    name = match[1].lower()
    letters = re.sub(rb"[^a-z]", b"", name)
    is_framing = name in {b"content-length", b"transfer-encoding"}
    if b"_" in name or (letters in {b"contentlength", b"transferencoding"} and not is_framing):
        raise _Refused
    return name, match[2]


def _check_fields(request: ReadRequest) -> None:
    """What must hold for all fields together."""
    if any(len(request.values(name)) > 1 for name in _SINGLE):
        raise _Refused
    if any(option and not re.fullmatch(_TOKEN, option) for option in request.options):
        raise _Refused
    if any(value.lower() != b"100-continue" for value in request.values(b"expect")):
        raise _Refused
    upgrades = request.values(b"upgrade")
    if any(value.lower() != b"h2c" for value in upgrades):
        raise _Refused
    request.doubtful |= len(upgrades) > 1 or len(request.values(b"expect")) > 1


def _find_target(request: ReadRequest, *, is_old: bool) -> None:
    """Make the target a path, and hold it against the Host (RFC 9112 §3.2)."""
    hosts = request.values(b"host")
    if len(hosts) > 1 or (not hosts and not is_old) or not all(_HOST.fullmatch(host) for host in hosts):
        raise _Refused
    absolute = _ABSOLUTE.fullmatch(request.target)
    if absolute is not None:
        if hosts and absolute[1].lower() != hosts[0].lower():
            raise _Refused
        if not hosts and not _HOST.fullmatch(absolute[1]):
            raise _Refused
        # Without a path, OPTIONS asks about the server as a whole (RFC 9112 §3.2.4).
        request.target = absolute[2] or (b"*" if request.method == b"OPTIONS" else b"/")
    if request.target == b"*" and request.method == b"OPTIONS":
        return
    path = request.target.partition(b"?")[0]
    if not _PATH.fullmatch(request.target) or any(_DOTS.fullmatch(part) for part in path.split(b"/")):
        raise _Refused


def _read_body(request: ReadRequest, rest: bytes, *, is_old: bool) -> bytes:
    """Take the body off the bytes; what is left (RFC 9112 §6.3)."""
    lengths, codings = request.values(b"content-length"), request.values(b"transfer-encoding")
    if codings:
        if lengths or is_old or codings[0].lower() != b"chunked":
            raise _Refused
        return _read_chunks(request, rest)
    if not lengths:
        return rest
    if not _LENGTH.fullmatch(lengths[0]) or int(lengths[0]) > MAX_BODY:
        raise _Refused
    length = int(lengths[0])
    if len(rest) < length:
        raise _Unfinished
    request.body = rest[:length]
    return rest[length:]


def _read_chunks(request: ReadRequest, rest: bytes) -> bytes:
    while True:
        line, rest = _line(rest)
        match = _CHUNK.fullmatch(line)
        if match is None or len(line) > 256:
            # Blanks around an extension are bad whitespace: to be parsed by the RFC, refused here.
            raise _Refused
        if not _EXTENSIONS.fullmatch(match[2]):
            raise _Refused
        size = int(match[1], 16)
        if not size:
            return _read_trailers(rest)
        if rest[size : size + 2] != b"\r\n"[: len(rest[size : size + 2])]:
            raise _Refused
        if len(rest) < size + 2:
            raise _Unfinished
        request.body += rest[:size]
        rest = rest[size + 2 :]


def _read_trailers(rest: bytes) -> bytes:
    while True:
        line, rest = _line(rest)
        if not line:
            return rest
        name, _ = _read_trailer(line)
        if name in _TRAILER_NOT:
            raise _Refused


def _read_trailer(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise _Refused
    return match[1].lower(), match[2]


def _line(rest: bytes) -> tuple[bytes, bytes]:
    line, end, rest = rest.partition(b"\r\n")
    if not end:
        raise _Unfinished
    return line, rest
