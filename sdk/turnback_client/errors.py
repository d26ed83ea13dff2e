"""Errors that this package raises on purpose; network errors of an inference are httpx's own."""


class TurnbackClientError(Exception):
    """Whatever this package raises on purpose."""


class LabelRefused(TurnbackClientError):
    """The gateway refuses labels and will go on doing so; the text says why.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"the gateway refuses labels: {status} {why}")
        self.status = status


class NotTaken(TurnbackClientError):
    """The gateway took no labels for as long as was tried; sending them again later is safe."""
