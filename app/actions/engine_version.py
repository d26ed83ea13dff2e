"""Which engine this is: the release, and a fingerprint of the sources that decide.

Rule: two engines that could decide differently have different versions.
"""

from hashlib import sha256
from pathlib import Path

from app import __version__
from app import domain as decides


def _fingerprint() -> str:
    content = sha256()
    for source in sorted(Path(decides.__path__[0]).glob("*.py")):
        content.update(source.read_bytes())
    return content.hexdigest()[:12]


ENGINE_VERSION = f"{__version__}+{_fingerprint()}"
