"""`drift`: a version's inputs and predictions now, beside those of before."""

from collections.abc import Iterator
from typing import Annotated

import typer

from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Model, Url
from app.cli.output import write, write_document
from app.terminal.rollouts import SYMBOLS, e_value
from app.terminal.text import Document, columns, moment, plain

_HEAD = ("NAME", "N", "REFERENCE", "PSI", "JS", "WASSERSTEIN", "E", "LIMIT")


def command(
    model: Model,
    *,
    version: Annotated[str | None, typer.Option(help="Default: stable.", show_default=False)] = None,
    window: Annotated[int, typer.Option(metavar="SECONDS", help="A multiple of 10.")] = 3_600,
    floor: Annotated[float, typer.Option(help="Least PSI that is flagged.")] = 0.1,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Compare a version's last whole window with its reference."""
    with Gateway(url) as gateway:
        found = gateway.get("models", model, "drift", version=version, window_s=window, floor=floor)
    if as_json:
        write_document(found)
    else:
        write("\n".join(_lines(found)))


def _lines(found: Document) -> Iterator[str]:
    """A version's window beside its reference, and a canary beside stable."""
    who = f"{plain(found['model'])} {plain(found['version'])}"
    if found["since"] is None:
        yield f"{who}: {_nothing_yet(found)}"
    else:
        yield f"{who}, {moment(found['since'])} to {moment(found['until'])}, beside {_reference(found)}"
        yield columns(_HEAD, [_row(each) for each in found["distributions"]])
    if found["traffic_changed"]:
        yield f"{SYMBOLS['invalid']} changed for both versions, so by the traffic: {_names(found['traffic_changed'])}"
    if found["beside_stable"] is not None:
        yield from _beside_lines(found["beside_stable"])


def _nothing_yet(found: Document) -> str:
    if found["bake_in_until"] is not None:
        return f"no window of {found['window_s']} s is over behind {_bake_in(found)}"
    return f"no window of {found['window_s']} s is over yet in which enough was seen to say what is usual"


def _reference(found: Document) -> str:
    """The reference of the distributions, in words."""
    if found["bake_in_until"] is None:
        return "what it was trained on"
    if found["reference"] == "bake-in":
        return f"{_bake_in(found)}: no training reference is registered with it"
    return f"what it was trained on, and {_bake_in(found)} where that says nothing"


def _bake_in(found: Document) -> str:
    return f"its bake-in, {moment(found['bake_in_since'])} to {moment(found['bake_in_until'])}"


def _row(each: Document) -> tuple[object, ...]:
    effect = each["effect"] or {}
    sizes = [_short(effect.get(name)) for name in ("psi", "jensen_shannon", "wasserstein")]
    evidence = (e_value(each["log_e"]), e_value(each["log_limit"]))
    mark = f"{SYMBOLS['invalid']} " if each["flagged"] else ""
    return (f"{mark}{plain(each['name'])}", each["n"], each["reference_n"], *sizes, *evidence)


def _beside_lines(beside: Document) -> Iterator[str]:
    yield f"{plain(beside['canary'])} beside {plain(beside['stable'])}, at the same weights"
    every = [*([] if beside["predictions"] is None else [beside["predictions"]]), *beside["inputs"]]
    rows = [
        (plain(each["name"]), _short(each["psi"]), _short(each["jensen_shannon"]), e_value(each["log_e"]))
        for each in every
    ]
    yield columns(("NAME", "PSI", "JS", "E"), rows)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _names(names: list[str]) -> str:
    return ", ".join(map(plain, names))
