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
# An own generator: who sees many trace ids could foretell the next, and must not foretell the coin.
_SECRETLY_SEEDED: Final = random.Random(secrets.randbits(256))  # noqa: S311 -- ids, not keys


def is_valid(traceparent: bytes) -> bool:
    """Whether a `traceparent` field's value can be passed on."""
    if not _PLAIN.fullmatch(traceparent) and (traceparent.startswith(b"00") or not _LATER.fullmatch(traceparent)):
        return False
    trace_id, parent_id = traceparent[3:35], traceparent[36:52]
    return trace_id != _NO_TRACE and parent_id != _NO_PARENT


def new_traceparent(bits: Callable[[int], int] = _SECRETLY_SEEDED.getrandbits) -> bytes:
    """A field line, with its end, that begins a trace: sampled, its id random (flags 03, level 2 §3.2.2.5).

    Args:
        bits: Gives a number of so many random bits.
    """
    return b"traceparent: 00-%032x-%016x-03\r\n" % (bits(128) or 1, bits(64) or 1)
