"""What one exchange costs through Turnback and through its peers: CPU microseconds and added latency.

Method: all servers up at once, the proxies on one CPU and load and upstream on another; short bursts in
shuffled order; every ratio and difference is taken inside one cycle, then the median over cycles.
"""

import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from bench.cpu import model_name, split_cpus, tree_cpu_s
from bench.load import WRK_INSTALL, Loader, wrk_present
from bench.peers import PEERS, Peer
from bench.servers import (
    BenchFailed,
    Server,
    answered_by,
    free_port,
    python_module,
    running,
    stopping_on_sigterm,
)

Say = Callable[[str], None]

# An upstream that has answered nothing for so long has nothing left to answer.
_QUIET_S = 0.25
_LOOK_S = 0.02
# Processes that want to run beside ours, above which the proxies wait for their CPU.
_BUSY = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        cycles: Saturating bursts per peer.
        latency_cycles: Fixed-rate runs per peer, of `latency_s` each.
        latency_of: Peers whose added latency is measured.
        numbered_cycles: Further bursts of `NUMBERED` peers, every request with an id of its own.
        tool: "wrk", "own", or None for wrk where it is installed.
    """

    cycles: int
    burst_s: float
    latency_cycles: int
    latency_s: float
    latency_of: frozenset[str]
    numbered_cycles: int
    tool: str | None = None


QUICK = Plan(6, 1.0, 3, 1.0, frozenset({"turnback", "nginx"}), 3)
FULL = Plan(15, 1.0, 9, 2.0, frozenset({"turnback", "nginx", "fastapi_httpx"}), 9)
NUMBERED = frozenset({"turnback", "nginx"})


@dataclass(frozen=True, slots=True)
class Cost:
    """One burst's result."""

    cpu_us: float
    rps: float


def run(quick: bool, say: Say = lambda _line: None) -> dict[str, object]:
    """Measure everything that is installed; the result is one JSON object.

    Args:
        quick: Under 50 seconds instead of some minutes.
        say: Takes one line of progress.

    Raises: BenchFailed when a server does not start or any exchange fails.
    """
    return measure(QUICK if quick else FULL, PEERS, Random(), say)


def measure(plan: Plan, peers: Sequence[Peer], rng: Random, say: Say) -> dict[str, object]:
    """`run` with everything it chooses as arguments."""
    if not Path("/proc/self/stat").exists():
        raise BenchFailed("CPU time of other processes is read from /proc, which only Linux has")
    started, busy = monotonic(), os.getloadavg()[0]
    if busy > _BUSY:
        say(f"the machine is busy (load average {busy:.1f}): expect wide ranges, and latencies that say nothing")
    ran = [peer for peer in peers if peer.present()]
    with stopping_on_sigterm(), bench_of(plan, ran, say) as bench:
        costs = bench.costs(plan, rng)
        numbered = bench.numbered_costs(plan, rng)
        latencies = bench.latencies(plan, rng)
    tool = bench.loader.tool
    not_run = {peer.name: peer.install for peer in peers if peer not in ran}
    return {
        **summary(costs, numbered, latencies),
        "connections": {peer.name: peer.connections for peer in ran},
        "not_run": not_run | ({} if wrk_present() else {"wrk": WRK_INSTALL}),
        "load": tool,
        "python": python_build(),
        "machine": machine() | {"load_average": round(busy, 1)},
        "cycles": plan.cycles,
        "seconds": round(monotonic() - started, 1),
    }


@dataclass(frozen=True, slots=True)
class Bench:
    """All servers, up at once."""

    upstream: Server
    proxies: Mapping[Peer, Server]
    loader: Loader
    say: Say

    def costs(self, plan: Plan, rng: Random) -> list[dict[str, Cost]]:
        """One burst per peer and cycle, in shuffled order; each dict is one cycle."""
        for peer in self.proxies:
            self.loader.warm_up(self.proxies[peer], peer.connections)
        return [
            {peer.name: self._cost(peer, plan.burst_s) for peer in self._cycle("saturation", k, plan.cycles, rng)}
            for k in range(plan.cycles)
        ]

    def numbered_costs(self, plan: Plan, rng: Random) -> list[dict[str, Cost]]:
        """The same with an id of its own in every request, for the peers in NUMBERED."""
        cycles = plan.numbered_cycles
        return [
            {
                peer.name: self._cost(peer, plan.burst_s, numbered=True)
                for peer in self._cycle("saturation, numbered", k, cycles, rng)
                if peer.name in NUMBERED
            }
            for k in range(cycles)
        ]

    def latencies(self, plan: Plan, rng: Random) -> list[dict[str, float]]:
        """Per cycle, what each peer added to the median latency of the direct path, in µs."""
        return [self._added(plan, number, rng) for number in range(plan.latency_cycles)]

    def _cycle(self, what: str, number: int, cycles: int, rng: Random) -> list[Peer]:
        self.say(f"{what}: cycle {number + 1} of {cycles}")
        return rng.sample(list(self.proxies), len(self.proxies))

    def _cost(self, peer: Peer, seconds: float, *, numbered: bool = False) -> Cost:
        proxy = self.proxies[peer]
        answered, cpu_s = answered_by(self.upstream), tree_cpu_s(proxy.pid)
        burst = self.loader.burst(proxy, peer.connections, seconds, numbered=numbered)
        # What the load had in flight when it stopped was work for the proxy too.
        most = burst.completed + peer.connections
        worked = self._settled_count(answered + most) - answered
        used_s = tree_cpu_s(proxy.pid) - cpu_s
        # On a busy machine a straggler of the burst before may come in late.
        if not burst.completed <= worked <= most + max(peer.connections for peer in self.proxies):
            raise BenchFailed(f"{peer.name}: the load counted {burst.completed} exchanges, the upstream {worked}")
        return Cost(used_s / worked * 1e6, burst.completed / burst.seconds)

    def _settled_count(self, most: int) -> int:
        """What the upstream has answered once nothing more comes; `most` is known to be the end."""
        answered, quiet_since = answered_by(self.upstream), monotonic()
        while answered < most and monotonic() - quiet_since < _QUIET_S:
            sleep(_LOOK_S)
            before, answered = answered, answered_by(self.upstream)
            if answered != before:
                quiet_since = monotonic()
        return answered

    def _added(self, plan: Plan, number: int, rng: Random) -> dict[str, float]:
        peers = [p for p in self._cycle("latency", number, plan.latency_cycles, rng) if p.name in plan.latency_of]
        runs = [(rate, self.upstream) for rate in {peer.rate for peer in peers}]
        runs += [(peer.rate, self.proxies[peer]) for peer in peers]
        rng.shuffle(runs)
        p50 = {(rate, server): self.loader.latency_p50_us(server, rate, plan.latency_s) for rate, server in runs}
        return {
            peer.name: p50[peer.rate, proxy] - p50[peer.rate, self.upstream]
            for peer, proxy in self.proxies.items()
            if peer in peers
        }


@contextmanager
def bench_of(plan: Plan, peers: Sequence[Peer], say: Say) -> Iterator[Bench]:
    """Start upstream and peers, each ready and proven to relay; stop them whatever happens."""
    proxy_cpus, load_cpus = split_cpus()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="turnback-bench-")))
        port = free_port()
        command = python_module("bench.upstream", port)
        upstream = stack.enter_context(running("upstream", command, port, load_cpus))
        proxies = {}
        for peer in peers:
            say(f"starting {peer.name}")
            own_folder = folder / peer.name
            own_folder.mkdir()
            port = free_port()
            command = list(peer.command(port, upstream.port, own_folder))
            proxies[peer] = stack.enter_context(running(peer.name, command, port, proxy_cpus))
        tool = plan.tool or ("wrk" if wrk_present() else "own")
        yield Bench(upstream, proxies, Loader(tool, load_cpus, folder), say)


def summary(
    costs: Sequence[Mapping[str, Cost]],
    numbered: Sequence[Mapping[str, Cost]],
    latencies: Sequence[Mapping[str, float]],
) -> dict[str, object]:
    """Medians, ranges and paired ratios. A ratio whose peer did not run is None."""
    by_peer = {name: [cycle[name] for cycle in costs] for name in sorted(costs[0])}
    added = {name: [cycle[name] for cycle in latencies] for name in (latencies[0] if latencies else ())}
    to_nginx = _paired(costs, "turnback", "nginx")
    to_nginx_numbered = _paired(numbered, "turnback", "nginx")
    cheaper = _paired(costs, "fastapi_httpx", "turnback")
    return {
        "cpu_us": {name: round(median(cost.cpu_us for cost in bursts), 1) for name, bursts in by_peer.items()},
        "cpu_us_range": {
            name: {
                "min": round(min(cost.cpu_us for cost in bursts), 1),
                "max": round(max(cost.cpu_us for cost in bursts), 1),
                "bursts": len(bursts),
            }
            for name, bursts in by_peer.items()
        },
        "ratio_nginx": _median(to_nginx, 2),
        "ratio_nginx_iqr": _quartiles(to_nginx, 2),
        "ratio_nginx_numbered": _median(to_nginx_numbered, 2),
        "ratio_nginx_numbered_iqr": _quartiles(to_nginx_numbered, 2),
        "ratio_fastapi_httpx": _median(cheaper, 1),
        "ratio_fastapi_httpx_iqr": _quartiles(cheaper, 1),
        "rps": {name: round(median(cost.rps for cost in bursts)) for name, bursts in by_peer.items()},
        "added_p50_us": {name: _median(samples, 0) for name, samples in added.items()},
        "added_p50_us_iqr": {name: _quartiles(samples, 0) for name, samples in added.items()},
    }


def _paired(costs: Sequence[Mapping[str, Cost]], one: str, other: str) -> list[float]:
    """How many times what `other` costs `one` costs, cycle by cycle."""
    return [cycle[one].cpu_us / cycle[other].cpu_us for cycle in costs if one in cycle and other in cycle]


def _median(samples: Sequence[float], digits: int) -> float | None:
    return round(median(samples), digits) if samples else None


def _quartiles(samples: Sequence[float], digits: int) -> list[float] | None:
    if not samples:
        return None
    if len(samples) == 1:
        return [round(samples[0], digits)] * 2
    lower, _, upper = quantiles(samples, method="inclusive")
    return [round(lower, digits), round(upper, digits)]


def python_build() -> dict[str, object]:
    """Which interpreter the Python proxies ran on; one built without PGO is up to 1.4 times slower."""
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "pgo": was_built_with("--enable-optimizations", sysconfig.get_config_vars()),
        "lto": was_built_with("--with-lto", sysconfig.get_config_vars()),
        "compiler": platform.python_compiler(),
    }


def was_built_with(option: str, build: Mapping[str, object]) -> bool | None:
    """Whether CPython was configured with an option; None where the build was made not to say.

    Args:
        option: Of CPython's configure script.
        build: The build's variables, as sysconfig has them.
    """
    if option in str(build.get("CONFIG_ARGS", "")):
        return True
    # configure always writes this one; Debian builds with PGO and LTO by other means and blanks it.
    return False if build.get("PGO_PROF_USE_FLAG") else None


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    proxy_cpus, load_cpus = split_cpus()
    return {
        "processor": model_name(),
        "cpus": os.cpu_count(),
        "system": f"{sys.platform} {platform.release()}",
        "proxy_cpu": min(proxy_cpus),
        "load_cpu": min(load_cpus),
        "shared_cpu": proxy_cpus == load_cpus,
    }
