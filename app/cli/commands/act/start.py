"""`start`: begins the rollout of a canary."""

import json
from typing import Annotated, Any

import typer

from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Model, Reason, Url
from app.cli.output import Refused, write, write_document
from app.cli.verbs import ExitCode
from app.terminal.text import plain


def command(
    model: Model,
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
    """Start a rollout; the engine ramps, promotes or rolls back by itself."""
    given = dict(_field(word) for word in policy or ())
    body = {"canary": canary, "reason": reason} | ({"policy": given} if given else {})
    with Gateway(url) as gateway:
        rollout = gateway.post("models", model, "rollouts", body=body)
    if as_json:
        write_document(rollout)
    else:
        write(f"{plain(model)}: the rollout of {plain(canary)} is {plain(rollout.get('phase'))}.")
        for sentence in rollout.get("advice", ()):
            write(f"  {plain(sentence)}")


def _field(word: str) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals or not name:
        raise Refused(ExitCode.USAGE, f"--set takes FIELD=VALUE; `{plain(word)}` is invalid.")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text
