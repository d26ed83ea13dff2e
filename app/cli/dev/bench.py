"""`bench`: the side-by-side measurements of a checkout, as tables or one document."""

import random
from collections.abc import Iterator
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import Document, Json, Refused, columns, say, write, write_document
from app.cli.verbs import ExitCode


class Subject(StrEnum):
    """What can be measured."""

    PROXY = "proxy"
    DECIDE = "decide"


def bench(
    subject: Annotated[Subject, typer.Argument(metavar="proxy|decide")],
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Under 50 seconds, with wider ranges.")] = False,
    seed: Annotated[int | None, typer.Option(help="For `decide`: repeat a run exactly.", show_default=False)] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write Markdown, a plot and JSON there.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the data plane's cost or the rule's errors, beside peers in the same run."""
    if subject is Subject.PROXY and seed is not None:
        raise Refused(ExitCode.USAGE, "`bench proxy` measures a machine; a seed cannot repeat that.")
    if report is not None:
        _make(report)
    match subject:
        case Subject.PROXY:
            measured, tables = _proxy(quick, report)
        case Subject.DECIDE:
            measured, tables = _decide(quick, seed, report)
    if as_json:
        write_document(measured)
    else:
        write(tables)


def _proxy(quick: bool, report: Path | None) -> tuple[Document, str]:
    # The benchmarks are no part of the installed package, and no layer above it.
    servers = import_module("bench.servers")
    try:
        measured: Document = import_module("bench.proxy").run(quick, say)
    except servers.BenchFailed as failed:
        raise Refused(ExitCode.FAILED, f"the benchmark cannot go on: {failed}") from None
    if report is not None:
        say(f"the report is {import_module('bench.report').write(measured, report)}")
    return measured, "\n\n".join(_tables(measured))


def _make(folder: Path) -> None:
    """Before the run, so that minutes of measuring do not end without a place for them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(ExitCode.USAGE, f"no report can be written there: {error}") from None


def _decide(quick: bool, seed: int | None, report: Path | None) -> tuple[Document, str]:
    chosen = random.SystemRandom().randrange(2**32) if seed is None else seed
    measured: Document = import_module("bench.decide").run(quick, chosen, say)
    page = import_module("bench.judging.page")
    if report is not None:
        say(f"the report is {page.write(measured, report)}")
    return measured, page.tables(measured)


def _tables(figures: Document, name: str = "figure") -> Iterator[str]:
    """Single figures first, then what belongs together beside each other, deeper groups under their path."""
    groups = {key: value for key, value in figures.items() if isinstance(value, dict) and value}
    single = [(key, value) for key, value in figures.items() if not isinstance(value, dict)]
    if single:
        yield columns((name.upper(), "VALUE"), single)
    flat = {key: group for key, group in groups.items() if not any(isinstance(each, dict) for each in group.values())}
    if name != "figure" and len(flat) > 1:
        head = list(dict.fromkeys(column for group in flat.values() for column in group))
        yield columns((name.upper(), *head), [(key, *map(group.get, head)) for key, group in flat.items()])
        groups = {key: group for key, group in groups.items() if key not in flat}
    for key, group in groups.items():
        yield from _tables(group, key if name == "figure" else f"{name} {key}")


COMMANDS = {"bench": bench}
