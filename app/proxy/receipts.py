"""What receipts of this process are made with: the key, and ids of exchanges."""

import secrets
from binascii import hexlify
from typing import Final

from app.domain.receipt import ReceiptKey

# What stands before a receipt in an answer's head.
RECEIPT: Final = b"x-turnback-receipt: "


class Receipts:
    """One process.

    Attributes:
        key: Signs; without one that others know, nobody but this process could open its receipts.
    """

    __slots__ = ("_count", "_prefix", "key")

    def __init__(self, key: ReceiptKey | None) -> None:
        self.key = key or ReceiptKey.of(secrets.token_bytes(32))
        self._prefix = secrets.token_hex(8).encode()
        self._count = 0

    def new_exchange(self) -> bytes:
        """The id of an exchange that was answered, unique among all processes: 32 hexadecimal digits."""
        self._count += 1
        return self._prefix + hexlify(self._count.to_bytes(8, "big"))
