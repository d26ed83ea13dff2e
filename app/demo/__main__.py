"""`python -m app.demo`: plays the story; `turnback demo` becomes this process.

Rule: the exit code is 0 only if the story ended as expected, 2 for words that are not accepted, 130 for a signal.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from app.demo.fault import Fault
from app.demo.play import run

_USAGE = 2


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("python -m app.demo", description="Play the story on real flights.")
    parser.add_argument("--headless", action="store_true", help="no live view; one JSON document at the end")
    parser.add_argument("--fault", metavar="|".join(Fault), help="what breaks in the middle")
    wanted = parser.parse_args(arguments)
    if wanted.fault is not None and wanted.fault not in set(Fault):
        return _refuse(f"--fault is one of {', '.join(Fault)}, and not {wanted.fault!r}.", headless=wanted.headless)
    # The demo chooses its own settings; those exported for a real gateway must not reach it.
    for name in [name for name in os.environ if name.startswith("TURNBACK_")]:
        del os.environ[name]
    return run(headless=wanted.headless, fault=None if wanted.fault is None else Fault(wanted.fault))


def _refuse(sentence: str, *, headless: bool) -> int:
    sys.stderr.write(f"turnback: {sentence}\n")
    if headless:
        error = {"exit_code": _USAGE, "detail": sentence, "problem": None}
        sys.stdout.write(json.dumps({"error": error}) + "\n")
    return _USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
