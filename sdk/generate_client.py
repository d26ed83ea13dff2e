"""Makes the synchronous client out of the asynchronous one; `poe sdk` writes it, and a test compares the two.

Rule: only what waits is written by hand once, in async_client.py; everything else is shared by both clients (ADR 0115).
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import unasync  # type: ignore[import-untyped]  # it brings no types

PACKAGE = Path(__file__).parent / "turnback_client"
SOURCE, TARGET = PACKAGE / "async_client.py", PACKAGE / "client.py"

_NAMES = {
    "AsyncTurnback": "Turnback",
    "AsyncBatch": "Batch",
    "AsyncPrediction": "Prediction",
    "AsyncClient": "Client",
    "aclose": "close",
    "asyncio": "time",
}
# Tokens are renamed in code alone; sentences that differ stand here.
_SENTENCES = {
    "for programs that run on asyncio": "for programs that wait",
    "between tasks of one event loop": "between threads, as an httpx.Client is",
    "As `AsyncTurnback.feedback`": "As `Turnback.feedback`",
    "an `async with` block": "a `with` block",
    "its `async with` block": "its `with` block",
}
_HEAD = "# Made from async_client.py by `poe sdk`: edit that file, not this one.\n"


def synchronous() -> str:
    """The text of client.py. Raises: LookupError: a sentence that should differ is there no more."""
    with tempfile.TemporaryDirectory() as folder:
        names = unasync.Rule(f"{PACKAGE}/", f"{folder}/", additional_replacements=_NAMES)
        unasync.unasync_files([str(SOURCE)], [names])
        text = (Path(folder) / SOURCE.name).read_text(encoding="utf-8")
    for ours, theirs in _SENTENCES.items():
        if ours not in text:
            raise LookupError(f"{SOURCE.name} says {ours!r} no more")
        text = text.replace(ours, theirs)
    return _formatted(_HEAD + text)


def _formatted(text: str) -> str:
    ruff = [str(Path(sys.executable).with_name("ruff")), "format", "--stdin-filename", str(TARGET), "-"]
    return subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    TARGET.write_text(synchronous(), encoding="utf-8")
