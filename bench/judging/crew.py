"""Work shared among processes: the same tasks give the same results, however many do them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any


@dataclass(frozen=True, slots=True)
class Task:
    """One portion of runs; everything in it can be sent to another process.

    Attributes:
        judge: Takes subject, runs and seed, and says what happened in them.
    """

    judge: Callable[[Any, int, int], Any]
    subject: Any
    runs: int
    seed: int

    def do(self) -> object:
        """What the judge says."""
        return self.judge(self.subject, self.runs, self.seed)


def done(tasks: Sequence[Task], workers: int) -> Iterator[object]:
    """The tasks' results, in their order, as they come.

    Args:
        tasks: Each independent of the others.
        workers: Processes; with 1 it is this one.
    """
    if workers == 1:
        yield from (task.do() for task in tasks)
        return
    # Spawned, not forked: the libraries of linear algebra have threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(Task.do, tasks)
