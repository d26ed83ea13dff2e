"""The port to what answers inference requests, as the replica sees it."""

from collections.abc import Iterable
from typing import Protocol

from app.domain.catalog.models import ModelName, VersionName
from app.domain.catalog.routing import RoutingTable
from app.recording.batch import Batch


class RefusedVersion(Protocol):
    """A version that the data plane sends nothing to, and why."""

    @property
    def model(self) -> ModelName: ...

    @property
    def version(self) -> VersionName: ...

    @property
    def cause(self) -> str: ...


class DataPlane(Protocol):
    """Draws from a routing table, and counts what becomes of it."""

    def swap(self, table: RoutingTable) -> None:
        """Draw from this table from now on. Raises: ModelUnusable: nothing was changed."""

    def collect(self) -> Batch:
        """Everything that changed since the last acknowledged batch; the same again while none is acknowledged.

        Called only when Postgres listens: what was once handed out is never merged any more.
        """
        ...

    def acknowledge(self, batch: Batch) -> None:
        """Forget what can no longer change: the batch was committed."""

    def open_brakes(self) -> Iterable[RefusedVersion]:
        """The versions that get nothing now."""
        ...
