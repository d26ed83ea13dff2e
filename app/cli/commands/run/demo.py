"""`demo`: plays the story, as a program of its own.

Rule: the demo is a client like any other; nothing of it is imported here.
"""

from typing import Annotated

import typer

from app.cli.options import Json
from app.cli.process import become


def command(
    *,
    headless: Annotated[bool, typer.Option("--headless", help="No live view; one JSON document at the end.")] = False,
    fault: Annotated[
        str | None, typer.Option(metavar="postgres", help="What breaks in the middle.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Play the story; exit code 0 only if it ended as expected. --json is --headless."""
    words = [*(["--headless"] if headless or as_json else []), *([] if fault is None else [f"--fault={fault}"])]
    become("app.demo", *words)
