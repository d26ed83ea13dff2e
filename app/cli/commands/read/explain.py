"""`explain`: why a decision was taken, in words and figures."""

from collections.abc import Iterator
from typing import Annotated

import typer

from app.cli.explanation_lines import explanation_lines
from app.cli.gateway import Gateway, NotThere
from app.cli.options import DEFAULT_URL, Json, Url
from app.cli.output import Refused, write, write_document
from app.cli.verbs import ExitCode
from app.terminal.decisions import decision_lines
from app.terminal.rollouts import e_value, guardrail_lines, mirror_line, rollout_line
from app.terminal.text import Document, moment, plain

_MIRROR_FAILURES = {
    "mirror_only_primary_ok": "the mirror alone failed",
    "mirror_only_mirror_ok": "the mirror alone succeeded",
    "mirror_neither_ok": "neither succeeded",
}


def command(
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
        lines += [*_mirror_lines(document["mirror"]), ""]
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


def _mirror_lines(explained: Document) -> Iterator[str]:
    """The mirror and how its answers compare since it was set; a missing counter is 0."""
    yield f"{mirror_line(explained['mirror'])} since {moment(explained['since'])}"
    counters = explained["counters"]
    pairs, agreed, differed, slower, dropped = (
        counters.get(f"mirror_{name}", 0) for name in ("pairs", "agreed", "differed", "slower", "dropped")
    )
    yield f"  {pairs} pairs: {agreed} agreed, {differed} differed; slower in {slower}"
    for name, words in _MIRROR_FAILURES.items():
        if counters.get(name, 0):
            yield f"  {words}: {counters[name]}"
    if dropped:
        yield f"  copies not sent: {dropped}"
    paired = explained["paired"]
    yield f"  {plain(paired['sentence'])} (e = {e_value(paired['log_e'])})"
