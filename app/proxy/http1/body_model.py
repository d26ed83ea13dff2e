"""Which model a JSON body names, read by bytes: its top-level "model", and where the name stands.

Rule: the body is never re-serialised, and its grammar is followed from the first byte to the last, so
that no model server can find another top-level "model" in it than was found here. Work and memory do
not grow with what the body nests: scalars are passed over by one expression, only containers cost (ADR 0063).
"""

import re
from typing import Final

import orjson

from app.proxy.http1 import problems
from app.proxy.http1.request_head import Refused

MAX_CONTAINERS: Final = 65_536
MAX_DEPTH: Final = 256
MAX_MODEL_NAME: Final = 256
_KEY: Final = "model"
# Every letter may be written as \uXXXX; a longer key cannot be ours.
_MAX_KEY: Final = 6 * len(_KEY)

_WS: Final = rb"[ \t\r\n]*+"
_STRING: Final = rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*+"'
_NUMBER: Final = rb"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
# Python's clients write the last two words though no standard has them; they name no model.
_SCALAR: Final = rb"(?:%b|%b|true|false|null|NaN|-?+Infinity)" % (_STRING, _NUMBER)
_ENTRY: Final = _WS + _STRING + _WS + rb":" + _WS
# Runs of scalars up to the container's end, or up to the opening of the next one.
_NEXT_ONE: Final = rb"(?=[\[{])"
_ITEMS: Final = rb"%b(?:%b(?:%b,%b%b)*+%b(?:\]|,%b%b)|%b)" % (
    *(_WS, _SCALAR, _WS, _WS, _SCALAR, _WS, _WS, _NEXT_ONE, _NEXT_ONE),
)
_ENTRIES: Final = rb"%b(?:%b(?:%b,%b%b)*+%b(?:\}|,%b%b)|%b)" % (
    *(_ENTRY, _SCALAR, _WS, _ENTRY, _SCALAR, _WS, _ENTRY, _NEXT_ONE, _NEXT_ONE),
)
_ARRAY: Final = ord("[")
_CLOSERS: Final = {_ARRAY: ord("]"), ord("{"): ord("}")}
# What may stand behind an opening bracket, and what has to stand behind a comma.
_OPENED: Final = {
    _ARRAY: re.compile(rb"%b\]|%b" % (_WS, _ITEMS)),
    ord("{"): re.compile(rb"%b\}|%b" % (_WS, _ENTRIES)),
}
_CONTINUED: Final = {_ARRAY: re.compile(_ITEMS), ord("{"): re.compile(_ENTRIES)}
_ENDED: Final = re.compile(_WS + rb"([,\]}])")

_BEGIN: Final = re.compile(_WS + rb"\{")
_NAME: Final = re.compile(_WS + rb"(%b)" % _STRING + _WS + rb":" + _WS)
_VALUE: Final = re.compile(_SCALAR)
_SEPARATOR: Final = re.compile(_WS + rb"[,}]")
_BLANK: Final = re.compile(_WS)


class ModelField:
    """The model a body names.

    Attributes:
        name: Decoded, as UTF-8; at most MAX_MODEL_NAME bytes.
        start, end: Where the name stands in the body, between its quotes.
    """

    __slots__ = ("end", "name", "start")

    def __init__(self, name: bytes, start: int, end: int) -> None:
        self.name = name
        self.start = start
        self.end = end


def find_model(body: bytes) -> ModelField:
    """The one top-level "model" string of a JSON object (RFC 8259). Raises: Refused."""
    _check_utf8(body)
    begin = _BEGIN.match(body)
    if begin is None:
        raise _unnamed("it is no JSON object")
    found: ModelField | None = None
    separator: re.Match[bytes] = begin
    left = MAX_CONTAINERS
    while not separator[0].endswith(b"}"):
        entry = _NAME.match(body, separator.end())
        left -= 1
        if entry is None or left < 0:
            raise _not_json()
        position, left = _past_value(body, entry.end(), left)
        if _is_model(body[entry.start(1) + 1 : entry.end(1) - 1]):
            if found is not None:
                raise _unnamed("it names the model twice")
            found = _field(body, entry.end(), position)
        separator = _separator(body, position)
    if _BLANK.fullmatch(body, separator.end()) is None:
        raise _not_json()
    if found is None:
        raise _unnamed('it has no top-level "model"')
    return found


def _check_utf8(body: bytes) -> None:
    """Raises: Refused: some reader may find another character in the bytes than the next one."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            raise _not_json() from None


def _separator(body: bytes, position: int) -> re.Match[bytes]:
    """What follows a member of the object itself. Raises: Refused."""
    separator = _SEPARATOR.match(body, position)
    if separator is None:
        raise _not_json()
    return separator


def _past_value(body: bytes, position: int, left: int) -> tuple[int, int]:
    """The end of the value that begins here, and how many containers may still come. Raises: Refused."""
    scalar = _VALUE.match(body, position)
    if scalar is not None:
        return scalar.end(), left
    if body[position : position + 1] not in {b"[", b"{"}:
        raise _not_json()
    return _past_container(body, position, left)


def _past_container(body: bytes, position: int, left: int) -> tuple[int, int]:
    """As _past_value, for an array or an object. Raises: Refused."""
    open_ones = bytearray()
    while True:
        kind = body[position]
        open_ones.append(kind)
        left -= 1
        if left < 0 or len(open_ones) > MAX_DEPTH:
            raise _unnamed(f"it has more than {MAX_CONTAINERS} containers, or more than {MAX_DEPTH} in each other")
        match = _OPENED[kind].match(body, position + 1)
        while match is not None and body[match.end() - 1] == _CLOSERS[open_ones[-1]]:
            open_ones.pop()
            if not open_ones:
                return match.end(), left
            match = _behind_container(body, match.end(), open_ones[-1])
        if match is None:
            raise _not_json()
        position = match.end()


def _behind_container(body: bytes, position: int, kind: int) -> re.Match[bytes] | None:
    """What follows an inner container in its outer one, up to the outer one's end or the next inner one."""
    ended = _ENDED.match(body, position)
    if ended is None or ended[1] != b",":
        return ended if ended is not None and ended[1][0] == _CLOSERS[kind] else None
    return _CONTINUED[kind].match(body, ended.end())


def _is_model(key: bytes) -> bool:
    """Whether a key is "model" to some server; Go's matches names whatever their case.

    Raises: Refused: it is "model" in another case, or cannot be decoded.
    """
    if len(key) > _MAX_KEY:
        return False
    word = _decoded(key) if b"\\" in key else key.decode()
    if word.lower() != _KEY:
        return False
    if word != _KEY:
        raise _unnamed('a key is "model" but for its case')
    return True


def _field(body: bytes, start: int, end: int) -> ModelField:
    """The value of "model", which stands there. Raises: Refused."""
    raw = body[start + 1 : end - 1] if body.startswith(b'"', start) else b""
    if not raw or len(raw) > 6 * MAX_MODEL_NAME:
        raise _unnamed('its "model" is no text of a reasonable length')
    name = _decoded(raw).encode()
    if len(name) > MAX_MODEL_NAME:
        raise _unnamed('its "model" is no text of a reasonable length')
    return ModelField(name, start + 1, end - 1)


def _decoded(raw: bytes) -> str:
    """What stands between the quotes of a JSON string. Raises: Refused."""
    try:
        text: str = orjson.loads(b'"%b"' % raw)
    except orjson.JSONDecodeError:
        raise _not_json() from None
    return text


def _not_json() -> Refused:
    return _unnamed("it is no valid JSON object with members")


def _unnamed(detail: str) -> Refused:
    return Refused(problems.MODEL_NOT_NAMED, f"the body has to name the model: {detail}")
