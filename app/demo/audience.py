"""Followers of the story: lines of text anywhere, a live view on a terminal."""

import sys
from collections import deque
from collections.abc import Iterator
from itertools import islice
from time import monotonic
from types import TracebackType
from typing import Self, TextIO

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from app.demo.replay import Counts
from app.demo.story import Scene
from app.terminal.rollouts import model_lines
from app.terminal.text import columns

RECENT = 1_000
TOLD_LINES = 6
LINE_EVERY_S = 5.0


class Lines:
    """Sentences as they come, and where the rollout stands every few seconds."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._seen_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._out.flush()

    def hear(self, sentence: str) -> None:
        self._out.write(f"{sentence}\n")
        self._out.flush()

    def see(self, scene: Scene) -> None:
        if monotonic() - self._seen_at < LINE_EVERY_S:
            return
        self._seen_at = monotonic()
        rollout = scene.rollout
        self.hear(
            f"  {scene.seconds:4.0f} s  {_headline(scene)}  {rollout['canary']} {rollout['phase']}"
            f" at {rollout['weight_bp'] / 100:g} %, {rollout['assessment']['verdict']}"
        )


class Screen:
    """A live view: weights, both arms, evidence, and what was said last."""

    def __init__(self, console: Console) -> None:
        self._told: deque[str] = deque(maxlen=TOLD_LINES)
        self._scene: Scene | None = None
        self._live = Live(console=console, refresh_per_second=5, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()
        for sentence in self._told:
            self._live.console.print(sentence, markup=False)

    def hear(self, sentence: str) -> None:
        self._told.append(sentence)
        self._draw()

    def see(self, scene: Scene) -> None:
        self._scene = scene
        self._draw()

    def _draw(self) -> None:
        told = Panel(Text("\n".join(self._told)), title="the story so far")
        parts = [told] if self._scene is None else [*screen(self._scene), told]
        self._live.update(Group(*parts))


def audience(*, headless: bool) -> Lines | Screen:
    """Lines on stderr without a head, lines on stdout without a terminal."""
    if headless:
        return Lines(sys.stderr)
    console = Console()
    return Screen(console) if console.is_terminal else Lines(sys.stdout)


def screen(scene: Scene) -> Iterator[Panel]:
    """The live view of one instant."""
    clients = columns(("VERSION", "ANSWERS", "FAILED", "P50", "P95"), _client_rows(scene.counts))
    yield Panel(Text(clients), title=_headline(scene))
    yield Panel(Text("\n".join(model_lines(scene.model, scene.route, scene.rollout))), title="the gateway")


def _headline(scene: Scene) -> str:
    counts = scene.counts
    return (
        f"flights of 2013-{scene.flight.month:02}-{scene.flight.day:02}  {counts.answers:,} answers"
        f"  {counts.answers / max(scene.seconds, 1e-9):,.0f}/s  {counts.failed_by_gateway} failed by the gateway"
    )


def _client_rows(counts: Counts) -> Iterator[tuple[object, ...]]:
    for version in sorted(counts.served):
        recent = list(islice(reversed(counts.seconds[version]), RECENT))
        p50, p95 = np.quantile(recent, (0.5, 0.95)) * 1_000
        yield version, counts.served[version], counts.bad[version], f"{p50:.1f} ms", f"{p95:.1f} ms"
