"""Runs a verb in the test's own process and keeps what it left behind."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from app.cli import program


@dataclass(frozen=True)
class Ran:
    """The traces of one command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:  # noqa: ANN401 -- a document
        """The one JSON document that stdout must be."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """Runs verbs in this process, as `turnback` does in its own."""

    capture: pytest.CaptureFixture[str]
    url: str

    def __call__(self, *words: str) -> Ran:
        self.capture.readouterr()
        code = program.run(list(words))
        said = self.capture.readouterr()
        return Ran(int(code), said.out, said.err)
