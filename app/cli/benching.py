"""`bench`: the side-by-side measurements of a checkout, as tables or one document."""

import random
from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from typing import Annotated, Any

import typer

from app.cli.output import Document, Json, Refused, columns, plain, say, write, write_document
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
    as_json: Json = False,
) -> None:
    """Measure the data plane's cost or the rule's errors, beside peers in the same run."""
    measured = _MEASURE[subject](quick, seed)
    if as_json:
        write_document(measured)
    else:
        write("\n\n".join(_tables(measured)))


def _proxy(quick: bool, seed: int | None) -> Document:
    if seed is not None:
        raise Refused(ExitCode.USAGE, "`bench proxy` measures a machine; a seed cannot repeat that.")
    # The benchmarks are no part of the installed package, and no layer above it.
    servers = import_module("bench.servers")
    try:
        measured: Document = import_module("bench.proxy").run(quick, say)
    except servers.BenchFailed as failed:
        raise Refused(ExitCode.FAILED, f"the benchmark cannot go on: {failed}") from None
    return measured


def _decide(quick: bool, seed: int | None) -> Document:
    chosen = random.SystemRandom().randrange(2**32) if seed is None else seed
    measured: Document = import_module("bench.decide").run(quick, chosen, say)
    return measured


_MEASURE: dict[Subject, Callable[[bool, int | None], Document]] = {Subject.PROXY: _proxy, Subject.DECIDE: _decide}


def _tables(measured: Document) -> list[str]:
    """Figures of one kind beside each other: a table for each shape of key, the single ones first."""
    single = [(name, value) for name, value in measured.items() if not isinstance(value, dict)]
    tables = [columns(("FIGURE", "VALUE"), single)]
    for name, value in measured.items():
        if isinstance(value, dict):
            tables.append(_table(name, value))
    return tables


def _table(name: str, figures: dict[str, Any]) -> str:
    inner = [each for each in figures.values() if isinstance(each, dict)]
    if not inner or len(inner) != len(figures):
        return columns((name.upper(), "VALUE"), figures.items())
    head = list(dict.fromkeys(key for each in inner for key in each))
    rows = [(plain(key), *(each.get(column) for column in head)) for key, each in figures.items()]
    return columns((name.upper(), *head), rows)


COMMANDS = {"bench": bench}
