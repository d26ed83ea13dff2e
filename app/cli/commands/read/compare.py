"""`compare`: two versions of a model in one table."""

from collections.abc import Iterator
from typing import Annotated, TypeAlias

import typer

from app.cli.figures import interval, number, share
from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Model, Url, Window
from app.cli.output import write, write_document
from app.cli.spans import seconds_of
from app.terminal.text import Document, columns, plain

_Row: TypeAlias = tuple[object, ...]

_LATENCIES = ("latency_ms_p50", "latency_ms_p95", "latency_ms_p99")
_COSTS = {
    "cost_per_answer": "cost per answer",
    "cap": "counted up to",
    "cost_per_day": "cost per day",
    "per_hour": "running, per hour",
    "seconds_per_answer": "seconds per answer",
    "megabytes_per_answer": "megabytes per answer",
    "prompt_tokens_per_answer": "tokens in per answer",
    "completion_tokens_per_answer": "tokens out per answer",
}


def command(
    model: Model,
    first: Annotated[str, typer.Argument(metavar="A", help="The version that is compared with.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other one, such as the same model quantised.")],
    *,
    window: Window = "1d",
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Put two versions side by side on one page."""
    with Gateway(url) as gateway:
        query = {"versions": f"{first},{second}", "window_s": int(seconds_of("--window", window))}
        shown = gateway.get("models", model, "compare", **query)
    if as_json:
        write_document(shown)
    else:
        write("\n".join(_lines(shown)))


def _lines(shown: Document) -> Iterator[str]:
    first, second = shown["first"], shown["second"]
    head = ("", plain(first["version"]), plain(second["version"]), "DIFFERENCE", "95 %")
    yield columns(head, [*_quality(shown), *_figures(first, second), *_offline(shown)])
    for each in shown["quality"]:
        if each["why_no_interval"] is not None:
            yield f"{plain(each['metric'])}: {plain(each['why_no_interval'])}"
    if not shown["concurrent"]:
        yield "no coin chose between the two in this time: the rest may be the hour's doing, or the callers'"


def _quality(shown: Document) -> Iterator[_Row]:
    for each in shown["quality"]:
        name, (first, second) = plain(each["metric"]), (each["first"], each["second"])
        better = " (lower is better)" if each["lower_is_better"] else ""
        apart = number(each["difference"])
        yield f"{name}{better}", number(first["value"]), number(second["value"]), apart, interval(each)
        yield (
            f"  its interval, {first['scored']} and {second['scored']} labels",
            interval(first),
            interval(second),
            "",
            "",
        )


def _figures(first: Document, second: Document) -> Iterator[_Row]:
    yield "answers", first["exchanges"], second["exchanges"], "", ""
    yield "errors and timeouts", share(first["error_rate"]), share(second["error_rate"]), "", ""
    for name in _LATENCIES:
        yield _apart(f"latency {name[-3:]}, ms", first[name], second[name])
    yield "flawed answers", _flaws(first), _flaws(second), "", ""
    for name, told in _COSTS.items():
        yield _apart(told, first["cost"][name], second["cost"][name])


def _apart(told: str, first: float | None, second: float | None) -> _Row:
    apart = None if first is None or second is None else second - first
    return told, number(first), number(second), number(apart), ""


def _flaws(version: Document) -> str:
    kinds = ", ".join(f"{count} {plain(kind)}" for kind, count in sorted(version["flaws"].items()))
    return f"{version['flawed']} of {version['read']}" + (f": {kinds}" if kinds else "")


def _offline(shown: Document) -> Iterator[_Row]:
    first, second = shown["first"]["offline"], shown["second"]["offline"]
    for name in sorted({*first, *second}):
        yield _apart(f"offline {plain(name)}", first.get(name), second.get(name))
