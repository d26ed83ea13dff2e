"""Secrets of receipts and of those who give labels, as settings hold them.

Rule: what is wrong with a secret is said without showing it.
"""

import os
import secrets
from collections.abc import Mapping
from hmac import compare_digest
from pathlib import Path
from typing import Final

from app import private
from app.domain.catalog.receipt import ReceiptKey
from app.domain.evidence.labels import ANONYMOUS
from app.errors import CannotServe

SECRET_MIN: Final = 32
TOKEN_MIN: Final = 16
_FILE: Final = "receipt.key"


class Sources:
    """Who may give labels."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        """Args: tokens: Source to bearer token; without any everybody may, and is `ANONYMOUS`."""
        self._tokens = {name: token.encode() for name, token in tokens.items()}

    @property
    def count(self) -> int:
        """How many there are; all who have no key are one."""
        return max(1, len(self._tokens))

    def of(self, authorization: str | None) -> str | None:
        """Whose label it is that comes with this header; None if nobody's."""
        if not self._tokens:
            return ANONYMOUS
        scheme, _, token = (authorization or "").partition(" ")
        shown = token.strip().encode() if scheme.lower() == "bearer" else b""
        # Every token is compared, so that the time says nothing about which one was nearly right.
        matching = [name for name, mine in self._tokens.items() if compare_digest(mine, shown)]
        return matching[0] if matching else None


def receipt_keys(said: str | None, state_dir: Path, *, embedded: bool) -> tuple[ReceiptKey, ...]:
    """The keys of receipts: the first signs, all are believed.

    Args:
        said: Secrets between commas; None lets an embedded process make one, and keep it.
        state_dir: Where it is kept.
        embedded: Whether this process is the only one.

    Raises: CannotServe.
    """
    if said is None:
        if not embedded:
            raise CannotServe(
                "TURNBACK_SECRET_KEY is required with TURNBACK_DATABASE_URL: a secret of 32 characters or more,"
                " the same in all processes, that signs receipts."
            )
        return (ReceiptKey.of(_kept(state_dir / _FILE)),)
    words = [word.strip() for word in said.split(",")]
    if any(len(word) < SECRET_MIN for word in words):
        raise CannotServe(f"TURNBACK_SECRET_KEY is not acceptable: each secret has {SECRET_MIN} characters or more.")
    return tuple(ReceiptKey.of(word.encode()) for word in words)


def sources(said: str | None) -> Sources:
    """Who may give labels, of name:secret pairs between commas. Raises: CannotServe."""
    tokens: dict[str, str] = {}
    for pair in (said or "").split(",") if said else ():
        name, colon, token = pair.strip().partition(":")
        if not colon or not name or name == ANONYMOUS or name in tokens or len(token) < TOKEN_MIN:
            raise CannotServe(
                "TURNBACK_FEEDBACK_KEYS is not acceptable: it must be name:secret pairs between commas, each name"
                f" once and none {ANONYMOUS!r}, each secret of {TOKEN_MIN} characters or more."
            )
        tokens[name] = token
    return Sources(tokens)


def _kept(path: Path) -> bytes:
    """The secret in that file, made at the first start. Raises: CannotServe."""
    try:
        private.make_folder(path.parent)
        try:
            descriptor = private.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return _checked(path)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        return _checked(path)
    except OSError as failed:
        raise CannotServe(f"The secret of receipts cannot be kept in {path} ({failed.strerror or failed}).") from None


def _checked(path: Path) -> bytes:
    with os.fdopen(private.open_file(path, os.O_RDONLY)) as file:
        secret = file.read().strip()
    if len(secret) < SECRET_MIN:
        raise CannotServe(f"{path} holds no secret of receipts; delete it, and a new one is made.")
    return secret.encode()
