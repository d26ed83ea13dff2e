"""`replay`: a decision made again, and whether it comes out the same."""

from collections.abc import Iterator
from typing import Annotated

import typer

from app.cli.gateway import Gateway, NotThere
from app.cli.options import DEFAULT_URL, Json, Url
from app.cli.output import Refused, write, write_document
from app.cli.verbs import ExitCode
from app.terminal.decisions import decision_lines
from app.terminal.text import Document, plain

# An hour of a busy model's rows takes its time to be summed again.
_PATIENCE_S = 120.0
_SHOWN_MAX = 20
_CODES = {
    "agrees": ExitCode.DONE,
    "order": ExitCode.DONE,
    "differs": ExitCode.DIFFERENCES,
    "not_replayable": ExitCode.UNDECIDED,
}


def command(
    decision: Annotated[str, typer.Argument(metavar="DECISION")],
    *,
    from_rows: Annotated[
        bool, typer.Option("--from-rows", help="Sum its counts from the tallies too, while they are kept.")
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> int:
    """Make a decision again from what it was made from; 10 when it comes out otherwise."""
    with Gateway(url, patience_s=_PATIENCE_S) as gateway:
        try:
            stored = gateway.get("decisions", decision)
            replayed = gateway.get("decisions", decision, "replay", from_rows=str(from_rows).lower())
        except NotThere as missing:
            raise Refused(ExitCode.USAGE, f"no decision is called {plain(decision)}.", missing.problem) from None
    if as_json:
        write_document(replayed)
    else:
        write("\n".join([*decision_lines(stored), "", *_replay_lines(replayed)]))
    return _code(replayed)


def _code(replayed: Document) -> ExitCode:
    summed = replayed["from_rows"]
    if summed is not None and summed["agrees"] is False:
        return ExitCode.DIFFERENCES
    return _CODES.get(replayed["outcome"], ExitCode.FAILED)


def _replay_lines(replayed: Document) -> Iterator[str]:
    yield plain(replayed["sentence"])
    yield from _difference_lines(replayed["differences"])
    yield f"  decided with {plain(replayed['decided_with'])}, replayed with {plain(replayed['replayed_with'])}"
    if replayed["from_rows"] is not None:
        yield plain(replayed["from_rows"]["sentence"])
        yield from _difference_lines(replayed["from_rows"]["differences"])


def _difference_lines(found: list[Document]) -> Iterator[str]:
    for each in found[:_SHOWN_MAX]:
        yield f"  {plain(each['name'])}: stored {plain(each['stored'])}, recomputed {plain(each['recomputed'])}"
    if len(found) > _SHOWN_MAX:
        yield f"  and {len(found) - _SHOWN_MAX} more; --json has them all"
