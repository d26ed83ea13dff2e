"""Which caller a request is from, and where that caller falls."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from app.domain.catalog.models import Model
from app.domain.catalog.routing import Place, Route, sticky_place
from app.proxy.http1.framing import BLANKS

_COOKIE_LINE: Final = b"cookie:"
_UNITS: Final = 1 << 62


class Sticky:
    """A model's callers keep their arm by the value of a header or a cookie.

    Attributes:
        salted_at: The generation that made the salt; 0 before the first rollout.
    """

    __slots__ = ("_cookie", "_line", "_salt", "salted_at")

    def __init__(self, model: Model, route: Route) -> None:
        header = model.sticky_header
        self._line = _COOKIE_LINE if header is None else header.lower().encode() + b":"
        self._cookie = None if model.sticky_cookie is None else model.sticky_cookie.encode()
        # Before the first rollout a salt only has to be the same in every process.
        self._salt = route.salt or blake2b(model.name.encode(), digest_size=16).digest()
        self.salted_at = route.salted_at

    def place(self, lines: list[bytes], coin: Callable[[], float]) -> Place:
        """Where the request's caller falls; without a key the request is a caller of its own, and gets a coin.

        Args:
            lines: The request's fields.
            coin: Uniform in [0, 1).
        """
        length = len(self._line)
        for line in lines:
            if line[:length].lower() == self._line:
                key = line[length:].strip(BLANKS)
                if self._cookie is not None:
                    key = _cookie(key, self._cookie)
                if key:
                    return sticky_place(key, self._salt)
        return Place(coin(), int(coin() * _UNITS))


def _cookie(field: bytes, name: bytes) -> bytes:
    """The value of a cookie in a Cookie field (RFC 6265 §5.4), empty without it."""
    for pair in field.split(b";"):
        key, _, value = pair.partition(b"=")
        if key.strip(BLANKS) == name:
            return value.strip(BLANKS)
    return b""
