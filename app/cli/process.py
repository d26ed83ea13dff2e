"""A Python program that takes this process's place."""

import os
import sys
from typing import NoReturn


def become(module: str, *words: str) -> NoReturn:
    """Run `python -m MODULE words…` instead of this: signals reach it, and its exit code is the command's."""
    os.execv(sys.executable, [sys.executable, "-m", module, *words])
