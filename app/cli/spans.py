"""Spans of time as people write and read them: 7d, 12h, 90m, 30s."""

import re

from app.cli.output import Refused
from app.cli.verbs import ExitCode
from app.terminal.text import plain

_SPAN = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_NAMES = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"), (1.0, "s"))


def seconds_of(option: str, span: str) -> float:
    """The span in seconds. Raises: Refused."""
    match = _SPAN.fullmatch(span)
    if match is None:
        raise Refused(ExitCode.USAGE, f"{option} takes a span such as 7d, 12h or 90m; `{plain(span)}` is invalid.")
    return float(int(match["count"]) * _UNITS_S[match["unit"]])


def span_text(seconds: float) -> str:
    """A span in the largest unit of which there are at least two."""
    length, name = next((each for each in _NAMES if seconds >= 2.0 * each[0]), _NAMES[-1])
    return f"{seconds / length:,.3g} {name}"
