"""Where the recorder writes down what it counts, whoever keeps it."""

from typing import Protocol

from app.recording.journal_record import ArmName


class JournalPort(Protocol):
    """A journal.

    What is called for each exchange takes its arguments by position: compiled code finds them sooner.
    """

    is_up: bool

    def append(self, body: bytes) -> None:
        """Write one record, all of it but the checksum; a journal that is down takes it and keeps nothing."""

    def number(self, arm: ArmName) -> int:
        """The number that stands for an arm in the records."""
