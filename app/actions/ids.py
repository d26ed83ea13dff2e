"""Ids that sort by the time they were made."""

from datetime import datetime
from uuid import UUID


def uuid7(at: datetime, entropy: bytes) -> str:
    """A UUID version 7 whose twelve bits after the millisecond are its fraction.

    Args:
        at: With a time zone.
        entropy: 8 random bytes.

    Source:
        RFC 9562, section 5.7, and section 6.2, method 3.
    """
    us = int(at.timestamp()) * 1_000_000 + at.microsecond
    ms, rest_us = divmod(us, 1_000)
    fraction = rest_us * 4_096 // 1_000
    tail = int.from_bytes(entropy[:8], "big") & (1 << 62) - 1
    return str(UUID(int=ms << 80 | 7 << 76 | fraction << 64 | 2 << 62 | tail))
