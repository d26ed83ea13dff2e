"""Every way to say no is documented."""

from pathlib import Path

import pytest

from app.errors import TurnbackError
from app.proxy.http1 import problems as proxy_problems
from app.web.problems import HTTP_CODES

PAGE = (Path(__file__).parents[2] / "docs" / "problems.md").read_text("utf-8")


def every_error(root: type[TurnbackError] = TurnbackError) -> set[str]:
    return {name for child in root.__subclasses__() for name in {child.__name__} | every_error(child)}


CODES = (
    every_error()
    | set(HTTP_CODES.values())
    | {value.code for value in vars(proxy_problems).values() if isinstance(value, proxy_problems.Problem)}
)


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_problem_is_documented(code: str) -> None:
    assert f"### {code}\n" in PAGE


def test_no_documented_problem_is_missing() -> None:
    assert {line[4:] for line in PAGE.splitlines() if line.startswith("### ")} == CODES
