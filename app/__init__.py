"""Turnback: a rollback gateway for machine-learning models."""

import sys

__version__ = "0.1.0"

# An older interpreter only gets as far as a sentence about its age, in __main__.
if sys.version_info >= (3, 11):  # noqa: UP036 -- older ones must come as far as that sentence
    from app import compiled

    compiled.prefer()
