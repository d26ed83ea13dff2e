"""A policy or a declaration in a file, as YAML or JSON, the way the admin API takes it.

Rule: the gateway judges the fields; only a file that is not a document at all is refused here.
"""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from app.cli.output import Refused
from app.cli.verbs import ExitCode
from app.terminal.text import Document, plain

# Most fit in a few hundred bytes; the API takes no more than this unless it is set to.
BYTES_MAX = 65_536


class _UniqueKeys(yaml.SafeLoader):
    """Reads plain values only, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"{', '.join(sorted(twice))} is there twice")
        return super().construct_mapping(node, deep)


def read_policy(path: Path) -> Document:
    """The policy's fields. Raises: Refused: no such file, or no YAML or JSON object in it."""
    return read_object(path, "policy")


def read_object(path: Path, what: str, bytes_max: int = BYTES_MAX) -> Document:
    """The fields in a file of at most so many bytes. Raises: Refused: as `read_policy`."""
    try:
        text = path.read_bytes()[: bytes_max + 1].decode()
        # YAML 1.2 takes JSON as it is (section 1.3).
        document = yaml.load(text, _UniqueKeys)  # noqa: S506 -- a SafeLoader
        json.dumps(document, allow_nan=False)
    except OSError as missing:
        raise _refused(path, missing.strerror or "it cannot be read") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError, RecursionError) as wrong:
        raise _refused(path, f"it is neither YAML nor JSON ({wrong})") from None
    if not isinstance(document, dict) or not all(isinstance(name, str) for name in document):
        raise _refused(path, f"it holds no {what}: an object of names and values is wanted")
    return document


def _refused(path: Path, why: str) -> Refused:
    return Refused(ExitCode.USAGE, f"{plain(path)}: {plain(why)}.")
