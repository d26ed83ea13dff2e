"""What an exchange costs in two trees of this project, one against the other.

Method: the data plane of each tree in a process of its own, both on one CPU, load and upstream on another;
bursts go to one and to the other by turns, the first of each pair by a coin, and each burst is as many
exchanges. The CPU time of a gateway's threads over a burst, in nanoseconds of the kernel's scheduler, is
what counts, so that whatever else the machine does falls on both. Said is the median of the ratios of the
pairs, with the interval that the order of the ratios gives without any assumption about them.

Run `python -m bench.paired OTHER_TREE`; a ratio below 1 means that this tree is cheaper.
"""

import argparse
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import sqrt
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from bench.cpu import model_name, split_cpus
from bench.message import INFER, request
from bench.servers import CHECKOUT, BenchFailed, Server, free_port, python_module, running

CONNECTIONS: Final = 16
EXCHANGES: Final = 1_600
PAIRS: Final = 300
WARM_UP: Final = 5
SEED: Final = 20_261_201
# Of a normal variable, 95 in 100 lie within.
_WITHIN_95: Final = 1.96


class Load:
    """Some keep-alive connections to one gateway, each with one exchange at a time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._request = request(server.port)
        self._sockets = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(CONNECTIONS)]
        for each in self._sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def burst(self) -> float:
        """Microseconds of the gateway's CPU for each exchange."""
        before = cpu_ns(self.server.pid)
        for _ in range(EXCHANGES // CONNECTIONS):
            for each in self._sockets:
                each.sendall(self._request)
            for each in self._sockets:
                self._read(each)
        return (cpu_ns(self.server.pid) - before) / EXCHANGES / 1_000

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def _read(self, connection: socket.socket) -> None:
        got = b""
        while not got.endswith(INFER.answer or b""):
            data = connection.recv(65_536)
            got += data
            if not data or not got.startswith(b"HTTP/1.1 200"):
                raise BenchFailed(f"{self.server.name} answered {got[:200]!r}")


def cpu_ns(pid: int) -> int:
    """What all threads of a process have run so far (Linux's schedstat)."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def compare(other: Path, pairs: int = PAIRS) -> dict[str, object]:
    """This tree against another."""
    coin = Random(SEED)
    ours: list[float] = []
    theirs: list[float] = []
    with _loads(other) as (this, that):
        for load in (this, that) * WARM_UP:
            load.burst()
        for _ in range(pairs):
            both = [(this, ours), (that, theirs)]
            coin.shuffle(both)
            for load, took in both:
                took.append(load.burst())
    low, middle, high = interval([mine / its for mine, its in zip(ours, theirs, strict=True)])
    return {
        "processor": model_name(),
        "pairs": pairs,
        "exchanges_a_burst": EXCHANGES,
        "this_us": round(median(ours), 2),
        "other_us": round(median(theirs), 2),
        "ratio": round(middle, 4),
        "ratio_95": [round(low, 4), round(high, 4)],
    }


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Median of some ratios between the two order statistics that enclose it 95 times in 100."""
    n, ordered = len(ratios), sorted(ratios)
    reach = _WITHIN_95 * sqrt(n) / 2
    return ordered[max(0, int(n / 2 - reach))], median(ordered), ordered[min(n - 1, int(n / 2 + reach))]


@contextmanager
def _loads(other: Path) -> Iterator[tuple[Load, Load]]:
    proxies, rest = split_cpus()
    port = free_port()
    with ExitStack() as stack:
        stack.enter_context(running("upstream", python_module("bench.upstream", port), port, rest))
        loads = []
        for tree in (CHECKOUT, other):
            journal = stack.enter_context(TemporaryDirectory(prefix="turnback-bench-"))
            own = free_port()
            command = python_module("bench.peer_turnback", own, port, "--journal", journal)
            server = stack.enter_context(running(str(tree), command, own, proxies, folder=tree))
            loads.append(Load(server))
            stack.callback(loads[-1].close)
        yield loads[0], loads[1]


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Compare and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench.paired", description=__doc__)
    parser.add_argument("other", type=Path, help="the root of another tree, with the same interpreter's packages")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    asked = parser.parse_args(arguments)
    say(json.dumps(compare(asked.other.resolve(), asked.pairs), indent=2))


if __name__ == "__main__":
    main()
