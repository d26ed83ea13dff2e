"""One version in one weight epoch, as its exchanges are counted."""

from app.domain.catalog.models import ModelName, VersionName
from app.recording.tally_row import Cell
from app.recording.totals import Totals


class Arm:
    """Whom exchanges are counted for.

    Attributes:
        totals: Of the version since this process started.
        errors: Of the exchanges drawn here, how many ended with an error of the upstream or without a connection.
        cell: The row of the second that was last counted in; cell_second: that second.
    """

    __slots__ = ("cell", "cell_second", "errors", "generation", "model", "totals", "version")

    def __init__(self, model: ModelName, generation: int, version: VersionName, totals: Totals) -> None:
        self.model = model
        self.generation = generation
        self.version = version
        self.totals = totals
        self.errors = 0
        self.cell: Cell | None = None
        self.cell_second = -1
