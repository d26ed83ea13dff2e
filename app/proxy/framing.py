"""Which header fields cross the gateway, and what a strictly framed message looks like.

Rule: what is not understood is refused; framing and hop-by-hop fields are never copied but made
anew (RFC 9110 §7.6.1, RFC 9112 §6). The name tables grow with use, bounded in number and length.
"""

import re
from typing import Final

TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
TARGET: Final = re.compile(rb"/[!\"$-\[\]-~]*")  # printable ASCII but for "#" and "\"
LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
HOST: Final = re.compile(rb"([A-Za-z0-9.\-_~%!$&'()*+,;=]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
MAX_REQUEST_ID: Final = 128
MAX_LEARNED: Final = 4096
MAX_LEARNED_NAME: Final = 64

# What a request's field means to the gateway; every other name crosses as it is.
DROP: Final = 0
HOST_FIELD: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 3
CONNECTION: Final = 4
REQUEST_ID: Final = 5
EXPECT: Final = 6
UPGRADE: Final = 7
SINGLETON: Final = 8
REFUSE: Final = 9

_HOP_BY_HOP: Final = (
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
)
_REBUILT: Final = (
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-real-ip",
)
OWN_PREFIX: Final = b"x-turnback-"

_REQUEST_MEANING: Final[dict[bytes, int]] = {
    **dict.fromkeys(_HOP_BY_HOP + _REBUILT + (b"http2-settings",), DROP),
    b"host": HOST_FIELD,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"x-request-id": REQUEST_ID,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"content-type": SINGLETON,
    b"authorization": SINGLETON,
    b"idempotency-key": SINGLETON,
}
_RESPONSE_MEANING: Final[dict[bytes, int]] = {
    **dict.fromkeys((*_HOP_BY_HOP, b"upgrade", b"x-request-id"), DROP),
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
}
_FRAMING_LETTERS: Final = (b"contentlength", b"transferencoding")
_NOT_LETTERS: Final = bytes(set(range(256)) - set(b"abcdefghijklmnopqrstuvwxyz"))


class Names:
    """What each spelling of a field name means, learned once per spelling.

    Attributes:
        crossing: Spelling to the start of the line that is forwarded, `b"accept: "`.
        special: Spelling to one of the meanings above.
    """

    __slots__ = ("_meaning", "_strict", "crossing", "special")

    def __init__(self, meaning: dict[bytes, int], *, strict: bool) -> None:
        self._meaning = meaning
        self._strict = strict
        self.crossing: dict[bytes, bytes] = {}
        self.special: dict[bytes, int] = {}

    def learn(self, name: bytes) -> int | None:
        """The meaning of a spelling not seen before; None when the field crosses."""
        lower = name.lower()
        meaning = self._judge(lower)
        if len(name) <= MAX_LEARNED_NAME and len(self.crossing) + len(self.special) < MAX_LEARNED:
            if meaning is None:
                self.crossing[name] = lower + b": "
            else:
                self.special[name] = meaning
        return meaning

    def _judge(self, lower: bytes) -> int | None:
        meaning = self._meaning.get(lower)
        if meaning is not None:
            return meaning
        if lower.startswith(OWN_PREFIX):
            return DROP
        if self._strict and b"_" in lower:
            return REFUSE
        # "content.length" and the like mean framing to some servers and nothing to others.
        return REFUSE if lower.translate(None, _NOT_LETTERS) in _FRAMING_LETTERS else None


REQUEST_NAMES: Final = Names(_REQUEST_MEANING, strict=True)
RESPONSE_NAMES: Final = Names(_RESPONSE_MEANING, strict=False)


def content_length(value: bytes) -> int:
    """The declared length, -1 when it is not `0|[1-9]\\d*` of at most 18 digits (RFC 9112 §6.2)."""
    value = value.strip(b" \t")
    return int(value) if LENGTH.fullmatch(value) else -1


def host_without_port(value: bytes) -> bytes | None:
    """The host in lower case, None when the field is not `uri-host [":" port]`."""
    match = HOST.fullmatch(value.strip(b" \t"))
    return match[1].lower() if match else None


def connection_options(value: bytes) -> frozenset[bytes] | None:
    """The field names and options a Connection field nominates, None when it is malformed."""
    options = [option.strip(b" \t").lower() for option in value.split(b",")]
    if any(option.translate(None, TOKEN) for option in options):
        return None
    return frozenset(option for option in options if option)


def without_nominated(lines: list[bytes], nominated: frozenset[bytes]) -> list[bytes]:
    """The forwarded lines whose names no Connection field nominated."""
    return [line for line in lines if line.partition(b":")[0] not in nominated]


def is_sane_request_id(value: bytes) -> bool:
    """Whether a client's request id can travel on: token characters, at most 128."""
    return 0 < len(value) <= MAX_REQUEST_ID and not value.translate(None, TOKEN)
