"""Words and options that several verbs take."""

from typing import Annotated

import typer

DEFAULT_URL = "http://127.0.0.1:8321"

Model = Annotated[str, typer.Argument(metavar="MODEL")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Url = Annotated[
    str, typer.Option("--url", "--admin-url", envvar="TURNBACK_ADMIN_URL", help="The gateway's admin address.")
]
Window = Annotated[str, typer.Option(metavar="SPAN", help="How much traffic: 7d, 12h, 90m.")]
Reason = Annotated[str, typer.Option("-m", "--reason", help="Why, in one line; kept in the audit.")]
Force = Annotated[bool, typer.Option("--force", help="Even if the version that gets the traffic answers no probe.")]
