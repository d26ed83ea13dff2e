"""A copy of an answer's body made readable: its coding undone within bounds, its JSON parsed.

Rule: what comes out is bounded however little comes in, and every failure is one of two: the copy
cannot be read, or it is not what it should be.
"""

import json
import math
import zlib
from typing import Final

import orjson

from app.proxy.bounds.limits import MAX_BODY

MAX_RATIO: Final = 100
IDENTITY: Final = (b"", b"identity")
_GZIP: Final = (b"gzip", b"x-gzip")
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS


class Unreadable(Exception):
    """The copy is too large, in a coding that is not known, or damaged."""


class Unexpected(Exception):
    """The copy can be read and does not say what its protocol or a pointer promises."""


def decoded(body: bytes, coding: bytes) -> bytes:
    """The body without its content coding (RFC 9110 §8.4.1). Raises: Unreadable.

    Args:
        coding: The Content-Encoding in lower case, empty without one.
    """
    if coding in IDENTITY:
        return body
    if coding in _GZIP:
        return _inflated(body, _GZIP_BITS)
    if coding == b"deflate":
        # Some servers send the bare compressed data, without the zlib format around it.
        return _inflated(body, zlib.MAX_WBITS if _has_zlib_header(body) else -zlib.MAX_WBITS)
    raise Unreadable


def _has_zlib_header(body: bytes) -> bool:
    """RFC 1950 §2.2: method 8, and a checksum over the first two bytes."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0


def _inflated(body: bytes, bits: int) -> bytes:
    most = min(MAX_BODY, MAX_RATIO * len(body))
    decompressor = zlib.decompressobj(bits)
    try:
        plain = decompressor.decompress(body, most + 1)
    except zlib.error:
        raise Unreadable from None
    if len(plain) > most or not decompressor.eof or decompressor.unused_data:
        raise Unreadable
    return plain


def document(text: bytes) -> tuple[object, bool]:
    """What a JSON text says, and whether it has a NaN or an infinity, as Python's servers send. Raises: Unexpected."""
    try:
        return orjson.loads(text), False
    except orjson.JSONDecodeError:
        return _lenient_document(text)


def _lenient_document(text: bytes) -> tuple[object, bool]:
    """The same by Python's own parser: slower, and it takes bare NaN, 1e999 and lone surrogates."""
    odd: list[str] = []

    def constant(name: str) -> float:
        odd.append(name)
        return float(name)

    def number(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            odd.append(digits)
        return value

    try:
        return json.loads(text, parse_constant=constant, parse_float=number), bool(odd)
    except (ValueError, RecursionError):
        raise Unexpected from None
