"""Values, tables, times and weights as text that is safe to print on a terminal."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

# An answer of the admin API; the gateway's schemas say what is in it.
Document: TypeAlias = Mapping[str, Any]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


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
