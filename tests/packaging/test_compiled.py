"""The compiled build behaves like its sources, and never hides them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app import compiled

PROJECT = Path(__file__).resolve().parents[2]
WHERE = "import app.proxy.downstream.listener as listener; print(listener.__file__)"


def run(*words: str, build: str = "yes") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, compiled.VARIABLE: build}
    # A run of its own, not one more worker of this one.
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    return subprocess.run(  # noqa: S603 -- the program under test
        [sys.executable, *words], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def build() -> None:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler: apt-get install gcc python3-dev")
    finished = run("-m", "app", "compile", "--json")
    assert finished.returncode == 0, finished.stderr


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("build")
def test_the_data_planes_tests_pass_on_the_compiled_modules() -> None:
    assert "_compiled" in run("-c", WHERE).stdout
    finished = run("-m", "pytest", "-q", "-x", "tests/proxy", "tests/recording")
    assert finished.returncode == 0, finished.stdout[-4_000:]


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("build")
def test_a_build_is_ignored_when_told_so() -> None:
    assert "_compiled" not in run("-c", WHERE, build="no").stdout


def test_a_build_of_other_sources_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "app"
    shutil.copytree(compiled.PACKAGE, copy, ignore=shutil.ignore_patterns("_compiled", "data", "__pycache__"))
    monkeypatch.setattr(compiled, "PACKAGE", copy)
    before = compiled.build()
    edited = compiled.source("app.proxy.http1.chunks")
    edited.write_text(edited.read_text() + "\n")
    assert compiled.build() != before
