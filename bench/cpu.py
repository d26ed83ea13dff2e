"""Where processes run and what CPU time they used, as Linux's /proc tells it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of proc_pid_stat(5), counted from the one after the command name.
_PPID, _UTIME, _CSTIME = 1, 11, 14


def tree_cpu_s(root_pid: int) -> float:
    """User plus system seconds of a process, its living descendants and all children they reaped.

    Resolution is one clock tick, usually 10 ms. Raises: ProcessLookupError when there is no such process.
    """
    ticks = sum(int(field) for fields in _tree(root_pid).values() for field in fields[_UTIME : _CSTIME + 1])
    return ticks / _TICKS_PER_S


def tree_pids(root_pid: int) -> list[int]:
    """A process and its living descendants. Raises: ProcessLookupError when there is no such process."""
    return list(_tree(root_pid))


def _tree(root_pid: int) -> dict[int, list[str]]:
    stats = dict(_all_stats())
    if root_pid not in stats:
        raise ProcessLookupError(f"no process {root_pid}")
    tree: dict[int, list[str]] = {}
    wanted = [root_pid]
    while wanted:
        pid = wanted.pop()
        tree[pid] = stats[pid]
        wanted += [child for child, fields in stats.items() if int(fields[_PPID]) == pid]
    return tree


def _all_stats() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            # The command name may hold blanks and parentheses; the last one closes it.
            yield int(folder.name), text.rpartition(")")[2].split()


@contextmanager
def children_on(cpus: set[int]) -> Iterator[None]:
    """Processes started inside run on these CPUs only, from their first instruction."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def split_cpus() -> tuple[set[int], set[int]]:
    """CPUs for the proxies and for load and upstream; the same one when there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return {usable[0]}, {usable[min(1, len(usable) - 1)]}


def model_name() -> str:
    """The processor's name, or "unknown"."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
