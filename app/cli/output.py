"""What commands print: one JSON document or tables on stdout, sentences on stderr."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import typer

from app.cli.verbs import ExitCode

# An answer of the admin API; the gateway's schemas say what is in it.
Document: TypeAlias = Mapping[str, Any]

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


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
    """One JSON document as one line on stdout."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def write(text: str) -> None:
    """Lines for people on stdout."""
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A sentence beside the result, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def plain(value: object) -> str:
    """A value as one line that cannot move a terminal's cursor; an absent one is a dash."""
    return "–" if value is None or value == "" else _CONTROL.sub(" ", str(value))


def columns(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as kubectl draws it: capitals above, two spaces between."""
    lines = [[*head], *([plain(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def moment(at: object) -> str:
    """An RFC 3339 time to the second."""
    return re.sub(r"\.\d+", "", plain(at))


def percent(weight_bp: object) -> str:
    """A weight in basis points as people read it."""
    return f"{weight_bp / 100:g} %" if isinstance(weight_bp, int | float) else "–"
