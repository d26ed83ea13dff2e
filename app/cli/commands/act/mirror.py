"""`mirror`: sends copies of requests to a version, or ends that."""

import re
from typing import Annotated

import typer

from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Model, Reason, Url
from app.cli.output import Refused, write, write_document
from app.cli.verbs import ExitCode
from app.terminal.decisions import decision_lines
from app.terminal.text import Document, plain

_PERCENTAGE = re.compile(r"(?P<whole>[0-9]{1,3})(?:\.(?P<hundredths>[0-9]{1,2}))? ?%?")


def command(
    model: Model,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="The version that gets copies.")] = None,
    *,
    reason: Reason,
    share: Annotated[str | None, typer.Option(metavar="PERCENT", help="Share of the requests, such as 10%.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Nobody gets copies any more.")] = False,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Send copies of requests to a version and drop its answers."""
    with Gateway(url) as gateway:
        body = {"mirror": _mirror(version, share, off=off), "reason": reason}
        decision = gateway.put("models", model, "route", body=body)
    if as_json:
        write_document(decision)
    else:
        write("\n".join(decision_lines(decision)))


def _mirror(version: str | None, share: str | None, *, off: bool) -> Document | None:
    """The mirror as the API takes it; None ends it. Raises: Refused."""
    if off and version is None and share is None:
        return None
    if off or version is None or share is None:
        raise Refused(ExitCode.USAGE, "`mirror` wants a version and its --share, or --off alone.")
    return {"version": version, "share_bp": _basis_points(share)}


def _basis_points(percentage: str) -> int:
    """A share in percent, exact to a hundredth. Raises: Refused."""
    match = _PERCENTAGE.fullmatch(percentage)
    if match is None:
        raise Refused(ExitCode.USAGE, f"--share takes percent, such as 10% or 0.5%; `{plain(percentage)}` is invalid.")
    return int(match["whole"]) * 100 + int((match["hundredths"] or "").ljust(2, "0"))
