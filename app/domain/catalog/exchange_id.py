"""Ids of exchanges: nobody can foretell one or make one up, and who has the secret knows its own again.

Rule: an id is one number, encrypted. So ids never repeat, show neither order nor origin, and one that was
invented decrypts to no number (ADR 0143).

    block : 5 bytes of zeros : 9 bytes of a batch : 2 bytes of a place in it, below 1,024
    id    : AES-128 of the block (FIPS 197), as 32 hexadecimal digits

Each process begins at a random batch, so that no two share one. A block stands alone, which is why the
ECB mode is right here: no two blocks under one key are ever the same.
"""

import re
from binascii import hexlify
from hashlib import blake2b
from struct import Struct
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from app.domain.catalog.receipt import ReceiptKey

BATCH_IDS: Final = 1_024
# Where a process may begin: so far from the end that it never comes there.
FIRST_BATCH_BITS: Final = 71
_BATCH_BYTES: Final = 9
_ZEROS: Final = bytes(5)
_PLACES: Final = tuple(place.to_bytes(2, "big") for place in range(BATCH_IDS))
_IDS: Final = Struct("32s" * BATCH_IDS)
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
# What the key of ids is derived for, and for nothing else (BLAKE2b's personalization, RFC 7693 §2.5).
_PURPOSE: Final = b"exchange ids"


class IdKey:
    """Makes ids, and opens them."""

    def __init__(self, key: ReceiptKey) -> None:
        """Args: key: Of receipts; what is derived of it here says nothing about it."""
        secret = blake2b(b"", key=key.secret, digest_size=16, person=_PURPOSE).digest()
        cipher = Cipher(algorithms.AES(secret), modes.ECB())  # noqa: S305 -- single blocks, all different
        self._encryptor = cipher.encryptor()
        self._decryptor = cipher.decryptor()

    def batch(self, number: int) -> tuple[bytes, ...]:
        """All ids of a batch, in the order of their places."""
        front = _ZEROS + number.to_bytes(_BATCH_BYTES, "big")
        blocks = front.join((b"", *_PLACES))
        return _IDS.unpack(hexlify(self._encryptor.update(blocks)))

    def opened(self, exchange: str) -> int | None:
        """Which id it is, counted from the first of batch 0; None when this key made no such id."""
        if not is_id(exchange):
            return None
        block = self._decryptor.update(bytes.fromhex(exchange))
        place = int.from_bytes(block[-2:], "big")
        if not block.startswith(_ZEROS) or place >= BATCH_IDS:
            return None
        return int.from_bytes(block[len(_ZEROS) : -2], "big") * BATCH_IDS + place


def is_id(name: str) -> bool:
    """Whether it looks like the id of an exchange; whether it is one only its key knows."""
    return _ID.fullmatch(name) is not None
