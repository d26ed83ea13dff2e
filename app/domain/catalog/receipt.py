"""The signed token in an answer that feedback must bring back.

Rule: a receipt says by itself which version answered, under which weights and when, so that a label
is attributed without a look-up; nobody can make one, or change one, without the secret.

    1 : key : model : version : generation : second : exchange : slices : mac

Fields are ASCII text between colons, which no name contains; numbers are hexadecimal, as is the MAC:
keyed BLAKE2b (RFC 7693) of 120 bits over all before it.
"""

import re
from binascii import hexlify
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from hmac import compare_digest
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from app.domain.catalog.models import ModelName, VersionName

FORMAT: Final = "1"
MAC_BYTES: Final = 15
# Names, numbers and slices of the largest size fit.
MAX_LENGTH: Final = 1_024
# Of the slices; what does not fit is left out, and the first come first.
MAX_SLICES_LENGTH: Final = 768
_EXCHANGE: Final = re.compile(r"[0-9a-f]{32}")
_NUMBER: Final = re.compile(r"[0-9a-f]{1,15}")


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """A secret that signs receipts.

    Attributes:
        name: Says which of several keys it was, and nothing about the secret.
        secret: 16 to 64 bytes.
    """

    name: str
    secret: bytes

    @classmethod
    def of(cls, secret: bytes) -> "ReceiptKey":
        """The key of a secret of any length of 16 bytes or more."""
        whole = blake2b(secret, digest_size=64).digest()
        return cls(blake2b(whole, digest_size=4).hexdigest(), whole)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt says.

    Attributes:
        generation: The weight epoch of the draw; 0 when no coin chose the version, so that it is no evidence.
        second: Of the draw, Unix time in database time.
        exchange: 32 hexadecimal digits, unique among all processes.
        slices: Those that the request's headers declared.
    """

    model: ModelName
    version: VersionName
    generation: int
    second: int
    exchange: str
    slices: Mapping[str, str] = field(default_factory=dict)


class Forged(Exception):
    """This is no receipt that one of the keys has signed."""


class Signer:  # ADR 0090
    """Signs the receipts of one version in one weight epoch: what is the same in all of them is hashed once."""

    __slots__ = ("_front", "_front_of_second", "_hash", "_hash_of_second", "_label", "_second")

    def __init__(
        self, key: ReceiptKey, model: ModelName, version: VersionName, generation: int, label: bytes = b""
    ) -> None:
        """Args: label: Stands before each token and is no part of it."""
        self._label = label
        self._front = f"{FORMAT}:{key.name}:{model}:{version}:{generation:x}:".encode()
        self._hash = blake2b(self._front, key=key.secret, digest_size=MAC_BYTES)
        self._second = -1
        self._front_of_second = b""
        self._hash_of_second = self._hash

    def receipt(self, second: int, exchange: bytes, slices: bytes = b"") -> bytes:
        """The label and the token.

        Args:
            second: Of the draw, Unix time.
            exchange: 32 hexadecimal digits.
            slices: Of `packed_slices`.
        """
        if second != self._second:
            self._begin(second)
        rest = exchange + b":" + slices
        mac = self._hash_of_second.copy()
        mac.update(rest)
        return self._front_of_second + rest + b":" + hexlify(mac.digest())

    def _begin(self, second: int) -> None:
        """Hash what is the same in all receipts of a second."""
        shared = b"%x:" % second
        self._second = second
        self._front_of_second = self._label + self._front + shared
        self._hash_of_second = self._hash.copy()
        self._hash_of_second.update(shared)


def packed_slices(slices: Mapping[str, str]) -> bytes:
    """Header-declared slices as a receipt holds them; only so many as fit.

    As a form is encoded, with a tilde in place of the percent sign: a receipt is also a segment of a path, and
    there nothing may be escaped.
    """
    packed = urlencode(slices, quote_via=quote, safe="").replace("~", "%7E").replace("%", "~")
    if len(packed) > MAX_SLICES_LENGTH:
        packed = packed[: max(0, packed.rfind("&", 0, MAX_SLICES_LENGTH + 1))]
    return packed.encode()


def opened(token: str, keys: Sequence[ReceiptKey]) -> Receipt:
    """What a token says. Raises: Forged: whatever is wrong with it."""
    if len(token) > MAX_LENGTH or not token.isascii():
        raise Forged
    signed, _, mac = token.rpartition(":")
    parts = signed.split(":")
    if len(parts) != 8 or parts[0] != FORMAT:
        raise Forged
    _, name, model, version, generation, second, exchange, slices = parts
    key = next((key for key in keys if key.name == name), None)
    if key is None or not _is_signed(signed, mac, key):
        raise Forged
    if not (_NUMBER.fullmatch(generation) and _NUMBER.fullmatch(second) and _EXCHANGE.fullmatch(exchange)):
        raise Forged
    named = dict(parse_qsl(slices.replace("~", "%"), keep_blank_values=True))
    return Receipt(ModelName(model), VersionName(version), int(generation, 16), int(second, 16), exchange, named)


def _is_signed(signed: str, mac: str, key: ReceiptKey) -> bool:
    right = hexlify(blake2b(signed.encode(), key=key.secret, digest_size=MAC_BYTES).digest())
    return compare_digest(right, mac.encode())
