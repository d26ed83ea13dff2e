"""`register`: a version, and the model too when it is new."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.gateway import Gateway, NotThere
from app.cli.options import DEFAULT_URL, Json, Model
from app.cli.output import Refused, write, write_document
from app.cli.policy_file import read_object
from app.cli.verbs import ExitCode
from app.terminal.text import Document, plain

_NEW = "For a new model: "

Urls = Annotated[
    list[str], typer.Option("--url", help="A model server's address, http[s]://host:port[/base]; repeatable.")
]
HealthPath = Annotated[str | None, typer.Option(help="Path that answers 2xx when a server is ready.")]
ServedPath = Annotated[str | None, typer.Option(help="Stands for the part of a request's path that named the model.")]
ServedModel = Annotated[str | None, typer.Option(help="The `model` its servers know in OpenAI-style bodies.")]
Concurrency = Annotated[int | None, typer.Option(min=1, help="Exchanges under way at once, per gateway process.")]
Queue = Annotated[int | None, typer.Option(min=0, help="Exchanges that may wait for one of those to end.")]
ServerName = Annotated[str | None, typer.Option(help="The name an https server's certificate has.")]
Host = Annotated[str | None, typer.Option(help=f"{_NEW}the Host header that finds it.")]
PathPrefix = Annotated[str | None, typer.Option(help=f"{_NEW}the path prefix that finds it.")]
SpokenProtocol = Annotated[str | None, typer.Option(help=f"{_NEW}what its servers speak, such as oip_v2 or openai.")]
StickyHeader = Annotated[str | None, typer.Option(help=f"{_NEW}the header that keeps a caller on a version.")]
StickyCookie = Annotated[str | None, typer.Option(help=f"{_NEW}the cookie that keeps a caller on a version.")]
Prediction = Annotated[
    str | None, typer.Option(metavar="POINTER", help=f"{_NEW}where answers hold the prediction (RFC 6901).")
]
Score = Annotated[str | None, typer.Option(metavar="POINTER", help=f"{_NEW}where answers hold the score (RFC 6901).")]
Invocations = Annotated[bool, typer.Option("--invocations", help=f"{_NEW}it takes /invocations without a name.")]
ModelFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help=f"{_NEW}YAML or JSON with its feedback, slices, features, observation, …"),
]
VersionFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML or JSON with its credentials: offline, prices, …")
]
# A sample of what a version was trained on is long; the gateway says what it takes.
_BYTES_MAX = 16_777_216
AdminUrl = Annotated[str, typer.Option("--admin-url", envvar="TURNBACK_ADMIN_URL", help="The gateway's admin address.")]


def command(
    model: Model,
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    *,
    url: Urls,
    health_path: HealthPath = None,
    path: ServedPath = None,
    served_model: ServedModel = None,
    concurrency: Concurrency = None,
    queue: Queue = None,
    server_name: ServerName = None,
    host: Host = None,
    path_prefix: PathPrefix = None,
    protocol: SpokenProtocol = None,
    sticky_header: StickyHeader = None,
    sticky_cookie: StickyCookie = None,
    prediction: Prediction = None,
    score: Score = None,
    invocations: Invocations = False,
    model_file: ModelFile = None,
    version_file: VersionFile = None,
    admin_url: AdminUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Add a version; the model too, when it is new."""
    of_model = _declared(model_file, "model") | _given(
        match=_given(host=host, path_prefix=path_prefix),
        protocol=protocol,
        sticky_header=sticky_header,
        sticky_cookie=sticky_cookie,
        observation=_given(prediction=prediction, score=score),
        takes_invocations=invocations or None,
    )
    of_version = _declared(version_file, "version") | _given(
        urls=url,
        health_path=health_path,
        path=path,
        served_model=served_model,
        bulkhead=_given(concurrency=concurrency, queue=queue),
        server_name=server_name,
    )
    with Gateway(admin_url) as gateway:
        _have_model(gateway, model, of_model)
        registered = gateway.put("models", model, "versions", version, body=of_version)
    if as_json:
        write_document(registered)
    else:
        places = ", ".join(map(plain, registered["urls"]))
        write(f"{plain(model)} {plain(version)} is registered at {places}.")


def _declared(file: Path | None, what: str) -> dict[str, Any]:
    """The fields of a file, which options override."""
    return {} if file is None else dict(read_object(file, what, _BYTES_MAX))


def _given(**fields: object) -> dict[str, Any]:
    """The fields that were given."""
    return {name: value for name, value in fields.items() if value is not None and value != {}}


def _have_model(gateway: Gateway, model: str, fields: Document) -> None:
    """Make the model unless it is there. Raises: Refused: it is there and differs from what was said of it."""
    try:
        known = gateway.get("models", model)
    except NotThere:
        gateway.post("models", body={**fields, "name": model})
        return
    for name, wanted in fields.items():
        if name not in known or not _says(known[name], wanted):
            raise Refused(
                ExitCode.CONFLICT, f"model {plain(model)} is there with another {name}; a model never changes."
            )


def _says(known: object, wanted: object) -> bool:
    """Whether all that is wanted is known to be so; what was not said does not matter."""
    if isinstance(wanted, dict):
        return isinstance(known, dict) and all(_says(known.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(known, list) and len(known) == len(wanted) and all(map(_says, known, wanted))
    return known == wanted
