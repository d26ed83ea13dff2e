"""Readings of /proc against processes whose CPU time is known."""

import os
import subprocess
import sys

import pytest

from bench.cpu import children_on, split_cpus, tree_cpu_s

_BURN = "import time\nwhile time.process_time() < 0.3: pass\n"
_SAY = "print(flush=True); input()\n"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# An interpreter's own start and end, generously, on a machine that does other things too.
_START_S = 0.5


def python(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 -- our own code


def cpu_s_when_it_says_so(process: subprocess.Popen[bytes]) -> float:
    """Reading at the process' first line of output; lets it end."""
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        used_s = tree_cpu_s(process.pid)
        process.communicate(b"\n")
    return used_s


def test_a_busy_child_is_charged_what_it_burned() -> None:
    used_s = cpu_s_when_it_says_so(python(_BURN + _SAY))
    assert 0.3 - 2 * _TICK_S <= used_s < 0.3 + _START_S


@pytest.mark.parametrize("reaped", [False, True], ids=["living", "reaped"])
def test_a_grandchild_is_charged_to_the_tree(reaped: bool) -> None:
    burn = _BURN if reaped else _BURN + _SAY
    root = f"import subprocess, sys\nsubprocess.call([sys.executable, '-c', {burn!r}])\n" + (_SAY if reaped else "")
    used_s = cpu_s_when_it_says_so(python(root))
    assert 0.3 - 2 * _TICK_S <= used_s < 0.3 + 2 * _START_S


def test_a_process_that_is_gone_is_an_error_not_zero() -> None:
    with python("") as process:
        process.wait()
    with pytest.raises(ProcessLookupError):
        tree_cpu_s(process.pid)


def test_children_start_on_their_cpus_and_the_parent_keeps_its_own() -> None:
    usual = os.sched_getaffinity(0)
    _, load_cpus = split_cpus()
    with children_on(load_cpus), python("import os; print(*os.sched_getaffinity(0))") as process:
        said, _ = process.communicate()
    assert {int(cpu) for cpu in said.split()} == load_cpus
    assert os.sched_getaffinity(0) == usual
