"""A slow, independent reading of an upstream's bytes: which answer is in there, by this gateway's rules.

Rule: as with requests, it shares no code with the gateway, and what the RFC leaves open is
doubtful: it may end as a 502, but it may not be read differently.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([^\r\n]*))?", re.DOTALL)
_REASON: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_FIELD: Final = re.compile(rb"(%b):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*" % _TOKEN)
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})((?:;.*)?)", re.DOTALL)
_QUOTED: Final = rb"\"(?:[^\"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t -~])*\""
_EXTENSIONS: Final = re.compile(rb"(?:;%b(?:=(?:%b|%b))?)*" % (_TOKEN, _TOKEN, _QUOTED))
_FRAMING: Final = (b"content-length", b"transfer-encoding")
_IMITATED: Final = frozenset((b"contentlength", b"transferencoding"))
_TRAILER_NOT: Final = frozenset((*_FRAMING, b"host", b"connection", b"trailer", b"te", b"upgrade"))
MAX_INTERIM: Final = 8


class Ending(Enum):
    """How an upstream connection goes on behind the bytes."""

    CLOSED = auto()
    RESET = auto()
    SILENT = auto()


@dataclass
class ReadResponse:
    """The final answer to one request.

    Attributes:
        fields: Lower-case names and stripped values, in order.
        doubtful: Whether the gateway may call it malformed, too.
        surplus: What follows its end.
    """

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    doubtful: bool = False
    surplus: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]

    @property
    def options(self) -> set[bytes]:
        values = self.values(b"connection")
        return {option.strip(b" \t").lower() for value in values for option in value.split(b",")}


class _Broken(Exception):
    """There is no whole answer in these bytes, and none can be made of them by waiting or closing."""


def read_response(raw: bytes, method: bytes, ending: Ending) -> ReadResponse | None:
    """The answer the client has to get; None when it may only get a 502 or an answer that breaks off."""
    try:
        head, raw, odd = _skip_interim(raw)
        response = _read_head(head)
        response.doubtful |= odd
        _read_body(response, raw, method, ending)
    except _Broken:
        return None
    return response


def _skip_interim(raw: bytes) -> tuple[bytes, bytes, bool]:
    """The final head, what is behind it, and whether there was an interim one too many to insist on."""
    for skipped in range(MAX_INTERIM + 1):
        head, end, raw = raw.partition(b"\r\n\r\n")
        if not end:
            raise _Broken
        # What an interim head says is dropped with it, so only its syntax counts.
        status = _split(head).status
        if status == 101:
            raise _Broken
        if status >= 200:
            return head, raw, skipped > 0
    raise _Broken


def _split(head: bytes) -> ReadResponse:
    start, *lines = head.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(start)
    if match is None:
        raise _Broken
    response = ReadResponse(int(match[2]), [_read_field(line) for line in lines])
    response.doubtful = match[1] == b"0" and bool(response.values(b"transfer-encoding"))
    # The reason never crosses; this gateway writes its own.
    response.doubtful |= not _REASON.fullmatch(match[3] or b"")
    return response


def _read_head(head: bytes) -> ReadResponse:
    response = _split(head)
    if any(re.sub(rb"[^a-z]", b"", name) in _IMITATED and name not in _FRAMING for name, _ in response.fields):
        raise _Broken
    if any(option and not re.fullmatch(_TOKEN, option) for option in response.options):
        raise _Broken
    if any(len(response.values(name)) > 1 for name in _FRAMING) or all(response.values(name) for name in _FRAMING):
        raise _Broken
    if not all(_LENGTH.fullmatch(value) for value in response.values(b"content-length")):
        raise _Broken
    if not all(value.lower() == b"chunked" for value in response.values(b"transfer-encoding")):
        raise _Broken
    # An offer to switch protocols is nothing this gateway has asked for.
    response.doubtful |= bool(response.values(b"upgrade"))
    return response


def _read_field(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise _Broken
    return match[1].lower(), match[2]


def _read_body(response: ReadResponse, rest: bytes, method: bytes, ending: Ending) -> None:
    """Find the body (RFC 9112 §6.3)."""
    lengths = response.values(b"content-length")
    if method == b"HEAD" or response.status in {204, 304}:
        response.doubtful |= response.status == 204 and bool(response.values(b"transfer-encoding"))
    elif response.values(b"transfer-encoding"):
        rest = _read_chunks(response, rest)
    elif lengths:
        length = int(lengths[0])
        if len(rest) < length:
            raise _Broken
        response.body, rest = rest[:length], rest[length:]
    elif ending is Ending.CLOSED:
        response.body, rest = rest, b""
    else:
        raise _Broken
    response.surplus = rest
    # llhttp may refuse an answer together with what came in the same read.
    response.doubtful |= bool(rest)


def _read_chunks(response: ReadResponse, rest: bytes) -> bytes:
    while True:
        line, rest = _line(rest)
        match = _CHUNK.fullmatch(line)
        if match is None or len(line) > 256 or not _EXTENSIONS.fullmatch(match[2]):
            raise _Broken
        size = int(match[1], 16)
        if not size:
            return _skip_trailers(rest)
        if rest[size : size + 2] != b"\r\n":
            raise _Broken
        response.body += rest[:size]
        rest = rest[size + 2 :]


def _skip_trailers(rest: bytes) -> bytes:
    line, rest = _line(rest)
    while line:
        if _read_field(line)[0] in _TRAILER_NOT:
            raise _Broken
        line, rest = _line(rest)
    return rest


def _line(rest: bytes) -> tuple[bytes, bytes]:
    line, end, rest = rest.partition(b"\r\n")
    if not end:
        raise _Broken
    return line, rest
