"""`check`: lint, types, layers, Dockerfile and compose file of a checkout."""

import os
import subprocess
import sys
from pathlib import Path

from app.cli.options import Json
from app.cli.output import say, write, write_document
from app.cli.verbs import PROJECT, ExitCode


def command(*, as_json: Json = False) -> int:
    """Run what `poe check` runs, all of it, and say what failed."""
    results = {}
    for word in ("lint", "types", "layers", "images"):
        say(f"turnback: {word}")
        poe = [sys.executable, "-m", "poethepoet", word]
        finished = subprocess.run(poe, cwd=PROJECT, stdout=sys.stderr.fileno(), env=_environment(), check=False)
        results[word] = "ok" if finished.returncode == 0 else "failed"
    if as_json:
        write_document(results)
    else:
        write("\n".join(f"{word:<8} {result}" for word, result in results.items()))
    return ExitCode.DONE if set(results.values()) == {"ok"} else ExitCode.FAILED


def _environment() -> dict[str, str]:
    """The caller's, with this Python's own tools first on the PATH."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
