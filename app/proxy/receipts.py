"""What receipts of this process are made with: the key, and ids of exchanges."""

import secrets
from typing import Final

from app.domain.catalog.receipt import ReceiptKey

# What stands before a receipt in an answer's head.
RECEIPT: Final = b"x-turnback-receipt: "
_LAST_DIGITS: Final = tuple(b"%03x" % number for number in range(4096))


class Receipts:
    """One process.

    Attributes:
        key: Signs; without one that others know, nobody but this process could open its receipts.
    """

    __slots__ = ("_at", "_begun", "_digits", "_prefix", "key")

    def __init__(self, key: ReceiptKey | None) -> None:
        self.key = key or ReceiptKey.of(secrets.token_bytes(32))
        self._prefix = secrets.token_hex(8).encode()
        self._begun = 0
        self._digits = b""
        self._at = len(_LAST_DIGITS)

    def new_exchange(self) -> bytes:
        """The id of an exchange, unique among all processes: 32 hexadecimal digits, the last ones a count."""
        at = self._at
        if at >= len(_LAST_DIGITS):
            self._digits = b"%b%013x" % (self._prefix, self._begun)
            self._begun += 1
            at = 0
        self._at = at + 1
        return self._digits + _LAST_DIGITS[at]
