"""`test`: runs pytest on the suite of a checkout."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import typer

from app import compiled
from app.cli.options import Json
from app.cli.output import write_document
from app.cli.process import become
from app.cli.verbs import PROJECT

# More workers than this only wait for the one Postgres they share.
_MOST_WORKERS = 4


def command(context: typer.Context, *, as_json: Json = False) -> int:
    """Run pytest on the whole suite."""
    words = [*_spread(context.args), *context.args]
    os.chdir(PROJECT)
    # The sources are what is tested; one test compiles them and runs the data plane's tests again.
    os.environ.setdefault(compiled.VARIABLE, "no")
    if not as_json:
        become("pytest", *words)
    return _run_to_document(words)


def _spread(words: list[str]) -> list[str]:
    """As many workers as help, unless the caller says how many or debugs."""
    if any(word.startswith(("-n", "--numprocesses", "--pdb", "--collect-only", "--co")) for word in words):
        return []
    return ["-n", str(min(_MOST_WORKERS, os.cpu_count() or 1))]


def _run_to_document(words: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", *words, f"--junitxml={report}"], stdout=sys.stderr.fileno(), check=False
        )
        counted = ET.parse(report).getroot()[0].attrib if report.exists() else {}  # noqa: S314 -- pytest wrote it
    result: dict[str, object] = {"exit_code": finished.returncode}
    result |= {name: int(counted[name]) for name in ("tests", "failures", "errors", "skipped") if name in counted}
    write_document(result | {"seconds": float(counted.get("time", 0))})
    return finished.returncode
