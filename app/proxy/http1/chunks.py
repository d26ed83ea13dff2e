"""The chunked transfer coding, decoded strictly and encoded canonically (RFC 9112 §7.1).

Rule: extensions and trailers are checked, then dropped; nothing of an upstream's or a client's
chunk framing crosses, so both ends always see the same boundaries.
"""

import re
from typing import Final

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb"\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e])*\""
_EXTENSION: Final = rb";%b(?:=(?:%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:%b)*" % _EXTENSION)
_TRAILER_LINE: Final = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*")
# Trailers that would change how the message is framed or routed (RFC 9110 §6.5.1).
_FORBIDDEN: Final = re.compile(
    rb"(?:content-length|transfer-encoding|host|connection|trailer|te|upgrade):", re.IGNORECASE
)
MAX_SIZE_LINE: Final = 256
MAX_TRAILER: Final = 8 * 1024
_SMALL_SIZES: Final = {b"%x" % size: size for size in range(1, 4096)}
LAST_CHUNK: Final = b"0\r\n\r\n"

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class MalformedChunk(Exception):
    """The bytes are not the chunked coding."""


class ChunkDecoder:
    """Takes one body apart, however its bytes are cut.

    Attributes:
        done: Whether the last chunk and its trailers have been read.
        rest: Bytes after the body's end; meaningful once done.
        wire: What was fed last, when it was exactly one chunk as `encode` would write it; else empty.
    """

    __slots__ = ("_held", "_left", "_state", "_trailer_bytes", "done", "rest", "wire")

    def __init__(self) -> None:
        self._state = _SIZE
        self._left = 0
        self._held = b""
        self._trailer_bytes = 0
        self.done = False
        self.rest = self.wire = b""

    def feed(self, data: bytes) -> bytes:
        """The payload in these bytes. Raises: MalformedChunk."""
        if self._state == _SIZE and not self._held:
            # Most reads are one small chunk: a streamed token.
            end = data.find(b"\r\n", 0, 5)
            size = _SMALL_SIZES.get(data[:end]) if end > 0 else None
            if size is not None and end + size + 4 == len(data) and data.endswith(b"\r\n"):
                self.wire = data
                return data[end + 2 : -2]
        self.wire = b""
        return self._feed_any(data)

    def _feed_any(self, data: bytes) -> bytes:
        data = self._held + data
        self._held = b""
        pieces: list[bytes] = []
        position = 0
        end = len(data)
        while position < end and self._state != _DONE:
            if self._state == _DATA:
                taken = data[position : position + self._left]
                pieces.append(taken)
                position += len(taken)
                self._left -= len(taken)
                if not self._left:
                    self._state = _DATA_END
                continue
            line_end = data.find(b"\r\n", position)
            if line_end < 0:
                self._hold(data[position:])
                break
            self._line(data[position:line_end])
            position = line_end + 2
        if self._state == _DONE:
            self.done = True
            self.rest = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _hold(self, line: bytes) -> None:
        """Keep the beginning of a line, once it can still become a valid one."""
        limit = {_SIZE: MAX_SIZE_LINE, _DATA_END: 1}.get(self._state, MAX_TRAILER)
        if len(line) > limit or b"\n" in line or b"\r" in line[:-1] or (self._state == _DATA_END and line != b"\r"):
            raise MalformedChunk
        self._held = line

    def _line(self, line: bytes) -> None:
        if self._state == _DATA_END:
            if line:
                raise MalformedChunk
            self._state = _SIZE
        elif self._state == _SIZE:
            self._size(line)
        else:
            self._trailer(line)

    def _size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line) if len(line) <= MAX_SIZE_LINE else None
        if match is None:
            raise MalformedChunk
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILERS

    def _trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line) + 2
        if not line:
            self._state = _DONE
        elif self._trailer_bytes > MAX_TRAILER or not _TRAILER_LINE.fullmatch(line) or _FORBIDDEN.match(line):
            raise MalformedChunk


def encode(payload: bytes, *, last: bool) -> bytes:
    """One canonical chunk, none for an empty payload, and the end of the body when it is the last."""
    chunk = b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""
    return chunk + LAST_CHUNK if last else chunk
