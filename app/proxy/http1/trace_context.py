"""The trace a request belongs to (W3C Trace Context, levels 1 and 2): passed on, or begun here.

Rule: `traceparent` crosses as it came when it is valid; when it is missing, repeated or malformed, a new
one takes its place and `tracestate` is dropped with it.
"""

import random
import re
import secrets
from collections.abc import Callable
from typing import Final

_PLAIN: Final = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# Later versions may append fields; version ff is none (level 1 §3.2.2.1, §4.1).
_LATER: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_NO_TRACE: Final = b"0" * 32
_NO_PARENT: Final = b"0" * 16
_START: Final = b"traceparent: 00-"
_AT_ONCE: Final = 256
# An own generator: who sees many trace ids could foretell the next, and must not foretell the coin.
_SECRETLY_SEEDED: Final = random.Random(secrets.randbits(256))  # noqa: S311 -- ids, not keys


def is_valid(traceparent: bytes) -> bool:
    """Whether a `traceparent` field's value can be passed on."""
    if not _PLAIN.fullmatch(traceparent) and (traceparent.startswith(b"00") or not _LATER.fullmatch(traceparent)):
        return False
    trace_id, parent_id = traceparent[3:35], traceparent[36:52]
    return trace_id != _NO_TRACE and parent_id != _NO_PARENT


class Traces:  # ADR 0064
    """Begins traces: sampled, their ids random (flags 03, level 2 §3.2.2.5).

    Ids are drawn many at once, which is quicker. All have this process' parent id: it must be its own only
    within one trace, and no trace is begun twice.
    """

    __slots__ = ("_at", "_bytes", "_digits", "_end")

    def __init__(self, random_bytes: Callable[[int], bytes] = _SECRETLY_SEEDED.randbytes) -> None:
        """Args: random_bytes: Gives so many of them."""
        self._bytes = random_bytes
        self._end = b"-%b-03\r\n" % self._draw(1)[:16]
        self._digits = b""
        self._at = 0

    def begin(self) -> bytes:
        """A `traceparent` field line, with its end."""
        at = self._at
        if at >= len(self._digits):
            self._digits = self._draw(_AT_ONCE)
            at = 0
        self._at = at + 32
        return _START + self._digits[at : at + 32] + self._end

    def _draw(self, ids: int) -> bytes:
        """The hexadecimal digits of so many trace ids."""
        digits = _NO_PARENT
        # No id may be all zeros, and half as many in a row come once in the lifetime of many universes.
        while _NO_PARENT in digits:
            digits = self._bytes(16 * ids).hex().encode()
        return digits
