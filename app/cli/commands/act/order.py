"""Rollouts and mirrors: what a person orders; each order carries its reason to the audit."""

import json
import re
from contextlib import suppress
from typing import Annotated, Any

import typer

from app.cli.gateway import DEFAULT_URL, Gateway, Url
from app.cli.output import Document, Json, Refused, plain, say, write, write_document
from app.cli.screens import decision_lines
from app.cli.verbs import ExitCode

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL")]
Reason = Annotated[str, typer.Option("-m", "--reason", help="Why, in one line; kept in the audit.")]
_COST_PATIENCE_S = 2.0
_PERCENTAGE = re.compile(r"(?P<whole>[0-9]{1,3})(?:\.(?P<hundredths>[0-9]{1,2}))? ?%?")
Force = Annotated[bool, typer.Option("--force", help="Even if the version that gets the traffic answers no probe.")]


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
        for sentence in rollout.get("advice", ()):
            write(f"  {plain(sentence)}")


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
    _say_what_it_costs(url, model)
    _act(url, model, "rollback", reason, force=force, as_json=as_json)


def _say_what_it_costs(url: str, model: str) -> None:
    """Before it is done; a gateway that does not know, or is slow to say, holds no rollback up."""
    with suppress(Refused), Gateway(url, patience_s=_COST_PATIENCE_S) as gateway:
        back = gateway.get("models", model, "cost", window_s=3_600).get("rollback")
        if back is not None and (back["per_day"] is not None or back["saved_when_stopped"]):
            say(f"{plain(back['sentence'])}.")


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


def mirror(
    model: ModelArgument,
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
    """What is asked for. Raises: Refused."""
    if off and version is None and share is None:
        return None
    if off or version is None or share is None:
        raise Refused(ExitCode.USAGE, "`mirror` wants a version and its --share, or --off alone.")
    return {"version": version, "share_bp": _basis_points(share)}


def _basis_points(percentage: str) -> int:
    """A share in percent, exact to a hundredth. Raises: Refused."""
    match = _PERCENTAGE.fullmatch(percentage)
    if match is None:
        raise Refused(ExitCode.USAGE, f"--share wants percent, such as 10% or 0.5%, and `{plain(percentage)}` is not.")
    return int(match["whole"]) * 100 + int((match["hundredths"] or "").ljust(2, "0"))


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
    "start": start,
    "promote": promote,
    "rollback": rollback,
    "pause": pause,
    "resume": resume,
    "abort": abort,
    "mirror": mirror,
}
