"""Brings a database to the tables this code was written for."""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.exc import InterfaceError, OperationalError

import app
from app.errors import DatabaseUnavailable

# What the names of all partitions begin with.
_PARTITIONS = tuple(f"{table}_" for table in ("tallies", "observed", "spreads", "answers", "labels"))
# Alembic keeps what it is at in the module; and one that hangs must not be overtaken by its successor.
_ONE_AT_A_TIME = threading.Lock()
SCRIPTS = Path(app.__file__).parent.parent / "migrations"


def upgrade(url: str) -> None:
    """Apply all missing migrations; any number of processes may try at once. Blocks.

    Raises: DatabaseUnavailable.
    """
    try:
        with _ONE_AT_A_TIME:
            command.upgrade(config(url), "head")
    except (OperationalError, InterfaceError) as missing:
        raise DatabaseUnavailable from missing


def config(url: str) -> Config:
    """Alembic's view of this project for one database."""
    made = Config(attributes={"url": url})
    made.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return made


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Whether Alembic shall compare this object; partitions come and go without migrations."""
    return kind != "table" or name is None or not name.startswith(_PARTITIONS)
