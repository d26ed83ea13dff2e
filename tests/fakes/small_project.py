"""A small project with the real set-up code: two lock files, two packages made here, no network."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

# Stands where the real command is: says which packages it finds and what it was asked.
_COMMAND = '''
"""What the environment holds, instead of the real verbs."""

import importlib.util
import sys

from app.cli.verbs import *
from app.cli_before import answered_without_packages


def main() -> None:
    found = [name for name in ("apple", "berry") if importlib.util.find_spec(name)]
    print(*found, *sys.argv[1:], sys.prefix, sep="|")
    raise SystemExit(4)
'''


@dataclass(frozen=True)
class SmallProject:
    """A checkout in a temporary folder."""

    folder: Path
    wheels: Path

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    @property
    def stamp(self) -> Path:
        return self.venv / "turnback.stamp"

    def surroundings(self, **more: str) -> dict[str, str]:
        """No configuration of this machine, no network, no uv, only the wheels made here."""
        keep = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        return keep | {"PATH": "/usr/bin:/bin", "PIP_NO_CACHE_DIR": "1"} | pip | more

    def start(self, *words: str, python: str | Path = sys.executable, **more: str) -> subprocess.Popen[str]:
        """`python -m app words…` in the project's folder."""
        return subprocess.Popen(  # noqa: S603 -- the program under test
            [str(python), "-m", "app", *words],
            cwd=self.folder,
            env=self.surroundings(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, python: str | Path = sys.executable, **more: str) -> subprocess.CompletedProcess[str]:
        """`start` and wait."""
        with self.start(*words, python=python, **more) as process:
            out, err = process.communicate(timeout=100)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def copied_to(self, folder: Path) -> "SmallProject":
        """The same with its environment, elsewhere."""
        # Installed files are replaced, never written into, so that links to them will do.
        shutil.copytree(self.folder, folder / "checkout", symlinks=True, copy_function=_linked_if_installed)
        shutil.copytree(self.wheels, folder / "wheels")
        return SmallProject(folder / "checkout", folder / "wheels")

    def lock(self, name: str, *wheels: Path) -> None:
        """Write a lock file that names these wheels with their hashes."""
        pins = [
            f"{wheel.name.split('-')[0]}=={wheel.name.split('-')[1]} \\\n    --hash=sha256:{_sha256(wheel)}\n"
            for wheel in wheels
        ]
        (self.folder / name).write_text("".join(pins), encoding="utf-8")


def made(folder: Path) -> SmallProject:
    """A fresh project; the run lock has the apple, the development lock also the berry."""
    project = SmallProject(folder / "checkout", folder / "wheels")
    project.wheels.mkdir(parents=True)
    commands = project.folder / "app" / "cli"
    commands.mkdir(parents=True)
    for name in ("app/__init__.py", "app/__main__.py", "app/compiled.py", "app/cli/verbs.py"):
        shutil.copy(PROJECT / name, project.folder / name)
    before = (PROJECT / "app/cli/__init__.py").read_text(encoding="utf-8")
    (project.folder / "app" / "cli_before.py").write_text(before, encoding="utf-8")
    (commands / "__init__.py").write_text(_COMMAND, encoding="utf-8")
    apple, berry = wheel(project.wheels, "apple"), wheel(project.wheels, "berry")
    project.lock("requirements.lock", apple)
    project.lock("requirements-dev.lock", apple, berry)
    return project


def wheel(folder: Path, name: str, version: str = "1.0") -> Path:
    """A package of one empty module, as a wheel."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{inside},sha256={_record_hash(text)},{len(text)}\n" for inside, text in files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(inside, text)
    return path


def _linked_if_installed(source: str, target: str) -> None:
    if "site-packages" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
