"""Commands print one JSON document or tables on stdout, and sentences on stderr."""

import json
import sys

from app.cli.verbs import ExitCode
from app.terminal.text import Document


class Refused(Exception):
    """The command cannot be done.

    Attributes:
        problem: The gateway's problem document, when it was the gateway that refused.
    """

    def __init__(self, code: ExitCode, sentence: str, problem: Document | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.problem = problem


def write_document(document: object) -> None:
    """Write a JSON document as one line on stdout."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def write(text: str) -> None:
    """Write lines for people on stdout."""
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Write a sentence beside the result, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
