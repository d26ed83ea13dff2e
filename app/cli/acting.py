"""`register` and the actions on a rollout; each action carries its reason to the audit."""

import json
from typing import Annotated, Any

import typer

from app.cli.gateway import DEFAULT_URL, Gateway, NotThere, Url
from app.cli.output import Document, Json, Refused, plain, write, write_document
from app.cli.screens import decision_lines
from app.cli.verbs import ExitCode

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL")]
Reason = Annotated[str, typer.Option("-m", "--reason", help="Why, in one line; kept in the audit.")]
Force = Annotated[bool, typer.Option("--force", help="Even if the version that gets the traffic answers no probe.")]


def register(
    model: ModelArgument,
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    *,
    upstream: Annotated[str, typer.Option("--url", help="The model server's address, http://host:port[/base].")],
    health_path: Annotated[str | None, typer.Option(help="Path that answers 2xx when the server is ready.")] = None,
    host: Annotated[str | None, typer.Option(help="For a new model: the Host header that finds it.")] = None,
    path_prefix: Annotated[str | None, typer.Option(help="For a new model: the path prefix that finds it.")] = None,
    admin: Annotated[
        str, typer.Option("--admin-url", envvar="TURNBACK_ADMIN_URL", help="The gateway's admin address.")
    ] = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Add a version; the model too, when it is new."""
    match = {"host": host, "path_prefix": path_prefix}
    given = {name: value for name, value in match.items() if value is not None}
    body = {"url": upstream} | ({"health_path": health_path} if health_path else {})
    with Gateway(admin) as gateway:
        try:
            gateway.get("models", model)
        except NotThere:
            gateway.post("models", body={"name": model, **({"match": given} if given else {})})
        registered = gateway.put("models", model, "versions", version, body=body)
    if as_json:
        write_document(registered)
    else:
        write(f"{plain(model)} {plain(version)} is registered at {plain(upstream)}.")


def start(
    model: ModelArgument,
    *,
    canary: Annotated[str, typer.Option(metavar="VERSION", help="The version to roll out.")],
    reason: Reason,
    policy: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="One field of the policy, such as warmup_s=10; repeatable."),
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Start a rollout; the engine ramps, promotes or turns back by itself."""
    given = dict(_field(word) for word in policy or ())
    body = {"canary": canary, "reason": reason} | ({"policy": given} if given else {})
    with Gateway(url) as gateway:
        rollout = gateway.post("models", model, "rollouts", body=body)
    if as_json:
        write_document(rollout)
    else:
        write(f"{plain(model)}: the rollout of {plain(canary)} is {plain(rollout.get('phase'))}.")


def _field(word: str) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals or not name:
        raise Refused(ExitCode.USAGE, f"--set wants FIELD=VALUE, and `{plain(word)}` is not.")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


def promote(
    model: ModelArgument, *, reason: Reason, force: Force = False, url: Url = DEFAULT_URL, as_json: Json = False
) -> None:
    """Make the canary stable now."""
    _act(url, model, "promote", reason, force=force, as_json=as_json)


def rollback(
    model: ModelArgument, *, reason: Reason, force: Force = False, url: Url = DEFAULT_URL, as_json: Json = False
) -> None:
    """Give all traffic back to stable now."""
    _act(url, model, "rollback", reason, force=force, as_json=as_json)


def pause(model: ModelArgument, *, reason: Reason, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Hold the canary's weight."""
    _act(url, model, "pause", reason, as_json=as_json)


def resume(model: ModelArgument, *, reason: Reason, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Let a paused, frozen or expired rollout go on."""
    _act(url, model, "resume", reason, as_json=as_json)


def abort(
    model: ModelArgument, *, reason: Reason, force: Force = False, url: Url = DEFAULT_URL, as_json: Json = False
) -> None:
    """End the rollout, all traffic to stable, no verdict."""
    _act(url, model, "abort", reason, force=force, as_json=as_json)


def _act(url: str, model: str, action: str, reason: str, *, force: bool = False, as_json: bool) -> None:
    with Gateway(url) as gateway:
        rollout = _rollout_of(gateway, model)
        body = {"reason": reason} | ({"force": True} if force else {})
        decision = gateway.post("rollouts", f"{rollout['id']}:{action}", body=body)
    if as_json:
        write_document(decision)
    else:
        write("\n".join(decision_lines(decision)))


def _rollout_of(gateway: Gateway, model: str) -> Document:
    """The model's current rollout, or its last. Raises: Refused."""
    rollout: Document | None = gateway.get("models", model).get("rollout")
    if rollout is None:
        raise Refused(ExitCode.CONFLICT, f"model {plain(model)} has no rollout; `start` begins one.")
    return rollout


COMMANDS = {
    "register": register,
    "start": start,
    "promote": promote,
    "rollback": rollback,
    "pause": pause,
    "resume": resume,
    "abort": abort,
}
