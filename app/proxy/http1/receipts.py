"""What receipts of this process are made with: the key, and ids of exchanges."""

import secrets
from typing import Final

from app.domain.catalog.exchange_id import BATCH_IDS, FIRST_BATCH_BITS, IdKey
from app.domain.catalog.receipt import ReceiptKey

# What stands before a receipt in an answer's head.
RECEIPT: Final = b"x-turnback-receipt: "
# So many ids lie ahead of a process; another one begins among them once in 2**30 pairs of processes.
_AHEAD: Final = 2**51


class Receipts:
    """One process.

    Attributes:
        key: Signs; without one that others know, nobody but this process could open its receipts.
    """

    __slots__ = ("_batch", "_ids", "_ready", "key")

    def __init__(self, key: ReceiptKey | None) -> None:
        self.key = key or ReceiptKey.of(secrets.token_bytes(32))
        self._ids = IdKey(self.key)
        self._batch = secrets.randbits(FIRST_BATCH_BITS)
        # Of that batch, the next one last; it counts as given away until it is made.
        self._ready: list[bytes] = []

    def new_exchange(self) -> bytes:
        """The id of an exchange: 32 hexadecimal digits that nobody can foretell, unique among all processes."""
        if not self._ready:
            self._batch += 1
            self._ready.extend(reversed(self._ids.batch(self._batch)))
        return self._ready.pop()

    def is_ahead(self, number: int) -> bool:
        """Whether this process has still to give the id of that number."""
        given = (self._batch + 1) * BATCH_IDS - len(self._ready)
        return 0 <= number - given < _AHEAD
