"""What processes hold in memory: after a load, and for connections that do nothing.

Rule: what the kernel holds for a connection is in nobody's figure; it is the same for all.
"""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

from bench.cpu import children_on, tree_pids
from bench.servers import CHECKOUT, BenchFailed, Server, python_module

# Open connections take memory when they are made and give some back at the next sweep.
_SETTLE_S = 1.2
# Beside its connections a process has some files of its own.
_SPARE_FILES = 256


def tree_rss_kib(root_pid: int) -> int:
    """Resident memory of a process and its living descendants; what they share counts for each."""
    return sum(_rss_kib(pid) for pid in tree_pids(root_pid))


def _rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def affordable_connections(wanted: int) -> int:
    """How many of the wanted connections this system lets one process have.

    Processes started afterwards may have as many: the soft limit is raised to the hard one.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - _SPARE_FILES)


def idle_connection_kib(server: Server, count: int, load_cpus: set[int]) -> float:
    """Resident memory that one idle connection adds. Raises: BenchFailed.

    The first half fills what the process had to spare; only the second half is measured.
    """
    first, second = count - count // 2, count // 2
    with _idle(server, first, load_cpus):
        sleep(_SETTLE_S)
        before_kib = tree_rss_kib(server.pid)
        with _idle(server, second, load_cpus):
            sleep(_SETTLE_S)
            return (tree_rss_kib(server.pid) - before_kib) / second


@contextmanager
def _idle(server: Server, count: int, cpus: set[int]) -> Iterator[None]:
    command = python_module("bench.idle", server.port, count)
    with children_on(cpus):
        clients = subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    try:
        _wait_until_idle(clients, server)
        yield
    finally:
        clients.terminate()
        clients.communicate()


def _wait_until_idle(clients: subprocess.Popen[bytes], server: Server) -> None:
    if clients.stdout is None or clients.stdout.readline() != b"idle\n":
        raise BenchFailed(f"{server.name}: the idle connections were not all served")
