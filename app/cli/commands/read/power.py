"""`power`: how many answers, labels and minutes it takes to see an effect."""

import re
from collections.abc import Iterator
from typing import Annotated

import typer

from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Url
from app.cli.output import Refused, write, write_document
from app.cli.spans import seconds_of, span_text
from app.cli.verbs import ExitCode
from app.terminal.text import Document, columns, percent, plain

_SHARE = re.compile(r"(?P<number>[0-9]{1,3}(?:\.[0-9]{1,8})?) ?(?P<percent>%?)")


def command(
    metric: Annotated[str, typer.Argument(metavar="errors|latency|score")] = "errors",
    *,
    stable: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Stable's share of bad or slow answers, 1% or 0.01.")
    ] = None,
    canary: Annotated[str | None, typer.Option(metavar="SHARE", help="The canary's.")] = None,
    difference: Annotated[float | None, typer.Option(help="Of a score: how much lower the canary's mean is.")] = None,
    deviation: Annotated[float | None, typer.Option(help="Of a score: its standard deviation.")] = None,
    margin: Annotated[str | None, typer.Option(metavar="SHARE", help="How much worse is still not worse.")] = None,
    weight: Annotated[str, typer.Option(metavar="SHARE", help="The canary's share of the traffic.")] = "50%",
    alpha: Annotated[float | None, typer.Option(help="alpha_rollback of the policy.")] = None,
    labelled: Annotated[str | None, typer.Option(metavar="SHARE", help="Share of answers that get a label.")] = None,
    rate: Annotated[float | None, typer.Option(help="Exchanges a second, of both arms.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Whose traffic of the last hour is meant.")] = None,
    within: Annotated[str | None, typer.Option(metavar="SPAN", help="Say what so much time shows: 7d, 12h.")] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Say what it takes to roll a canary back, and to prove one not worse; nothing is changed."""
    given = {
        "stable_rate": _share("--stable", stable),
        "canary_rate": _share("--canary", canary),
        "difference": difference,
        "deviation": deviation,
        "margin": _share("--margin", margin),
        "weight_bp": round((_share("--weight", weight) or 0.0) * 10_000),
        "alpha_rollback": alpha,
        "judged_share": _share("--labelled", labelled),
        "exchanges_per_s": rate,
        "model": model,
        "within_s": None if within is None else seconds_of("--within", within),
    }
    body = {"metric": metric, **{name: value for name, value in given.items() if value is not None}}
    with Gateway(url) as gateway:
        answer = gateway.post("policies:power", body=body)
    if as_json:
        write_document(answer)
    else:
        write("\n".join(_lines(answer, within)))


def _share(option: str, text: str | None) -> float | None:
    """A share as 1% or 0.01. Raises: Refused."""
    if text is None:
        return None
    match = _SHARE.fullmatch(text)
    if match is None:
        raise Refused(ExitCode.USAGE, f"{option} takes a share such as 1% or 0.01; `{plain(text)}` is invalid.")
    return float(match["number"]) / 100.0 if match["percent"] else float(match["number"])


def _lines(answer: Document, within: str | None) -> Iterator[str]:
    """A row for each question that has an answer; what nobody can see is said in words."""
    asked = [(_QUESTIONS[name], answer[name]) for name in _QUESTIONS if answer[name] is not None]
    if asked:
        yield columns(_HEAD, [_row(question, need) for question, need in asked])
    if answer["turn_back"] is None:
        yield "The canary is not said to be worse: nothing would roll it back."
    traffic = answer["exchanges_per_s"]
    at = "traffic not known" if traffic is None else f"{traffic:.3g} exchanges a second"
    yield f"at {percent(answer['weight_bp'])} of the traffic, {at}; averages, not promises"
    if within is not None:
        effect = answer["smallest_effect"]
        shown = "nothing" if effect is None else f"no effect smaller than {effect * 100:.3g} points"
        yield f"{within} can show {shown}" + (" at any size" if effect is None else "")


_QUESTIONS = {"turn_back": "to roll it back", "prove": "to prove it not worse"}
_HEAD = ("QUESTION", "LIMIT", "EXCHANGES", "CANARY'S", "LABELS", "TOO MANY BAD", "TIME")


def _row(question: str, need: Document) -> tuple[object, ...]:
    counts = [f"{need[name]:,.0f}" for name in ("limit", "exchanges", "canary_answers", "judged")]
    bad = None if need["extra_bad"] is None else f"{need['extra_bad']:,.0f}"
    return (question, *counts, bad, None if need["seconds"] is None else span_text(need["seconds"]))
