"""`feedback`: labels in bulk out of a file, and how many there are."""

import os
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.gateway import Gateway
from app.cli.labels.files import LabelFile, Place
from app.cli.labels.upload import RESULTS, Bookmark, FeedbackPort, Progress, sent
from app.cli.options import DEFAULT_URL, Json, Url
from app.cli.output import Refused, say, write, write_document
from app.cli.verbs import ExitCode
from app.terminal.text import Document, columns, plain

SHOWN_PROBLEMS = 10
KEY = "TURNBACK_FEEDBACK_KEY"


class Word(StrEnum):
    """The words after `feedback`."""

    SEND = "send"
    STATS = "stats"


def command(
    word: Annotated[Word, typer.Argument(metavar="send|stats")],
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Of stats; of send, for records with an id and no model.")
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option(help="What to send: .csv with a head, or .ndjson.", show_default=False)
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Records in one request.")] = 2_000,
    hours: Annotated[int, typer.Option(min=1, max=168, help="Of stats: how far back.")] = 24,
    inference_url: Annotated[
        str, typer.Option(envvar="TURNBACK_INFERENCE_URL", help="The gateway's inference address.")
    ] = "http://127.0.0.1:8320",
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> int:
    """Send a file of labels, or count the labels of a model."""
    match word:
        case Word.SEND:
            if file is None:
                raise Refused(ExitCode.USAGE, "`feedback send` wants --file labels.csv or --file labels.ndjson.")
            return _send(file, model, inference_url, batch, as_json=as_json)
        case Word.STATS:
            if model is None:
                raise Refused(ExitCode.USAGE, "`feedback stats` wants a model.")
            return _stats(url, model, hours, as_json=as_json)


def _send(path: Path, model: str | None, url: str, batch: int, *, as_json: bool) -> int:
    bookmark = Bookmark.of(path, url)
    progress = Progress()
    try:
        with path.open("rb") as opened, FeedbackPort(url, os.environ.get(KEY)) as port:
            labels = LabelFile(path, opened, model)
            progress = _resumed(labels, bookmark) or progress
            size = path.stat().st_size
            for _ in _followed(labels.place, sent(labels, port, bookmark, progress, batch), size):
                pass
    except OSError as problem:
        raise Refused(ExitCode.USAGE, f"{plain(path)}: {problem.strerror or problem}.") from None
    except Refused as problem:
        raise _with_place(problem, bookmark) from None
    bookmark.remove()
    _tell(path, progress, as_json=as_json)
    return ExitCode.DONE if progress.is_clean else ExitCode.FAILED


def _resumed(labels: LabelFile, bookmark: Bookmark) -> Progress | None:
    """The progress of before, when there is a bookmark. Raises: Refused: the file is not the same any more."""
    kept = bookmark.read()
    if kept is None:
        return None
    place, progress = kept
    if not labels.go_on_at(place):
        name = plain(bookmark.path)
        raise Refused(
            ExitCode.CONFLICT,
            f"the file has changed before the place up to which it was sent; remove {name} to send all of it.",
        )
    say(f"going on after line {place.line:,}, as {plain(bookmark.path.name)} says.")
    return progress


def _followed(start: Place, places: Iterable[Place], size: int) -> Iterator[Place]:
    """The same places, with a bar on a terminal."""
    from rich.console import Console  # noqa: PLC0415 -- the other word needs none of it
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn  # noqa: PLC0415 -- likewise

    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=size, completed=start.offset)
        for place in places:
            bar.update(task, completed=place.offset)
            yield place


def _with_place(problem: Refused, bookmark: Bookmark) -> Refused:
    """The same refusal, and how far the file was taken before it."""
    kept = bookmark.read()
    if kept is None or problem.code is ExitCode.CONFLICT:
        return problem
    sentence = f"{problem} Everything up to line {kept[0].line:,} was taken; the same command goes on there."
    return Refused(problem.code, sentence, problem.problem)


def _tell(path: Path, progress: Progress, *, as_json: bool) -> None:
    counts = {result: progress.counts[result] for result in RESULTS}
    if as_json:
        write_document({"file": str(path), "records": sum(counts.values()), **counts, "problems": progress.problems})
        return
    told = ", ".join(f"{count:,} {result}" for result, count in counts.items() if count) or "nothing in it"
    write(f"{plain(path)}: {sum(counts.values()):,} records, {told}.")
    for each in progress.problems[:SHOWN_PROBLEMS]:
        say(f"  line {each['line']}: {each['result']}: {plain(each['reason'])}")


def _stats(url: str, model: str, hours: int, *, as_json: bool) -> int:
    with Gateway(url) as gateway:
        stats = gateway.get("models", model, "feedback", hours=hours)
    if as_json:
        write_document(stats)
        return ExitCode.DONE
    write(f"{plain(model)}: labels of the last {hours} h; {stats['waiting']:,} wait for their exchange.")
    if stats["counted"]:
        write(columns(("METRIC", "VERSION", "SOURCE", "LABELS", "CORRECTIONS"), map(_counted_row, stats["counted"])))
    if stats["coverage"]:
        head = ("METRIC", "VERSION", "DRAWN", "LABELLED", "COVERAGE", "LAG P50", "LAG P95")
        write(columns(head, map(_coverage_row, stats["coverage"])))
    return ExitCode.DONE


def _counted_row(counted: Document) -> Sequence[object]:
    return counted["metric"], counted["version"], counted["source"], counted["labels"], counted["corrections"]


def _coverage_row(covered: Document) -> Sequence[object]:
    share = None if covered["coverage"] is None else f"{covered['coverage']:.1%}"
    lags = (f"{covered[name]:,.0f} s" for name in ("lag_median_s", "lag_p95_s"))
    return covered["metric"], covered["version"], covered["drawn"], covered["labelled"], share, *lags
