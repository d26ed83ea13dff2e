"""`test`, `check` and `openapi`: what a checkout of the sources can do for its developers."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import typer

from app import compiled
from app.cli.output import Json, say, write, write_document
from app.cli.verbs import ExitCode

PROJECT = Path(__file__).resolve().parents[3]
# More workers than this only wait for the one Postgres they share.
_MOST_WORKERS = 4


def run_tests(context: typer.Context, *, as_json: Json = False) -> int:
    """Run pytest on the whole suite."""
    command = [sys.executable, "-m", "pytest", *_spread(context.args), *context.args]
    os.chdir(PROJECT)
    # The sources are what is tested; one test compiles them and runs the data plane's tests again.
    os.environ.setdefault(compiled.VARIABLE, "no")
    if as_json:
        return _run_to_document(command)
    # pytest's own last lines and exit code are the command's.
    os.execv(sys.executable, command)
    return ExitCode.FAILED


def _spread(words: list[str]) -> list[str]:
    """As many workers as help, unless the caller says how many or debugs."""
    if any(word.startswith(("-n", "--numprocesses", "--pdb", "--collect-only", "--co")) for word in words):
        return []
    return ["-n", str(min(_MOST_WORKERS, os.cpu_count() or 1))]


def _run_to_document(command: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        finished = subprocess.run([*command, f"--junitxml={report}"], stdout=sys.stderr.fileno(), check=False)
        counted = ET.parse(report).getroot()[0].attrib if report.exists() else {}  # noqa: S314 -- pytest wrote it
    result: dict[str, object] = {"exit_code": finished.returncode}
    result |= {name: int(counted[name]) for name in ("tests", "failures", "errors", "skipped") if name in counted}
    write_document(result | {"seconds": float(counted.get("time", 0))})
    return finished.returncode


def check(*, as_json: Json = False) -> int:
    """Run what `poe check` runs, all of it, and say what failed."""
    results = {}
    for word in ("lint", "types", "layers", "images"):
        say(f"turnback: {word}")
        command = [sys.executable, "-m", "poethepoet", word]
        finished = subprocess.run(command, cwd=PROJECT, stdout=sys.stderr.fileno(), env=_path(), check=False)
        results[word] = "ok" if finished.returncode == 0 else "failed"
    if as_json:
        write_document(results)
    else:
        write("\n".join(f"{word:<8} {result}" for word, result in results.items()))
    return ExitCode.DONE if set(results.values()) == {"ok"} else ExitCode.FAILED


def _path() -> dict[str, str]:
    """The environment with this Python's own tools first."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def openapi(*, as_json: Json = False) -> None:
    """Write the documents of both listeners to openapi/."""
    from app.main import openapi_documents  # noqa: PLC0415 -- the whole gateway, which `test` does not need

    written = []
    for name, document in openapi_documents().items():
        target = PROJECT / "openapi" / f"{name}.json"
        target.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(str(target.relative_to(PROJECT)))
    if as_json:
        write_document({"written": written})
    else:
        write("\n".join(written))


COMMANDS = {"test": run_tests, "check": check, "openapi": openapi}
