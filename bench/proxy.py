"""What one exchange costs through Turnback and through its peers: CPU, latency, memory.

Method: all servers up at once, the proxies on one CPU and load and upstream on another; short bursts in
shuffled order; every ratio and difference is taken inside one cycle, then the median over cycles.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from time import monotonic

from bench import goals
from bench.environments import EnvironmentUnavailable
from bench.figures import Document, Measured, summary
from bench.load import WRK_INSTALL, wrk_present
from bench.machine import machine, python_build
from bench.memory import affordable_connections
from bench.peers import PEERS, Peer
from bench.servers import BenchFailed, stopping_on_sigterm
from bench.workloads import Bench, Plan, Say, bench_of

# Processes that want to run beside ours, above which the proxies wait for their CPU.
_BUSY = 1.0

QUICK = Plan(
    cycles=5,
    peers=frozenset({"turnback", "turnback_compiled", "nginx", "envoy", "fastapi_httpx"}),
    numbered_cycles=2,
    latency_cycles=2,
    latency_s=0.8,
    rates=frozenset({500}),
    latency_of=frozenset({"turnback", "nginx"}),
)
FULL = Plan(
    cycles=12,
    numbered_cycles=7,
    large_cycles=5,
    stream_cycles=4,
    latency_cycles=9,
    rates=frozenset({50, 500, 2_000}),
    variant_cycles=7,
    recording_alone=True,
    idle_connections=2_000,
)


def run(quick: bool, say: Say = lambda _line: None) -> Document:
    """Measure everything that is installed; the result is one JSON object.

    Args:
        quick: Under 50 seconds instead of some minutes.
        say: Takes one line of progress.

    Raises: BenchFailed when a server does not start or any exchange fails.
    """
    plan = QUICK if quick else FULL
    peers = [peer for peer in PEERS if plan.peers is None or peer.name in plan.peers]
    unbuilt = built(peers, say)
    document = measure(plan, peers, Random(), say)
    document["not_run"] |= unbuilt
    return document


def built(peers: Sequence[Peer], say: Say) -> dict[str, str]:
    """Build the environments that are missing; the peers whose could not be built, and why."""
    failed = {}
    for peer in peers:
        if peer.wheels is not None and not peer.wheels.is_built():
            say(f"building the environment of {peer.name}; it is kept for the next time")
            try:
                peer.wheels.program("python")
            except EnvironmentUnavailable as unavailable:
                failed[peer.name] = str(unavailable)
    return failed


def measure(plan: Plan, peers: Sequence[Peer], rng: Random, say: Say) -> Document:
    """`run` with everything it chooses as arguments."""
    if not Path("/proc/self/stat").exists():
        raise BenchFailed("CPU time of other processes is read from /proc, which only Linux has")
    started, busy = monotonic(), os.getloadavg()[0]
    if busy > _BUSY:
        say(f"the machine is busy (load average {busy:.1f}): expect wide ranges, and latencies that say nothing")
    plan = replace(plan, idle_connections=affordable_connections(plan.idle_connections))
    ran = [peer for peer in peers if peer.present()]
    with stopping_on_sigterm(), bench_of(plan, ran, rng, say) as bench:
        figures = summary(measured(bench, plan))
        tool = bench.loader.tool
    not_run = {peer.name: peer.install for peer in peers if peer not in ran}
    return {
        **figures,
        "goals": goals.judged(figures),
        "connections": {peer.name: peer.connections for peer in ran},
        "not_run": not_run | ({} if wrk_present() else {"wrk": WRK_INSTALL}),
        "load": tool,
        "python": python_build(),
        "machine": machine() | {"load_average": round(busy, 1)},
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cycles": plan.cycles,
        "seconds": round(monotonic() - started, 1),
    }


def measured(bench: Bench, plan: Plan) -> Measured:
    """Every workload of the plan, one after the other."""
    infer = bench.bursts(plan)
    numbered = bench.numbered_bursts(plan)
    large = bench.large_bursts(plan)
    stream, added_first_ms = bench.streams(plan)
    added_p50_us = bench.added_p50_us(plan)
    return Measured(
        infer=infer,
        numbered=numbered,
        large=large,
        stream=stream,
        added_first_ms=added_first_ms,
        added_p50_us=added_p50_us,
        rss_mb=bench.rss_mb(),
        idle_kib=bench.idle_kib(plan.idle_connections),
        idle_connections=plan.idle_connections,
        variants=bench.variants(plan),
        recording_us=bench.recording_us() if plan.recording_alone else {},
        models=plan.models,
    )
