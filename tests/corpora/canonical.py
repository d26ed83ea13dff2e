"""Whether bytes sent to an upstream are canonical, unambiguous HTTP/1.1 requests.

Rule: this reads stricter than any server has to: one way to write each thing. Whatever two servers
could read differently is a flaw, whether or not a server is known that does (RFC 9112 §2-7).
"""

import re
from dataclasses import dataclass, field
from typing import Final

CRLF: Final = b"\r\n"
HEAD_END: Final = b"\r\n\r\n"
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rb"(%b) (/[\x21-\x7e]*) HTTP/1\.1" % _TOKEN)
_FIELD_LINE: Final = re.compile(rb"(%b):[ \t]*((?:[\x21-\x7e\x80-\xff][\t\x20-\x7e\x80-\xff]*)?)" % _TOKEN)
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
_CHUNK_SIZE: Final = re.compile(rb"0|[1-9a-f][0-9a-f]{0,14}")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_NOT_A_LETTER: Final = re.compile(rb"[^a-z]")
_FRAMING_LETTERS: Final = frozenset((b"contentlength", b"transferencoding"))
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))
_NOT_FORWARDED: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"}
    | {b"te", b"trailer", b"upgrade", b"expect", b"http2-settings"}
)
_SINGLE: Final = (b"host", b"content-type", b"authorization", b"idempotency-key", b"x-request-id")


@dataclass
class Forwarded:
    """One request as an upstream reads it.

    Attributes:
        fields: Lower-case names and values, in order.
        body: Decoded; as far as it came.
        complete: Whether all of it came.
    """

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    complete: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


@dataclass
class Wire:
    """Everything that was sent over one upstream connection.

    Attributes:
        flaws: What a canonical message would not have had.
        broken: Whether nothing can be read behind the last flaw.
    """

    requests: list[Forwarded] = field(default_factory=list)
    flaws: list[str] = field(default_factory=list)
    broken: bool = False
    _buffer: bytes = b""
    _heads_read: int = 0

    def feed(self, data: bytes) -> list[Forwarded]:
        """More bytes; the requests that became complete with them."""
        self._buffer += data
        done: list[Forwarded] = []
        while not self.broken and (request := self._current()) is not None:
            if not self._read_body(request):
                break
            request.complete = True
            done.append(request)
        return done

    def end(self) -> None:
        """The connection ended: what is left over must be the beginning of a body."""
        if self._buffer and not self.broken and (not self.requests or self.requests[-1].complete):
            self._flaw("bytes that are no request", self._buffer)

    def _flaw(self, what: str, evidence: bytes) -> None:
        self.flaws.append(f"{what}: {evidence[:80]!r}")

    def _break(self, what: str, evidence: bytes) -> bool:
        self._flaw(what, evidence)
        self.broken = True
        return False

    # ------------------------------------------------------------------ heads

    def _current(self) -> Forwarded | None:
        """The request whose body is being read, or the next one if its head is there."""
        if self.requests and not self.requests[-1].complete:
            return self.requests[-1]
        head, end, rest = self._buffer.partition(HEAD_END)
        if not end:
            return None
        self._buffer = rest
        start, *lines = head.split(CRLF)
        match = _REQUEST_LINE.fullmatch(start)
        if match is None:
            self._break("request line", start)
            return None
        request = Forwarded(match[1], match[2], self._fields(lines))
        self._judge(request)
        self.requests.append(request)
        return request

    def _fields(self, lines: list[bytes]) -> list[tuple[bytes, bytes]]:
        fields = []
        for line in lines:
            match = _FIELD_LINE.fullmatch(line)
            if match is None:
                self._flaw("field line", line)
            else:
                fields.append((match[1].lower(), match[2]))
        return fields

    def _judge(self, request: Forwarded) -> None:
        """Look at the fields as a whole."""
        names = [name for name, _ in request.fields]
        self._judge_framing(request)
        for name in names:
            if name not in _FRAMING and _NOT_A_LETTER.sub(b"", name) in _FRAMING_LETTERS:
                self._flaw("a name that imitates framing", name)
            if name in _NOT_FORWARDED or b"_" in name or name.startswith(b"x-turnback-"):
                self._flaw("a field that must not cross", name)
        for name in _SINGLE:
            if names.count(name) > 1:
                self._flaw("a field that must be single", name)
        hosts = request.values(b"host")
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            self._flaw("host", b",".join(hosts))

    def _judge_framing(self, request: Forwarded) -> None:
        lengths, codings = request.values(b"content-length"), request.values(b"transfer-encoding")
        if lengths and codings:
            self._break("both framings", lengths[0])
        elif len(lengths) > 1 or not all(_LENGTH.fullmatch(value) for value in lengths):
            self._break("content-length", b",".join(lengths))
        elif codings not in ([], [b"chunked"]):
            self._break("transfer-encoding", b",".join(codings))

    # ------------------------------------------------------------------ bodies

    def _read_body(self, request: Forwarded) -> bool:
        """Whether the body is complete now."""
        if self.broken:
            return False
        if request.values(b"transfer-encoding"):
            size = self._read_chunk(request)
            while size:
                size = self._read_chunk(request)
            return size == 0
        lengths = request.values(b"content-length")
        missing = int(lengths[0]) - len(request.body) if lengths else 0
        request.body += self._buffer[:missing]
        enough = len(self._buffer) >= missing
        self._buffer = self._buffer[missing:]
        return enough

    def _read_chunk(self, request: Forwarded) -> int | None:
        """The size of a chunk that is whole, 0 for the last; None to wait, or when broken."""
        line, end, rest = self._buffer.partition(CRLF)
        if not end:
            return None
        if not _CHUNK_SIZE.fullmatch(line):
            self._break("chunk size", line)
            return None
        size = int(line, 16)
        if len(rest) < size + 2:
            return None
        if rest[size : size + 2] != CRLF:
            self._break("chunk end", rest[size : size + 2])
            return None
        request.body += rest[:size]
        self._buffer = rest[size + 2 :]
        return size
