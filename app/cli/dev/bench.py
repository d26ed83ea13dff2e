"""`bench`: the side-by-side measurements of a checkout, as tables or one document."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Json
from app.cli.output import Refused
from app.cli.process import become
from app.cli.verbs import PROJECT, ExitCode


class Subject(StrEnum):
    """The benchmarks there are."""

    PROXY = "proxy"
    DECIDE = "decide"


def command(
    subject: Annotated[Subject, typer.Argument(metavar="proxy|decide")],
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Under 50 seconds, with wider ranges.")] = False,
    seed: Annotated[int | None, typer.Option(help="For `decide`: repeat a run exactly.", show_default=False)] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write Markdown, a plot and JSON there.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the data plane's cost or the rule's errors, beside peers in the same run."""
    if subject is Subject.PROXY and seed is not None:
        raise Refused(ExitCode.USAGE, "`bench proxy` measures a machine; a seed cannot repeat that.")
    words = [subject.value]
    words += ["--quick"] if quick else []
    words += [] if seed is None else ["--seed", str(seed)]
    words += [] if report is None else ["--report", str(_made(report))]
    words += ["--json"] if as_json else []
    # The benchmarks are no part of the installed package, and no layer above it.
    os.chdir(PROJECT)
    become("bench", *words)


def _made(folder: Path) -> Path:
    """Make the folder before the run, so that minutes of measuring do not end without a place for them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(ExitCode.USAGE, f"no report can be written there: {error}") from None
    return folder.resolve()
