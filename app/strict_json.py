"""JSON as RFC 8259 and I-JSON mean it: no NaN, no duplicate member, no lone surrogate, and never a guess."""

import json

import orjson

from app.errors import InvalidInput


def strict_loads(document: bytes, called: str = "body") -> object:
    """Parse one JSON document.

    Args:
        document: All of it.
        called: What it is, for whoever reads why it was refused; what it says is not repeated.

    Raises: InvalidInput.
    """
    try:
        # orjson refuses NaN, lone surrogates, bad UTF-8 and deep nesting, but not duplicates.
        orjson.loads(document)
        return json.loads(document, object_pairs_hook=_unique_members)
    except orjson.JSONDecodeError as bad:
        line = f"line {bad.lineno}, " if bad.lineno > 1 else ""
        raise InvalidInput("", f"the {called} is not strict JSON at {line}column {bad.colno}") from None
    except _Twice:
        raise InvalidInput("", f"the {called} has a member twice") from None
    except (ValueError, RecursionError):
        raise InvalidInput("", f"the {called} is not strict JSON") from None


class _Twice(Exception):
    """An object has two members of one name."""


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Twice
    return members
