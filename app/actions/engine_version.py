"""Which engine this is: the release, and a fingerprint of the sources that decide.

Rule: two engines that could decide differently have different versions.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from app import __version__
from app import domain as decides


def fingerprint(folder: Path) -> str:
    """Twelve hexadecimal digits of every source under a folder, at any depth: its path in it and its bytes."""
    content = sha256()
    for part in _parts(folder):
        # With its length before it, no part can pass for the end of one and the beginning of the next.
        content.update(len(part).to_bytes(8, "big") + part)
    return content.hexdigest()[:12]


def _parts(folder: Path) -> Iterator[bytes]:
    for source in sorted(folder.rglob("*.py")):
        yield source.relative_to(folder).as_posix().encode()
        yield source.read_bytes()


ENGINE_VERSION = f"{__version__}+{fingerprint(Path(decides.__path__[0]))}"  # ADR 0085
