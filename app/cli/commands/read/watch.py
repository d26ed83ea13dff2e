"""`watch`: a rollout on the screen until it ends; its end is the exit code."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from app.cli.gateway import Gateway
from app.cli.options import DEFAULT_URL, Json, Model, Url
from app.cli.output import Refused, say, write, write_document
from app.cli.verbs import ExitCode
from app.terminal.rollouts import model_lines, rollout_line
from app.terminal.text import Document

_POLL_S = 0.5
# A gateway that is restarted is waited for so long.
_PATIENCE_S = 30.0

# Phases that nothing but a person moves on from, and what they mean to a script.
_ENDS = {
    "promoted": ExitCode.DONE,
    "rolled_back": ExitCode.ROLLED_BACK,
    "aborted": ExitCode.ROLLED_BACK,
    "invalid": ExitCode.UNDECIDED,
    "expired": ExitCode.HELD,
}

Show = Callable[[Document], None]


def command(
    model: Model,
    *,
    follow: Annotated[bool, typer.Option("-w", "--follow", help="Go on after the rollout has ended.")] = False,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Seconds after which an undecided rollout ends the watch.")
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> int:
    """Show a rollout until it ends; --json prints the end, -w --json every change as a line."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with Gateway(url) as gateway, _screen(as_json=as_json, follow=follow) as show:
        last = _follow(gateway, model, show, deadline, follow=follow)
    if as_json and not follow:
        write_document(last)
    return _code(last)


@contextmanager
def _screen(*, as_json: bool, follow: bool) -> Iterator[Show]:
    """Show documents, a live view, or lines."""
    if as_json:
        yield _on_change(write_document if follow else lambda seen: say(_line(seen)))
    elif sys.stdout.isatty():
        with Live(console=Console(), auto_refresh=False) as live:
            yield lambda seen: live.update(Text("\n".join(model_lines(**seen))), refresh=True)
    else:
        yield _on_change(lambda seen: write(_line(seen)))


def _follow(gateway: Gateway, model: str, show: Show, deadline: float | None, *, follow: bool) -> Document:
    """Look, show, look again; returns what was seen last. Raises: Refused."""
    seen = _look(gateway, model)
    answered_at = time.monotonic()
    while True:
        show(seen)
        over = deadline is not None and time.monotonic() >= deadline
        if over or (not follow and _phase(seen) in {None, *_ENDS}):
            return seen
        time.sleep(_POLL_S)
        try:
            seen = _look(gateway, model)
            answered_at = time.monotonic()
        except Refused as refused:
            if refused.code is not ExitCode.UNREACHABLE or time.monotonic() - answered_at > _PATIENCE_S:
                raise


def _look(gateway: Gateway, model: str) -> Document:
    found = gateway.get("models", model)
    rollout = found["rollout"]
    return {
        "model": found,
        "route": None if found["route"] is None else gateway.get("models", model, "route"),
        "rollout": None if rollout is None else gateway.get("rollouts", rollout["id"]),
    }


def _phase(seen: Document) -> str | None:
    return None if seen["rollout"] is None else str(seen["rollout"]["phase"])


def _code(seen: Document) -> ExitCode:
    phase = _phase(seen)
    if phase is None:
        return ExitCode.DONE
    return _ENDS.get(phase, ExitCode.HELD if phase == "paused" else ExitCode.UNDECIDED)


def _on_change(show: Show) -> Show:
    """Show only what moves: the phase, the weights, the verdict."""
    last: list[object] = []

    def show_if_new(seen: Document) -> None:
        rollout = seen["rollout"]
        state = [
            seen["model"]["route"],
            rollout and (rollout["id"], rollout["phase"], rollout["assessment"]["verdict"]),
        ]
        if state != last:
            last[:] = state
            show(seen)

    return show_if_new


def _line(seen: Document) -> str:
    if seen["rollout"] is None:
        return "\n".join(model_lines(seen["model"], None, None))
    return f"{rollout_line(seen['rollout'])}  {seen['rollout']['assessment']['verdict']}"
