"""`simulate`: a model's past rollouts under another policy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Model, Url
from app.cli.output import write, write_document
from app.cli.policy_file import read_policy
from app.cli.spans import seconds_of
from app.terminal.rollouts import SYMBOLS
from app.terminal.text import Document, columns, moment, percent, plain

# Many rollouts are many looks.
_PATIENCE_S = 300.0
_STEPS_SHOWN = 8


def command(
    model: Model,
    *,
    file: Annotated[Path, typer.Option("-f", "--file", metavar="FILE", help="The policy to try, YAML or JSON.")],
    history: Annotated[str, typer.Option(metavar="SPAN", help="How long ago rollouts may have begun: 7d, 12h.")] = "7d",
    limit: Annotated[int, typer.Option(min=1, max=50, help="At most so many rollouts.")] = 20,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Judge past rollouts again under another policy; nothing is changed."""
    body = {"model": model, "policy": read_policy(file), "history_s": seconds_of("--history", history), "limit": limit}
    with Gateway(url, patience_s=_PATIENCE_S) as gateway:
        simulation = gateway.post("policies:simulate", body=body)
    if as_json:
        write_document(simulation)
    else:
        write("\n".join(_lines(simulation)))


def _lines(simulation: Document) -> Iterator[str]:
    if not simulation["items"]:
        yield f"{plain(simulation['model'])} has no rollout that began after {moment(simulation['since'])}."
        return
    yield columns(_HEAD, map(_row, simulation["items"]))
    for retold in simulation["items"]:
        yield ""
        yield f"{plain(retold['rollout']['id'])}: {plain(retold['sentence'])}"
        yield from _step_lines(retold["would_be"])
        yield from (f"  not known: {plain(unknown)}" for unknown in retold["unknown"])


_HEAD = ("CANARY", "BEGAN", "WAS", "ITS ANSWERS", "TOO MANY BAD", "WOULD BE", "ITS ANSWERS", "TOO MANY BAD")


def _row(retold: Document) -> tuple[object, ...]:
    rollout, would_be = retold["rollout"], retold["would_be"]
    endings = [*_ending(retold["was"]), *_ending(None if would_be is None else would_be["ending"])]
    return (rollout["canary"], moment(rollout["started_at"]), *endings)


def _ending(ending: Document | None) -> tuple[object, ...]:
    if ending is None:
        return (None, None, None)
    fate = ending["fate"]
    return (f"{SYMBOLS.get(fate, '●')} {fate}", ending["canary_answers"], f"{max(0.0, ending['extra_bad']):.0f}")


def _step_lines(would_be: Document | None) -> Iterator[str]:
    """The last decisions, the newest at the end; the first ones are all alike."""
    steps = [] if would_be is None else would_be["steps"]
    if len(steps) > _STEPS_SHOWN:
        yield f"  {len(steps) - _STEPS_SHOWN} earlier decisions; --json has them"
    for step in steps[-_STEPS_SHOWN:]:
        yield f"  {moment(step['at'])}  {step['action']} at {percent(step['weight_bp'])}: {plain(step['sentence'])}"
