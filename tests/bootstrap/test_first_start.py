"""`python3 -m app` on a machine that has only Python: set-up, second start, and each way it can fail."""

import ast
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from fakes.small_project import PROJECT, SmallProject, made, wheel

FROM_THE_VERB = 4


class Prepared(NamedTuple):
    """A started checkout and what the starts wrote: stdout and stderr."""

    project: SmallProject
    said: list[tuple[str, str]]


@pytest.fixture
def project(tmp_path: Path) -> SmallProject:
    """A checkout that was never started."""
    return made(tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A checkout whose first starts, three at the same time, are over."""
    project = made(tmp_path_factory.mktemp("prepared"))
    started = [project.start("demo") for _ in range(3)]
    return Prepared(project, [process.communicate(timeout=100) for process in started])


@pytest.fixture
def started(prepared: Prepared, tmp_path: Path) -> SmallProject:
    """A checkout of one's own that was started before; quicker than starting it."""
    return prepared.project.copied_to(tmp_path)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A loopback port where nobody answers, kept from others while the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def assert_one_sentence(failed: subprocess.CompletedProcess[str], *parts: str, code: int = 1) -> None:
    """The last line on stderr names the trouble and the remedy; nothing else is shown."""
    assert failed.returncode == code, failed.stderr
    assert failed.stdout == ""
    assert "Traceback" not in failed.stderr
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith("turnback: ")
    for part in parts:
        assert part in last


def test_starts_at_the_same_time_set_up_once_and_all_go_on_inside(prepared: Prepared) -> None:
    assert [out for out, _ in prepared.said] == [f"apple|demo|{prepared.project.venv}\n"] * 3
    assert sum("installing 1 packages from requirements.lock" in err for _, err in prepared.said) == 1


def test_a_second_start_says_nothing_and_ends_as_its_verb_does(started: SmallProject) -> None:
    second = started.run("demo", "--headless")
    assert (second.stdout, second.stderr) == (f"apple|demo|--headless|{started.venv}\n", "")
    assert second.returncode == FROM_THE_VERB


def test_a_second_start_costs_less_than_a_second_more(prepared: Prepared) -> None:
    def seconds(python: str | Path) -> float:
        began = time.perf_counter()
        prepared.project.run("demo", python=python)
        return time.perf_counter() - began

    inside = prepared.project.venv / "bin" / "python"
    extra_s = min(seconds(sys.executable) for _ in range(5)) - min(seconds(inside) for _ in range(5))
    assert extra_s < 1


def test_a_verb_for_developers_adds_the_development_packages(started: SmallProject) -> None:
    assert started.run("test", "-x").stdout == f"apple|berry|test|-x|{started.venv}\n"
    again = started.run("demo")
    assert (again.stdout, again.stderr) == (f"apple|berry|demo|{started.venv}\n", "")


def test_a_changed_lock_is_installed_at_the_next_start(started: SmallProject) -> None:
    started.lock("requirements.lock", wheel(started.wheels, "apple", "2.0"))
    assert "installing 1 packages" in started.run("demo").stderr
    assert [path.name for path in started.venv.glob("lib/*/site-packages/apple-*")] == ["apple-2.0.dist-info"]


def test_an_interrupted_set_up_is_begun_anew(project: SmallProject) -> None:
    project.venv.mkdir()
    project.stamp.write_text("building\n", encoding="utf-8")
    (project.venv / "rubble").write_text("", encoding="utf-8")
    assert project.run("demo").returncode == FROM_THE_VERB
    assert not (project.venv / "rubble").exists()


def test_help_and_version_need_no_environment(project: SmallProject) -> None:
    overview = project.run("--help")
    assert "Exit codes" in overview.stdout
    assert project.run("--version").stdout.startswith("turnback ")
    assert not project.venv.exists()


def test_a_mistyped_verb_is_refused_before_anything_is_installed(project: SmallProject) -> None:
    assert_one_sentence(project.run("dmeo"), "dmeo", "demo", code=2)
    assert not project.venv.exists()


def test_outside_a_checkout_nothing_is_set_up(project: SmallProject) -> None:
    (project.folder / "requirements.lock").unlink()
    assert project.run("demo").stdout == f"demo|{sys.prefix}\n"
    assert not project.venv.exists()
    assert_one_sentence(project.run("test"), "checkout")


@pytest.mark.parametrize("host", ["127.0.0.1", "index.invalid"], ids=["nobody answers", "no such name"])
def test_without_network_one_sentence_names_the_index(started: SmallProject, closed_port: int, host: str) -> None:
    started.lock("requirements.lock", wheel(started.wheels, "cherry"))
    index = {"PIP_INDEX_URL": f"https://{host}:{closed_port}/simple", "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": ""}
    assert_one_sentence(started.run("demo", PIP_RETRIES="1", **index), "index cannot be reached", "network")


def test_a_package_that_the_index_does_not_have_is_said(started: SmallProject) -> None:
    absent = wheel(started.wheels, "cherry")
    started.lock("requirements.lock", absent)
    absent.unlink()
    assert_one_sentence(started.run("demo"), "lacks a locked package", ".log")


def test_a_package_that_is_not_the_locked_one_is_not_installed(started: SmallProject) -> None:
    other = wheel(started.wheels, "cherry")
    started.lock("requirements.lock", other)
    other.write_bytes(other.read_bytes() + b"tampered")
    assert_one_sentence(started.run("demo"), "not the one in requirements.lock")
    assert list(started.venv.glob("lib/*/site-packages/cherry*")) == []


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_says_what_to_install(project: SmallProject, tmp_path: Path, module: str) -> None:
    # Debian ships Python without these; importing them fails there just like this.
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / f"{module}.py").write_text(f'raise ModuleNotFoundError("No module named {module}")\n', encoding="utf-8")
    assert_one_sentence(project.run("demo", PYTHONPATH=str(shadow)), module, "python3-venv")


def test_a_folder_that_cannot_be_written_is_named(project: SmallProject) -> None:
    # Root may write anywhere, so a file stands where the folder should be.
    project.venv.write_text("", encoding="utf-8")
    assert_one_sentence(project.run("demo"), str(project.venv), "writable")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where nobody may")
def test_a_read_only_checkout_is_named(project: SmallProject) -> None:
    project.folder.chmod(0o555)
    try:
        assert_one_sentence(project.run("demo"), str(project.venv), "writable")
    finally:
        project.folder.chmod(0o755)


def test_somebody_elses_environment_is_left_alone(project: SmallProject) -> None:
    project.venv.mkdir()
    (project.venv / "pyvenv.cfg").write_text("version = 3.9.0\n", encoding="utf-8")
    assert_one_sentence(project.run("demo"), "remove or rename")
    assert (project.venv / "pyvenv.cfg").read_text(encoding="utf-8") == "version = 3.9.0\n"


def test_uv_on_the_path_is_used_and_pip_helps_when_it_fails(started: SmallProject, tmp_path: Path) -> None:
    started.lock("requirements.lock", wheel(started.wheels, "berry"))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "uv").write_text("#!/bin/sh\necho cannot >&2\nexit 1\n", encoding="utf-8")
    (tools / "uv").chmod(0o755)
    renewed = started.run("demo", PATH=f"{tools}:/usr/bin:/bin")
    assert "trying pip" in renewed.stderr
    assert renewed.stdout == f"apple|berry|demo|{started.venv}\n"


def test_the_set_up_code_parses_as_python_3_6_and_refuses_it(tmp_path: Path) -> None:
    source = (PROJECT / "app" / "__main__.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    pretend = "import sys, runpy; sys.version_info = (3, 10, 4); runpy.run_module('app', run_name='__main__')"
    refused = subprocess.run(  # noqa: S603 -- the program under test
        [sys.executable, "-c", pretend], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert_one_sentence(refused, "3.11", "3.10", code=2)


def test_really_old_pythons_get_a_sentence() -> None:
    found = [old for minor in range(6, 11) if (old := shutil.which(f"python3.{minor}")) and _starts(old)]
    if not found:
        pytest.skip("no Python older than 3.11 on the PATH")
    for old in found:
        refused = subprocess.run([old, "-m", "app", "demo"], cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603 -- the program under test
        assert_one_sentence(refused, "3.11", code=2)


def _starts(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0  # noqa: S603 -- an interpreter on the PATH
