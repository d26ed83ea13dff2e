"""`explain`: why a decision was taken, in words and figures."""

from typing import Annotated

import typer

from app.cli.gateway import DEFAULT_URL, Gateway, NotThere, Url
from app.cli.output import Document, Json, Refused, plain, write, write_document
from app.cli.screens import decision_lines, guardrail_lines, mirror_lines, rollout_line
from app.cli.verbs import ExitCode


def explain(
    subject: Annotated[str, typer.Argument(metavar="MODEL|DECISION")],
    *,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Say why: the last decision on a model and what its guardrails say, or one decision."""
    with Gateway(url) as gateway:
        document = _explanation(gateway, subject)
    if as_json:
        write_document(document)
        return
    lines: list[str] = []
    if document["rollout"] is not None:
        lines += [rollout_line(document["rollout"]), *guardrail_lines(document["rollout"]), ""]
    if document["mirror"] is not None:
        lines += [*mirror_lines(**document["mirror"]), ""]
    if document["decision"] is not None:
        lines += decision_lines(document["decision"], figures=document["rollout"] is None)
    write("\n".join(lines or [f"Nothing was decided about {plain(subject)} yet."]))


def _explanation(gateway: Gateway, subject: str) -> Document:
    try:
        model = gateway.get("models", subject)
    except NotThere:
        return {"rollout": None, "mirror": None, "decision": _decision(gateway, subject)}
    rollout = None if model["rollout"] is None else gateway.get("rollouts", model["rollout"]["id"])
    decisions = gateway.get("decisions", model=subject, limit=1)["items"]
    return {"rollout": rollout, "mirror": _mirror(gateway, model), "decision": decisions[0] if decisions else None}


def _mirror(gateway: Gateway, model: Document) -> Document | None:
    """The model's mirror with its counters of the last hour, None without one."""
    mirror: Document | None = (model["route"] or {}).get("mirror")
    if mirror is None:
        return None
    seen = gateway.get("models", model["name"], "metrics", version=mirror["version"])["items"]
    return {"mirror": mirror, "counters": seen[0]["counters"] if seen else {}}


def _decision(gateway: Gateway, subject: str) -> Document:
    try:
        decision: Document = gateway.get("decisions", subject)
    except NotThere as missing:
        sentence = f"neither a model nor a decision is called {plain(subject)}."
        raise Refused(ExitCode.USAGE, sentence, missing.problem) from None
    return decision


COMMANDS = {"explain": explain}
