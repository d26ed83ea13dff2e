"""Brings a database to the tables this code was written for."""


def upgrade(url: str) -> None:
    """Apply all missing migrations; any number of processes may try at once. Blocks.

    Raises: DatabaseUnavailable.
    """
    raise NotImplementedError
