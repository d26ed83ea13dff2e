"""What a request's body says, however it comes, and the value of one feature in it.

Rule: reading never raises; what cannot be read says nothing: then every feature is missing, every slice unknown.
"""

from math import inf
from typing import Final

import orjson

from app.domain.catalog.json_pointer import MISSING, JsonPointer
from app.proxy.http1.chunks import ChunkDecoder, MalformedChunk
from app.proxy.http1.framing import CRLF
from app.proxy.http1.request_head import CHUNKED, RequestHead
from app.proxy.http1.response_head import Content
from app.proxy.observing.sanitize import plain
from app.proxy.responses.decoding import Unexpected, Unreadable, decoded, document

_START: Final = len(CRLF)
_LARGEST: Final = 1 << 1023


def said_in(tail: bytes, request: RequestHead) -> object:
    """What a request's body says; MISSING when it cannot be read.

    Args:
        tail: The line end before the body, and the body as it goes on the wire.
        request: Its head.
    """
    try:
        body = _dechunked(tail[_START:]) if request.length == CHUNKED else tail[_START:]
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _said_oddly(body, Content(request.lines))
    except MalformedChunk:
        return MISSING


def _said_oddly(body: bytes, content: Content) -> object:
    """The same of a body that is coded, has tensors behind its JSON, or is JSON only to Python."""
    try:
        text = decoded(body, content.coding)
        return document(text if content.header_length < 0 else text[: content.header_length])[0]
    except (Unreadable, Unexpected):
        return MISSING


def _dechunked(wire: bytes) -> bytes:
    """Raises: MalformedChunk."""
    return ChunkDecoder().feed(wire)


def feature_of(said: object, pointer: JsonPointer) -> float | str | None:
    """One value of an exchange: the first of a list, for what came together says no more than once.

    Args:
        said: As `said_in`.
        pointer: Where the feature stands.
    """
    value = MISSING if said is MISSING else pointer.value_in(said)
    if type(value) is float:
        return value
    while isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        # What is too large for a float is none that anybody can compare.
        return float(value) if -_LARGEST < value < _LARGEST else inf
    if isinstance(value, str):
        return plain(value)
    return value if isinstance(value, float) else None
