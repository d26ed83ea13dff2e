"""The collections' cases, read from beside the checkout; they are shared, not committed."""

import base64
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson
import pytest

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = "TURNBACK_TEST_CORPORA"


class Expect(StrEnum):
    """What the collection says about a message."""

    REJECT = "reject"
    EITHER = "either"
    ACCEPT = "accept?"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Case:
    """One message as it goes on the wire."""

    suite: str
    name: str
    expect: Expect
    raw: bytes


def read_cases(file: str) -> list[Case]:
    """Every case of one collection; skips the test where the collections are not there."""
    path = Path(os.environ.get(FOLDER, PROJECT.parent / "shared" / "http-corpora")) / file
    if not path.is_file():
        pytest.skip(f"{file} is neither beside the checkout nor in {FOLDER}")
    entries = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return [
        Case(entry["suite"], entry["id"], Expect(entry["expect"]), base64.b64decode(entry["b64"])) for entry in entries
    ]
