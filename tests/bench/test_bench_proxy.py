"""`bench proxy` in its smallest form: the whole run, its figures, and what it refuses."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from bench import proxy
from bench.cpu import split_cpus
from bench.environments import EnvironmentUnavailable
from bench.figures import Document
from bench.machine import was_built_with
from bench.peers import PEERS, Peer, Wheels
from bench.proxy import built, measure
from bench.servers import CHECKOUT, BenchFailed, free_port, python_module, running
from bench.workloads import Plan

SMALLEST = Plan(cycles=1, burst_s=0.3, tool="own")
EVERY_WORKLOAD = Plan(
    cycles=1,
    burst_s=0.3,
    numbered_cycles=1,
    large_cycles=1,
    stream_cycles=1,
    stream_waves=1,
    latency_cycles=1,
    latency_s=0.3,
    rates=frozenset({500}),
    variant_cycles=1,
    models=100,
    tool="own",
)


def silent(_line: str) -> None:
    """Nobody watches a test."""


def children() -> set[str]:
    """Processes whose parent is this one."""
    return {stat.parent.name for stat in Path("/proc").glob("[0-9]*/stat") if _parent(stat) == os.getpid()}


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _answers_itself(port: int, _upstream: int, _folder: Path) -> list[str]:
    return python_module("bench.upstream", port)


def _leaves(_port: int, _upstream: int, _folder: Path) -> list[str]:
    return [sys.executable, "-c", "raise SystemExit('no such model')"]


def _of(*names: str) -> list[Peer]:
    return [peer for peer in PEERS if peer.name in names and peer.present()]


@pytest.fixture(scope="module")
def whole_run() -> Document:
    """Every workload once, ours beside one other."""
    before = children()
    document = measure(EVERY_WORKLOAD, _of("turnback", "nginx"), Random(1), silent)
    assert children() == before
    return document


@pytest.mark.bench
def test_every_workload_measures_every_peer_that_is_installed(whole_run: Document) -> None:
    ran = {peer.name for peer in _of("turnback", "nginx")}
    for part in (whole_run, whole_run["large"], whole_run["stream"]):
        assert part["cpu_us"].keys() == part["rps"].keys() == part["cpu_us_range"].keys() == ran
        assert all(cpu_us > 0 for cpu_us in part["cpu_us"].values())
    assert whole_run["numbered"]["cpu_us"].keys() == ran
    assert whole_run["added_p50_us"].keys() == whole_run["stream"]["added_first_ms"].keys() == ran
    assert whole_run["memory"]["rss_mb"].keys() == ran
    assert whole_run["memory"]["rss_mb"]["turnback"] > 10
    assert whole_run["load"] == "own"


@pytest.mark.bench
def test_our_data_plane_is_measured_beside_itself(whole_run: Document) -> None:
    assert whole_run["many_models"]["ratio"] > 0
    assert whole_run["many_models"]["models"] == 100
    assert whole_run["recording"]["ratio"] > 0


@pytest.mark.bench
def test_what_did_not_run_has_no_ratio_and_meets_no_goal(whole_run: Document) -> None:
    assert whole_run["ratio_envoy"] is None
    assert whole_run["goals"]["cpu_envoy"]["met"] is None
    assert (whole_run["ratio_nginx"] is None) == (not _of("nginx"))


def test_a_missing_peer_is_named_with_the_line_that_installs_it(tmp_path: Path) -> None:
    absent = Peer("nginx", _leaves, lambda: False, "apt-get install nginx-light")
    stand_in = Peer("turnback", _relays, lambda: True, "", connections=4)
    result = measure(SMALLEST, [stand_in, absent], Random(1), silent)
    assert result["not_run"].get("nginx") == "apt-get install nginx-light"
    assert result["ratio_nginx"] is None


def _relays(port: int, upstream: int, _folder: Path) -> list[str]:
    return python_module("bench.peer_fastapi_httpx", port, upstream)


def test_a_proxy_that_answers_without_the_upstream_fails_the_run() -> None:
    with pytest.raises(BenchFailed, match="the upstream 0"):
        measure(SMALLEST, [Peer("turnback", _answers_itself, lambda: True, "")], Random(1), silent)


def test_a_server_that_leaves_fails_the_run_says_why_and_takes_the_others_along() -> None:
    before = children()
    peers = [Peer("first", _answers_itself, lambda: True, ""), Peer("second", _leaves, lambda: True, "")]
    with pytest.raises(BenchFailed, match=r"second.*left with code 1.*no such model"):
        measure(SMALLEST, peers, Random(1), silent)
    assert children() == before


def _fail_beside(seen: list[int]) -> None:
    port = free_port()
    with running("upstream", python_module("bench.upstream", port), port, split_cpus()[0]) as server:
        seen.append(server.pid)
        raise ZeroDivisionError


def test_a_server_stops_when_the_code_beside_it_fails() -> None:
    pids: list[int] = []
    with pytest.raises(ZeroDivisionError):
        _fail_beside(pids)
    assert [is_gone(pid) for pid in pids] == [True]


def test_sigterm_in_the_middle_of_a_run_stops_the_servers() -> None:
    script = (
        "import sys, time\n"
        "from bench.servers import *\n"
        "port = free_port()\n"
        "with stopping_on_sigterm(), running('upstream', python_module('bench.upstream', port), port, {0}) as server:\n"
        "    print(server.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE) as bench:  # noqa: S603 -- our own code
        assert bench.stdout is not None
        pid = int(bench.stdout.readline())
        bench.terminate()
        assert bench.wait(20) == 128 + signal.SIGTERM
    assert is_gone(pid)


class _NeverBuilt(Wheels):
    def is_built(self) -> bool:
        return False

    def program(self, name: str) -> str:
        raise EnvironmentUnavailable(f"no wheel brings {name}")


def test_an_environment_that_cannot_be_built_leaves_its_peer_out_and_says_why() -> None:
    wheels = _NeverBuilt("envoy", ())
    said: list[str] = []
    failed = built([Peer("envoy", _leaves, wheels.is_built, "", wheels=wheels), *_of("nginx")], said.append)
    assert failed == {"envoy": "no wheel brings python"}
    assert said == ["building the environment of envoy; it is kept for the next time"]


@pytest.mark.parametrize(
    ("arguments", "flag", "pgo"),
    [("'--enable-optimizations'", "-fprofile-use", True), ("'--prefix=/usr'", "-fprofile-use", False), ("", "", None)],
)
def test_a_build_that_does_not_say_is_not_called_slow(arguments: str, flag: str, pgo: bool | None) -> None:
    build = {"CONFIG_ARGS": arguments, "PGO_PROF_USE_FLAG": flag}
    assert was_built_with("--enable-optimizations", build) is pgo


def _seconds(plan: Plan) -> float:
    """Bursts, streams, fixed-rate runs and idle connections, with a fifth of a second around each burst or run."""
    around_s = 0.2
    peers = [peer for peer in PEERS if plan.peers is None or peer.name in plan.peers]
    # What takes part in one of n cycles is there in the first one too.
    bursts = sum(-(-plan.cycles // peer.every) for peer in peers) + plan.numbered_cycles * 3
    bursts += sum(-(-plan.large_cycles // peer.every) for peer in peers) + plan.variant_cycles * 5
    streams = sum(-(-plan.stream_cycles // peer.every) for peer in peers) + plan.stream_cycles * 2
    asked = [peer for peer in peers if plan.latency_of is None or peer.name in plan.latency_of]
    rated = [(peer.every, rate) for peer in asked for rate in plan.rates if rate in peer.rates]
    fixed = sum(-(-plan.latency_cycles // every) for every, _ in rated) + plan.latency_cycles * len(plan.rates)
    idle = 4 * 4 if plan.idle_connections else 0
    alone = 4 if plan.recording_alone else 0
    return (
        bursts * (plan.burst_s + around_s)
        + streams * (plan.stream_waves * 1.1 + around_s)
        + fixed * (plan.latency_s + around_s)
        + idle
        + alone
    )


@pytest.mark.parametrize(("plan", "most_s"), [(proxy.QUICK, 50), (proxy.FULL, 480)], ids=["quick", "full"])
def test_a_plan_fits_into_its_time(plan: Plan, most_s: float) -> None:
    assert _seconds(plan) < most_s * 0.95


def test_the_full_plan_has_nine_pairs_of_each_latency() -> None:
    assert proxy.FULL.latency_cycles >= 9
    assert {500, 2_000} <= proxy.FULL.rates
