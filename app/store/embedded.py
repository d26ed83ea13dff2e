"""A real PostgreSQL from a wheel, for demo, development and tests."""

from pathlib import Path


class EmbeddedPostgres:
    """One server on a Unix socket, its data under one folder. All methods block."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: Made if missing; as root its parents become readable for the server's own user."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where it listens. Only after `start`."""
        raise NotImplementedError

    def start(self) -> str:
        """Start it unless it runs; returns `url`. Raises: CannotServe."""
        raise NotImplementedError

    def is_running(self) -> bool:
        raise NotImplementedError

    def stop(self) -> None:
        """Stop it in order."""
        raise NotImplementedError

    def stop_immediately(self) -> None:
        """Stop it as a crash would: no checkpoint, clients cut off."""
        raise NotImplementedError
