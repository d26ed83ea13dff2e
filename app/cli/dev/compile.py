"""`compile`: builds the data plane's hot modules with mypyc, beside their sources."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from app import compiled
from app.cli.options import Json
from app.cli.output import Refused, say, write, write_document
from app.cli.verbs import ExitCode

# A process of its own: mypyc leaves the interpreter's state, its folder and its stdout as it likes.
_BUILD = """
import sys
from mypyc.build import mypycify
from setuptools import Distribution

folder, *sources = sys.argv[1:]
distribution = Distribution({"name": "turnback", "ext_modules": mypycify(sources, opt_level="3", target_dir=folder)})
command = distribution.get_command_obj("build_ext")
command.build_lib = command.build_temp = folder
distribution.run_command("build_ext")
"""


def command(*, as_json: Json = False) -> None:
    """Compile what every exchange runs through; `serve` takes it from then on, until a source changes."""
    folder = compiled.build()
    compiled.FOLDER.mkdir(exist_ok=True)
    with (compiled.FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Whoever held the lock may have done the work.
        if not folder.is_dir():
            say("turnback: compiling; this takes half a minute")
            _build(folder)
    if as_json:
        write_document({"folder": str(folder.relative_to(compiled.PACKAGE.parent)), "modules": list(compiled.MODULES)})
    else:
        write(f"{len(compiled.MODULES)} modules are compiled; TURNBACK_COMPILED=no runs the sources.")


def _build(folder: Path) -> None:
    project = compiled.PACKAGE.parent
    sources = [str(compiled.source(module).relative_to(project)) for module in compiled.MODULES]
    with tempfile.TemporaryDirectory(dir=compiled.FOLDER) as made:
        finished = subprocess.run(
            [sys.executable, "-c", _BUILD, made, *sources],
            cwd=project,
            env={**os.environ, compiled.VARIABLE: "no"},
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode != 0:
            tail = (finished.stdout + finished.stderr).strip().splitlines()[-10:]
            raise Refused(ExitCode.FAILED, "the modules were not compiled:\n" + "\n".join(tail))
        for old in compiled.FOLDER.iterdir():
            if old != Path(made):
                shutil.rmtree(old, ignore_errors=True)
        kept = Path(tempfile.mkdtemp(dir=compiled.FOLDER))
        for extension in Path(made).rglob("*.so"):
            target = kept / extension.relative_to(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(extension, target)
        kept.chmod(0o755)
        kept.rename(folder)
