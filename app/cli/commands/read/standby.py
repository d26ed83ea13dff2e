"""`standby`: whether the version before a promotion would be better today."""

from typing import Annotated

import typer

from app.cli.gateway import DEFAULT_URL, Gateway, Url
from app.cli.output import Json, write, write_document
from app.cli.screens import watch_lines


def standby(
    model: Annotated[str, typer.Argument(metavar="MODEL")], *, url: Url = DEFAULT_URL, as_json: Json = False
) -> None:
    """Show a promoted version beside its standby."""
    with Gateway(url) as gateway:
        watch = gateway.get("models", model, "watch")
    if as_json:
        write_document(watch)
    else:
        write("\n".join(watch_lines(watch)))


COMMANDS = {"standby": standby}
