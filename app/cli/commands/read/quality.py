"""`quality`: how good each version's answers were."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from app.cli.figures import interval, number, share
from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Model, Url, Window
from app.cli.output import write, write_document
from app.cli.spans import seconds_of
from app.terminal.text import Document, columns, moment, plain

_SHOWN_MISTAKES = 3

_HEAD = ("VERSION", "DRAWN", "LABELLED", "COVERED", "VALUE", "95 %", "OFFLINE", "LAG P50/P95", "DISAGREE", "LATE")


def command(
    model: Model,
    *,
    metric: Annotated[str | None, typer.Option(metavar="NAME", help="Only this declared metric.")] = None,
    window: Window = "1d",
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show each version's quality, by slice where slices are declared."""
    with Gateway(url) as gateway:
        query = {"window_s": int(seconds_of("--window", window)), "metric": metric}
        shown = gateway.get("models", model, "quality", **query)
    if as_json:
        write_document(shown)
    else:
        write("\n".join(_lines(shown)))


def _lines(shown: Document) -> Iterator[str]:
    if not shown["metrics"]:
        yield f"{plain(shown['model'])} declares no feedback; docs/quality.md says how."
    for each in shown["metrics"]:
        metric = each["metric"]
        better = "lower" if each["lower_is_better"] else "higher"
        yield f"{plain(metric['name'])} ({plain(metric['kind'])}, {better} is better), to {moment(each['through'])}"
        yield columns(_HEAD, map(_row, each["versions"]))
        for version in each["versions"]:
            yield from _below(version)


def _row(version: Document) -> tuple[object, ...]:
    matured, told = version["matured"], version["told"] or {}
    lags = [told.get(name) for name in ("lag_s_p50", "lag_s_p95")]
    return (
        version["version"],
        matured["drawn"],
        matured["labelled"],
        share(matured["coverage"]),
        number(matured["overall"]["value"]),
        interval(matured["overall"]),
        number(version["offline"]),
        None if lags[0] is None else f"{lags[0]:.3g}/{lags[1]:.3g} s",
        told.get("disagreed"),
        told.get("late"),
    )


def _below(version: Document) -> Iterator[str]:
    """Lines for all that does not fit into the version's row."""
    name, ripening, matured = plain(version["version"]), version["ripening"], version["matured"]
    if version["possible_leakage_or_skew"]:
        yield f"  {name}: far below its offline value: look for leakage in the evaluation, or skew"
    if ripening["drawn"]:
        yield (
            f"  {name}: labels of {ripening['drawn']} more answers still come;"
            f" {ripening['labelled']} are there: {number(ripening['value'])}"
        )
    if matured["calibration_error"] is not None:
        yield f"  {name}: calibration error {number(matured['calibration_error'])}"
    for each in (version["told"] or {}).get("disputes", ()):
        yield (
            f"  {name}: {plain(each['source'])} and {plain(each['other'])} label {each['disagreed']} of"
            f" {each['answers']} answers differently; who was first counts"
        )
    if mistakes := _mistakes(matured["confusion"]):
        yield f"  {name}: {mistakes}"
    for key, parts in matured["slices"].items():
        for value, part in parts.items():
            yield (
                f"  {name}: {plain(key)}={plain(value)} {number(part['value'])}"
                f" ({interval(part)}, {part['scored']} labels)"
            )


def _mistakes(confusion: Sequence[Document]) -> str:
    """The mistakes that are made most often; the API has the whole table."""
    wrong = sorted(
        (each for each in confusion if each["label"] != each["predicted"]), key=lambda each: -each["predictions"]
    )
    return ", ".join(
        f"{plain(each['label'])} taken for {plain(each['predicted'])} {each['predictions']} times"
        for each in wrong[:_SHOWN_MISTAKES]
    )
