"""How often the rule turns a healthy version back, and how long a bad one lasts, beside rivals.

One seed repeats a run exactly, however many processes share it; docs/benchmarks.md has the method.
"""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Protocol

import numpy as np

from bench import goals
from bench.cpu import model_name
from bench.judging import crew, delays, latencies, proofs, races, rollouts, situations
from bench.judging.coin import ALPHA
from bench.judging.goals import GOALS
from bench.judging.intervals import Document

Say = Callable[[str], None]


class Subject(Protocol):
    """Something of which many runs are drawn."""

    @property
    def name(self) -> str: ...
    @property
    def quick_runs(self) -> int: ...
    @property
    def full_runs(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Part:
    """A table of the document: its rows' subjects, what is drawn of each, and what is said of it.

    Attributes:
        portion: Runs in one task; bounds the memory, and lets processes share a row.
    """

    key: str
    title: str
    subjects: Sequence[Subject]
    judge: Callable[[Any, int, int], Any]
    summary: Callable[[Any, Sequence[Any]], Document]
    portion: int


PARTS = (
    Part("policy", "Whole rollouts", rollouts.PLANS, rollouts.judge, rollouts.summary, 20),
    Part("situations", "Side by side", situations.SITUATIONS, situations.judge, situations.summary, 125),
    Part("delays", "Against the limit", delays.DELAYS, delays.judge, delays.summary, 125),
    Part("latency", "Slower versions", latencies.SLOWER, latencies.judge, latencies.summary, 25),
    Part("proofs", "Proofs of no harm", proofs.PROOFS, proofs.judge, proofs.summary, 250),
    Part("races", "Flagger at its own weights", races.RACES, races.judge, races.summary, 20_000),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is drawn, and by how many processes; no row has more than `most` runs."""

    quick: bool
    workers: int
    most: int = 1_000_000

    def runs(self, subject: Subject) -> int:
        return min(self.most, subject.quick_runs if self.quick else subject.full_runs)


def run(quick: bool, seed: int, say: Say = lambda _: None) -> Document:
    """Measure everything on all CPUs and return one JSON document.

    Args:
        quick: Fewer runs, for under 50 seconds.
        seed: Any non-negative integer; the same one gives the same figures.
        say: Hears a line before each row.
    """
    return measure(Size(quick, len(os.sched_getaffinity(0))), seed, say)


def measure(size: Size, seed: int, say: Say) -> Document:
    """`run` in any size."""
    began = monotonic()
    rows = [(part, subject) for part in PARTS for subject in part.subjects if size.runs(subject)]
    seeds = _seeds(seed)
    portions = [_portions(part, subject, size.runs(subject), seeds) for part, subject in rows]
    results = crew.done([task for tasks in portions for task in tasks], size.workers)
    document: Document = {part.key: {} for part in PARTS}
    for (part, subject), tasks in zip(rows, portions, strict=True):
        say(f"{part.title}: {subject.name}, {size.runs(subject):,} runs.")
        document[part.key][subject.name] = part.summary(subject, [next(results) for _ in tasks])
    return {
        "goals": goals.judged(document, GOALS),
        **document,
        "setting": {"stable_rate": delays.STABLE_RATE, "weight": 0.5, "alpha": ALPHA},
        "quick": size.quick,
        "seed": seed,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": model_name(), "processes": size.workers},
        "python": platform.python_version(),
        "seconds": round(monotonic() - began, 1),
    }


def _seeds(seed: int) -> Iterator[int]:
    """As many independent seeds as are asked for."""
    source = np.random.default_rng(seed)
    while True:
        yield int(source.integers(2**63))


def _portions(part: Part, subject: Subject, runs: int, seeds: Iterator[int]) -> list[crew.Task]:
    starts = range(0, runs, part.portion)
    return [crew.Task(part.judge, subject, min(part.portion, runs - start), next(seeds)) for start in starts]
