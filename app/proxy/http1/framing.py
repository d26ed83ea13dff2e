"""Which header fields cross the gateway, and what a strictly framed message looks like.

Rule: llhttp judges every byte of a head; what it accepts is split at CRLF and the first colon, and
what is not understood after that is refused. Framing and hop-by-hop fields are never copied but
made anew (RFC 9110 §7.6.1, RFC 9112 §6). The name tables grow with use, within bounds.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Generic, Protocol, TypeVar

from app.proxy.bounds.learned import Learned

TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
TARGET: Final = re.compile(rb"/[!\"$-\[\]-~]*")  # printable ASCII but for "#" and "\"
HOST: Final = re.compile(rb"([A-Za-z0-9.\-_~%!$&'()*+,;=]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
CRLF: Final = b"\r\n"
HEAD_END: Final = b"\r\n\r\n"
BLANKS: Final = b" \t"
KEEP_ALIVE: Final = frozenset((b"keep-alive", b"Keep-Alive"))
PLAIN_OPTIONS: Final = frozenset((b"close", b"keep-alive"))
OWN_PREFIX: Final = b"x-turnback-"
REQUEST_ID: Final = b"x-request-id: "
MAX_LENGTH_DIGITS: Final = 18
MAX_REQUEST_ID: Final = 128
MAX_LEARNED: Final = 4096
MAX_LEARNED_NAME: Final = 64
_ZERO: Final = ord("0")

_HOP_BY_HOP: Final = (
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
)
DROPPED_FROM_REQUESTS: Final = (*_HOP_BY_HOP, b"x-real-ip", b"http2-settings")
DROPPED_FROM_RESPONSES: Final = (*_HOP_BY_HOP, b"upgrade", b"x-request-id")

_FRAMING_LETTERS: Final = (b"contentlength", b"transferencoding")
_NOT_LETTERS: Final = bytes(set(range(256)) - set(b"abcdefghijklmnopqrstuvwxyz"))


class _Fields(Protocol):
    """What a head needs for its fields to be read: where the lines that cross go."""

    lines: list[bytes]


_Head = TypeVar("_Head", bound=_Fields)
Meaning = Callable[[_Head, bytes], None]


class Names(Generic[_Head]):
    """What each spelling of a field name means to a head, learned once per spelling.

    Attributes:
        known: Spelling to what is called with the head and the field's value; None when the
            field's line crosses as it is.
    """

    __slots__ = ("_learned", "_meanings", "_strict", "_untrusted", "known")

    def __init__(
        self,
        meanings: Mapping[bytes, Meaning[_Head]],
        *,
        dropped: Iterable[bytes],
        untrusted: Meaning[_Head],
        strict: bool,
    ) -> None:
        """Start with nothing learned.

        Args:
            meanings: Lower-case name to what it means.
            dropped: Lower-case names that do not cross.
            untrusted: The meaning of names that some servers read as others.
            strict: Whether an underscore makes a name untrusted.
        """
        self._meanings = {**dict.fromkeys(dropped, _drop), **meanings}
        self._untrusted = untrusted
        self._strict = strict
        self._learned: Learned[bytes, Meaning[_Head] | None] = Learned(MAX_LEARNED)
        self.known = self._learned.known

    def read(self, head: _Head, fields: list[bytes]) -> None:
        """Let the head hear of each field, the first entry being its start line."""
        lines = head.lines
        known = self.known
        for line in fields[1:]:
            name, _, value = line.partition(b":")
            try:
                meaning = known[name]
            except KeyError:
                meaning = self._learn(name)
            if meaning is None:
                lines.append(line)
            else:
                meaning(head, value.strip(BLANKS))

    def _learn(self, name: bytes) -> Meaning[_Head] | None:
        """The meaning of a spelling not seen before."""
        meaning = self._judge(name.lower())
        if len(name) <= MAX_LEARNED_NAME:
            self._learned.keep(name, meaning)
        return meaning

    def _judge(self, lower: bytes) -> Meaning[_Head] | None:
        meaning = self._meanings.get(lower)
        if meaning is not None:
            return meaning
        if lower.startswith(OWN_PREFIX):
            return _drop
        if not lower or lower.translate(None, TOKEN) or (self._strict and b"_" in lower):
            return self._untrusted
        # "content.length" and the like mean framing to some servers and nothing to others.
        return self._untrusted if lower.translate(None, _NOT_LETTERS) in _FRAMING_LETTERS else None


def _drop(head: object, value: bytes) -> None:
    """The field ends here."""


def content_length(value: bytes) -> int:
    """The declared length; -1 when it is no plain decimal number of at most 18 digits (RFC 9112 §6.2)."""
    if not value.isdigit() or len(value) > MAX_LENGTH_DIGITS or (value[0] == _ZERO and value != b"0"):
        return -1
    return int(value)


def host_without_port(value: bytes) -> bytes | None:
    """The host in lower case, None when the field is not `uri-host [":" port]`."""
    match = HOST.fullmatch(value)
    return match[1].lower() if match else None


def connection_options(value: bytes) -> frozenset[bytes] | None:
    """The field names and options a Connection field nominates, None when it is malformed."""
    options = [option.strip(BLANKS).lower() for option in value.split(b",")]
    if any(option.translate(None, TOKEN) for option in options):
        return None
    return frozenset(option for option in options if option)


def without_nominated(lines: list[bytes], nominated: frozenset[bytes]) -> list[bytes]:
    """The forwarded lines whose names no Connection field nominated."""
    return [line for line in lines if line.partition(b":")[0].lower() not in nominated]
