"""What the data plane and the decision engine are to reach, and whether a run reached it.

Rule: what a run did not measure is neither met nor missed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import Document


@dataclass(frozen=True, slots=True)
class Goal:
    """An upper bound on one figure.

    Attributes:
        reach: The bound in words.
        limit: In the figure's own unit; the figure itself is still within it.
        figure: The keys that lead to it in a run's document.
    """

    name: str
    reach: str
    limit: float
    figure: tuple[str, ...]


def _both(name: str, what: str, limit: float, where: tuple[str, ...], figure: str) -> tuple[Goal, Goal]:
    """One bound beside nginx, asked of the sources and of the compiled build, which is what the image ships."""
    most = f"at most {limit:g} × nginx" if limit != 1.0 else "at most nginx"
    return (
        Goal(name, f"{what}: {most}", limit, (*where, figure)),
        Goal(f"{name}_compiled", f"{what}, compiled: {most}", limit, (*where, "compiled", figure)),
    )


_CPU = "CPU per 1 KiB exchange"
GOALS = (
    Goal("cpu_nginx", f"{_CPU}: at most 1.5 × nginx", 1.5, ("ratio_nginx",)),
    Goal("cpu_nginx_numbered", f"{_CPU}, no two heads alike: at most 1.5 × nginx", 1.5, ("ratio_nginx_numbered",)),
    Goal("cpu_nginx_compiled", f"{_CPU}, compiled: at most 1.2 × nginx", 1.2, ("compiled", "ratio_nginx")),
    Goal(
        "cpu_nginx_compiled_numbered",
        f"{_CPU}, compiled, no two heads alike: at most 1.2 × nginx",
        1.2,
        ("numbered", "compiled", "ratio_nginx"),
    ),
    Goal("cpu_envoy", f"{_CPU}: at most 0.6 × Envoy", 0.6, ("ratio_envoy",)),
    *_both("added_p50_500", "added p50 at 500/s", 1.2, ("added_p50_beside_nginx", "500"), "ratio"),
    *_both("added_p50_2000", "added p50 at 2,000/s", 1.2, ("added_p50_beside_nginx", "2000"), "ratio"),
    *_both("stream_cpu", "CPU per event of a stream", 1.2, ("stream",), "ratio_nginx"),
    Goal("stream_first_ms", "added to the first event: at most 1 ms", 1.0, ("stream", "added_first_ms", "turnback")),
    *_both("large_cpu", "CPU per 100 KiB both ways", 1.0, ("large",), "ratio_nginx"),
    Goal("rss_mb", "memory of a worker after load: at most 80 MB", 80.0, ("memory", "rss_mb", "turnback")),
    Goal(
        "idle_connection_kib",
        "memory of an idle connection: at most 10 KiB",
        10.0,
        ("memory", "idle_connection_kib", "turnback"),
    ),
    Goal(
        "recording_alone_us",
        "tally and journal alone, per exchange: at most 2 µs",
        2.0,
        ("recording", "alone_us", "tally_and_journal"),
    ),
    Goal("many_models", "CPU with 10,000 models: at most 5 % more than with one", 1.05, ("many_models", "ratio")),
)


def judged(document: Document, goals: Sequence[Goal] = GOALS) -> Document:
    """Every goal beside what was measured; `met` is None where nothing was."""
    return {goal.name: _judged(goal, _figure(document, goal.figure)) for goal in goals}


def _judged(goal: Goal, measured: float | None) -> Document:
    met = None if measured is None else measured <= goal.limit
    return {"reach": goal.reach, "limit": goal.limit, "measured": measured, "met": met}


def _figure(document: Document, keys: tuple[str, ...]) -> float | None:
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, int | float) else None
