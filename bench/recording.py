"""What recording one exchange costs: draw, latency, outcome, and its record in the journal.

Method: the data plane's own `Accounting` on latencies drawn from a log-normal distribution, with and without a
journal, by turns in one process; CPU time of this process, so that what else runs on the machine counts little.
Segments have their real size and are mapped from a real file. Run `python -m bench.recording [--json]`.
"""

import asyncio
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

from app import compiled
from app.proxy import Gateway
from app.recording.accounting import Accounting
from app.recording.arm import Arm
from app.recording.journal import Journal
from app.recording.recorder import CLIENT_ERROR, OK
from bench.peer_turnback import table_of

EXCHANGES = 20_000
REPEATS = 31
SEED = 20_261_125
BOOT = "0" * 32

Document = dict[str, object]
Plan = list[tuple[Arm, float, int]]


class Subject:
    """A gateway's recorder and a plan of exchanges: arm, seconds to the head, outcome."""

    def __init__(self, random: Random) -> None:
        self.gateway = Gateway(time.time)
        self.gateway.swap(table_of("http://127.0.0.1:9"))
        route = self.gateway.compiled.find(b"/m/bench", b"").route
        arms = [route.stable] * 9 + [*route.others]
        self.plan: Plan = [
            (random.choice(arms), random.lognormvariate(-5.0, 0.5), OK if random.random() < 0.98 else CLIENT_ERROR)
            for _ in range(EXCHANGES)
        ]

    def record(self) -> None:
        """Everything one exchange does with its accounts, once per planned exchange."""
        recorder = self.gateway.recorder
        now = time.monotonic()
        for arm, latency_s, outcome in self.plan:
            counted = Accounting(recorder, arm, now)
            counted.count_draw(arm)
            counted.count_latency(now + latency_s)
            counted.count_outcome(outcome, now + latency_s)

    def pass_by(self) -> None:
        """The loop alone."""
        now = time.monotonic()
        for _arm, latency_s, _outcome in self.plan:
            now + latency_s


def measure() -> Document:
    """Median microseconds per exchange, and how they spread."""
    random = Random(SEED)
    memory_only, journalled = Subject(random), Subject(random)
    with TemporaryDirectory(prefix="turnback-bench-") as folder, asyncio.Runner() as runner:
        journal = Journal(Path(folder), BOOT, journalled.gateway.recorder)
        runner.run(journal.open())
        took: dict[str, list[float]] = {"loop": [], "tally": [], "tally_and_journal": []}
        for _ in range(REPEATS):
            took["loop"].append(_us_each(memory_only.pass_by))
            took["tally"].append(_us_each(memory_only.record))
            took["tally_and_journal"].append(_us_each(journalled.record))
            runner.run(journal.tend())
        assert_up(journal)
        for each in (memory_only, journalled):
            each.gateway.recorder.acknowledge(each.gateway.recorder.collect())
        runner.run(journal.close())
    loop_us = median(took.pop("loop"))
    figures = {name: _spread([each - loop_us for each in all_of_it]) for name, all_of_it in took.items()}
    return {
        "us_per_exchange": figures,
        "python": platform.python_version(),
        "compiled": compiled.build().is_dir(),
        "exchanges": EXCHANGES,
        "repeats": REPEATS,
    }


def assert_up(journal: Journal) -> None:
    """Raises: RuntimeError when it was not the journal that was measured."""
    if not journal.is_up:
        raise RuntimeError("the journal could not be written")


def _us_each(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) / EXCHANGES * 1e6


def _spread(figures: list[float]) -> dict[str, float]:
    return {"median": round(median(figures), 3), "least": round(min(figures), 3), "most": round(max(figures), 3)}


if __name__ == "__main__":
    measured = measure()
    if "--json" in sys.argv[1:]:
        print(json.dumps(measured, indent=2))
    else:
        for name, spread in measured["us_per_exchange"].items():  # type: ignore[attr-defined]  # built above
            print(f"{name}: {spread['median']} us (from {spread['least']} to {spread['most']})")
