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
from bench.peers import PEERS, Peer
from bench.proxy import Cost, Plan, measure, summary, was_built_with
from bench.servers import CHECKOUT, BenchFailed, free_port, python_module, running

SMALLEST = Plan(
    cycles=1,
    burst_s=0.3,
    latency_cycles=1,
    latency_s=0.3,
    latency_of=frozenset({"turnback"}),
    numbered_cycles=1,
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


@pytest.mark.bench
def test_the_smallest_run_measures_every_peer_that_is_installed() -> None:
    before = children()
    result = measure(SMALLEST, PEERS, Random(1), silent)
    present = {peer.name for peer in PEERS if peer.present()}
    assert {"turnback", "fastapi_httpx"} <= present
    assert result["cpu_us"].keys() == result["rps"].keys() == present  # type: ignore[attr-defined]  # JSON
    assert all(cost > 0 for cost in result["cpu_us"].values())  # type: ignore[attr-defined]  # JSON
    assert result["not_run"].keys() - {"wrk"} == {peer.name for peer in PEERS} - present  # type: ignore[attr-defined]  # JSON
    assert (result["ratio_nginx"] is None) == (result["ratio_nginx_numbered"] is None) == ("nginx" not in present)
    assert result["ratio_fastapi_httpx"] > 1  # type: ignore[operator]  # JSON
    assert result["added_p50_us"].keys() == {"turnback"}  # type: ignore[attr-defined]  # JSON
    assert result["load"] == "own"
    assert children() == before


def test_a_missing_peer_is_named_with_the_line_that_installs_it(tmp_path: Path) -> None:
    absent = Peer("nginx", _leaves, lambda: False, "apt-get install nginx-light")
    stand_in = Peer("turnback", _relays, lambda: True, "", connections=4, rate=20)
    result = measure(SMALLEST, [stand_in, absent], Random(1), silent)
    assert result["not_run"].get("nginx") == "apt-get install nginx-light"  # type: ignore[attr-defined]  # JSON
    assert result["ratio_nginx"] is None


def _relays(port: int, upstream: int, _folder: Path) -> list[str]:
    return python_module("bench.peer_fastapi", port, upstream)


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


def test_ratios_are_taken_inside_a_cycle_before_the_median() -> None:
    """The machine slows down threefold: medians of all bursts would give 1.2, each cycle says 1.5, 2 or 3."""
    cycles = [
        {"turnback": Cost(30, 1), "nginx": Cost(20, 1), "fastapi_httpx": Cost(3000, 1)},
        {"turnback": Cost(60, 1), "nginx": Cost(30, 1), "fastapi_httpx": Cost(3000, 1)},
        {"turnback": Cost(36, 1), "nginx": Cost(12, 1), "fastapi_httpx": Cost(720, 1)},
    ]
    result = summary(cycles, cycles[:2], [{"turnback": 100.0}, {"turnback": 300.0}, {"turnback": 250.0}])
    assert result["cpu_us"] == {"turnback": 36, "nginx": 20, "fastapi_httpx": 3000}
    assert result["cpu_us_range"]["nginx"] == {"min": 12, "max": 30, "bursts": 3}  # type: ignore[index]  # JSON
    assert (result["ratio_nginx"], result["ratio_nginx_iqr"]) == (2.0, [1.75, 2.5])
    assert (result["ratio_nginx_numbered"], result["ratio_nginx_numbered_iqr"]) == (1.75, [1.62, 1.88])
    assert (result["ratio_fastapi_httpx"], result["ratio_fastapi_httpx_iqr"]) == (50.0, [35.0, 75.0])
    assert (result["added_p50_us"], result["added_p50_us_iqr"]) == ({"turnback": 250}, {"turnback": [175, 275]})


@pytest.mark.parametrize(
    ("arguments", "flag", "pgo"),
    [("'--enable-optimizations'", "-fprofile-use", True), ("'--prefix=/usr'", "-fprofile-use", False), ("", "", None)],
)
def test_a_build_that_does_not_say_is_not_called_slow(arguments: str, flag: str, pgo: bool | None) -> None:
    build = {"CONFIG_ARGS": arguments, "PGO_PROF_USE_FLAG": flag}
    assert was_built_with("--enable-optimizations", build) is pgo


def test_the_quick_plan_fits_into_its_time() -> None:
    """Bursts and fixed-rate runs alone, with half as much again for starting processes."""
    bursts = proxy.QUICK.cycles * len(PEERS) * proxy.QUICK.burst_s
    runs = proxy.QUICK.latency_cycles * (1 + len(proxy.QUICK.latency_of)) * proxy.QUICK.latency_s
    assert (bursts + runs) * 1.5 < 50
