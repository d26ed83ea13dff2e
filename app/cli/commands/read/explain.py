"""`explain`: why a decision was taken, in words and figures."""

from typing import Annotated

import typer

from app.cli.explanation_lines import explanation_lines
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
    rollout, lines = document["rollout"], list[str]()
    if rollout is not None:
        lines += [rollout_line(rollout), *guardrail_lines(rollout), ""]
        lines += [*explanation_lines(document["explanation"], rollout), ""]
    if document["mirror"] is not None:
        lines += [*mirror_lines(document["mirror"]), ""]
    if document["decision"] is not None:
        lines += decision_lines(document["decision"], figures=rollout is None)
    write("\n".join(lines or [f"Nothing was decided about {plain(subject)} yet."]))


def _explanation(gateway: Gateway, subject: str) -> Document:
    try:
        explained: Document = gateway.get("models", subject, "explanation")
    except NotThere:
        nothing = dict.fromkeys(("model", "rollout", "explanation", "mirror"))
        return nothing | {"decision": _decision(gateway, subject)}
    return explained


def _decision(gateway: Gateway, subject: str) -> Document:
    try:
        decision: Document = gateway.get("decisions", subject)
    except NotThere as missing:
        sentence = f"neither a model nor a decision is called {plain(subject)}."
        raise Refused(ExitCode.USAGE, sentence, missing.problem) from None
    return decision


COMMANDS = {"explain": explain}
