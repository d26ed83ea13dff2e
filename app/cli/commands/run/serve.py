"""`serve`: runs the gateway."""

from typing import Annotated

import typer

from app.cli.options import Json
from app.cli.output import Refused, write_document
from app.cli.verbs import ExitCode

_Port = Annotated[int | None, typer.Option(min=0, max=65_535, help="0 takes a free one.", show_default=False)]
_Host = Annotated[str | None, typer.Option(help="Address to bind to.", show_default=False)]


def command(
    *,
    role: Annotated[
        str, typer.Option(metavar="all|proxy|control", help="proxy serves, control decides, all is both.")
    ] = "all",
    inference_host: _Host = None,
    inference_port: _Port = None,
    admin_host: _Host = None,
    admin_port: _Port = None,
    ops_host: _Host = None,
    ops_port: _Port = None,
    insecure_admin: Annotated[
        bool, typer.Option("--insecure-admin", help="Let admin bind to more than loopback, though it asks for no key.")
    ] = False,
    log_format: Annotated[
        str | None,
        typer.Option(metavar="auto|json|pretty", help="How log events are written to stderr.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> int:
    """Run until SIGTERM; options go before TURNBACK_ variables, --json prints the exit status at the end."""
    from app.main import Role, serve  # noqa: PLC0415 -- the whole gateway; `--help` must not wait for it
    from app.settings import SettingsRefused, load  # noqa: PLC0415 -- likewise

    if role not in set(Role):
        raise Refused(ExitCode.USAGE, f"--role is one of {', '.join(Role)}, and not {role!r}.")
    try:
        settings = load(
            inference_host=inference_host,
            inference_port=inference_port,
            admin_host=admin_host,
            admin_port=admin_port,
            ops_host=ops_host,
            ops_port=ops_port,
            insecure_admin=insecure_admin or None,
            log_format=log_format,
        )
    except SettingsRefused as refused:
        raise Refused(ExitCode.USAGE, str(refused)) from None
    status = serve(settings, Role(role))
    if as_json:
        write_document({"role": role, "exit_code": status})
    return status
