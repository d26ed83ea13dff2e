"""`get`: lists as tables or as the API's own documents."""

import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Url
from app.cli.output import say, write, write_document
from app.terminal.rollouts import ENDED, SYMBOLS, e_value
from app.terminal.text import Document, columns, moment, percent, plain

_POLL_S = 1.0


class Noun(StrEnum):
    """The lists there are."""

    MODELS = "models"
    VERSIONS = "versions"
    ROLLOUTS = "rollouts"
    DECISIONS = "decisions"
    SLICES = "slices"


def command(
    noun: Annotated[Noun, typer.Argument(metavar="models|versions|rollouts|decisions|slices")],
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Only of this model.")] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many rows.")] = 50,
    follow: Annotated[bool, typer.Option("-w", "--watch", help="Print again whenever something changes.")] = False,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List what the gateway holds; with -w --json one document a line."""
    read, head, row = _LISTS[noun]
    shown: Document | None = None
    with Gateway(url) as gateway:
        while True:
            listed = read(gateway, model, limit)
            if listed != shown and as_json:
                write_document(listed)
            elif listed != shown:
                write(columns(head, map(row, listed["items"])))
                for name, why in listed.get("unreadable", {}).items():
                    say(f"{plain(name)} cannot be read in full: {plain(why)}")
            if not follow:
                return
            shown = listed
            time.sleep(_POLL_S)


def _models(gateway: Gateway, model: str | None, limit: int) -> Document:
    if model is not None:
        return _page([gateway.get("models", model)])
    found: Document = gateway.get("models")
    return {**found, "items": found["items"][:limit]}


def _versions(gateway: Gateway, model: str | None, limit: int) -> Document:
    of_each = (gateway.get("models", name, "versions") for name in _names(gateway, model))
    return _page([version for versions in of_each for version in versions["items"]][:limit])


def _rollouts(gateway: Gateway, model: str | None, limit: int) -> Document:
    of_each = (gateway.get("models", name, "rollouts", limit=limit) for name in _names(gateway, model))
    return _page([rollout for rollouts in of_each for rollout in rollouts["items"]][:limit])


def _names(gateway: Gateway, model: str | None) -> list[str]:
    return [model] if model else [each["name"] for each in gateway.get("models")["items"]]


def _page(items: list[Document]) -> Document:
    return {"items": items, "next_cursor": None}


def _decisions(gateway: Gateway, model: str | None, limit: int) -> Document:
    listed: Document = gateway.get("decisions", model=model, limit=limit)
    return listed


def _slices(gateway: Gateway, model: str | None, limit: int) -> Document:
    """The slices of each model's last rollout."""
    listed: list[Document] = []
    for name in _names(gateway, model):
        for rollout in gateway.get("models", name, "rollouts", limit=1)["items"]:
            found = gateway.get("rollouts", rollout["id"], "slices")
            listed += [{"model": name, **each} for each in found["items"]]
    return _page(listed[:limit])


def _model_row(model: Document) -> Sequence[object]:
    rollout = model["rollout"] or {}
    phase = rollout.get("phase", "stable")
    running = phase != "stable" and phase not in ENDED
    return (
        model["name"],
        f"{SYMBOLS.get(phase, '●' if running else '✔')} {phase}",
        model["stable"],
        rollout.get("canary"),
        percent(rollout["weight_bp"]) if running else None,
        moment(rollout.get("phase_since")),
    )


def _version_row(version: Document) -> Sequence[object]:
    urls = version["urls"]
    return version["model"], version["version"], len(urls), ", ".join(urls), version["path"], version["health_path"]


def _rollout_row(rollout: Document) -> Sequence[object]:
    return (
        rollout["model"],
        rollout["canary"],
        f"{SYMBOLS.get(rollout['phase'], '●')} {rollout['phase']}",
        percent(rollout["weight_bp"]),
        moment(rollout["started_at"]),
        rollout["id"],
    )


def _decision_row(decision: Document) -> Sequence[object]:
    return (
        moment(decision["at"]),
        decision["model"],
        decision["action"],
        decision["actor"],
        decision["id"],
        decision["sentence"],
    )


def _slice_row(each: Document) -> Sequence[object]:
    return (
        f"{SYMBOLS['invalid']} " + each["model"] if each["stands_out"] else each["model"],
        f"{each['key']}={each['value']}",
        each["metric"],
        each["canary_n"],
        _rate(each["canary_rate"]),
        each["stable_n"],
        _rate(each["stable_rate"]),
        e_value(each["log_e"]),
    )


def _rate(rate: float | None) -> str | None:
    return None if rate is None else f"{rate:.4g}"


_Read = Callable[[Gateway, str | None, int], Document]
_Row = Callable[[Document], Sequence[object]]
_LISTS: dict[Noun, tuple[_Read, Sequence[str], _Row]] = {
    Noun.MODELS: (_models, ("MODEL", "STATE", "STABLE", "CANARY", "WEIGHT", "SINCE"), _model_row),
    Noun.VERSIONS: (_versions, ("MODEL", "VERSION", "UPSTREAMS", "URLS", "PATH", "HEALTH PATH"), _version_row),
    Noun.ROLLOUTS: (_rollouts, ("MODEL", "CANARY", "PHASE", "WEIGHT", "STARTED", "ID"), _rollout_row),
    Noun.DECISIONS: (_decisions, ("AT", "MODEL", "ACTION", "BY", "ID", "WHY"), _decision_row),
    Noun.SLICES: (_slices, ("MODEL", "SLICE", "METRIC", "CANARY N", "RATE", "STABLE N", "RATE", "E"), _slice_row),
}
