"""The lock files: complete, in agreement with each other and with pyproject.toml, without addresses."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]
RUN, DEV, COMPILE = "requirements.lock", "requirements-dev.lock", "requirements-compile.lock"
LOCKS = (RUN, DEV, COMPILE)
PYTHONS = ("3.11", "3.12", "3.13")


def entries(name: str) -> list[str]:
    """Each pin with its hashes as one line."""
    text = (PROJECT / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [entry for entry in "\n".join(lines).replace("\\\n", " ").splitlines() if entry.strip()]


def pins(name: str, python: str = "3.11") -> dict[str, str]:
    """Package to version, as one Python on Linux installs it."""
    where = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    found: dict[str, str] = {}
    for entry in entries(name):
        requirement = Requirement(entry.split(" --hash", 1)[0])
        if requirement.marker is None or requirement.marker.evaluate(where):
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            found[canonicalize_name(requirement.name)] = pin.version
    return found


def declared() -> dict[str, list[str]]:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    wanted = project["project"]["dependencies"]
    groups = project["dependency-groups"]
    own = [each for each in groups["dev"] if isinstance(each, str)]
    assert [each for each in groups["dev"] if not isinstance(each, str)] == [{"include-group": "compile"}]
    return {RUN: wanted, DEV: wanted + own + groups["compile"], COMPILE: groups["compile"]}


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_hashes(name: str) -> None:
    assert [entry for entry in entries(name) if re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) is None] == []


@pytest.mark.parametrize("name", LOCKS)
def test_no_address_stands_in_a_lock_file(name: str) -> None:
    assert re.findall(r"\w+://|index|find-links|@ ", (PROJECT / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", LOCKS)
def test_every_dependency_is_pinned_within_its_range(name: str, python: str) -> None:
    pinned = pins(name, python)
    wanted = [Requirement(text) for text in declared()[name]]
    loose = [str(each) for each in wanted if not each.specifier.contains(pinned[canonicalize_name(each.name)])]
    assert loose == []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", [RUN, COMPILE])
def test_the_development_lock_holds_the_others(name: str, python: str) -> None:
    assert pins(name, python).items() <= pins(DEV, python).items()
