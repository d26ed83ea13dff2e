"""What several guardrails ask of the same evidence is computed once a look.

Rule: only for pure functions of evidence, which never changes: the very same object gives the
very same answer, so remembering it changes nothing but the time.
"""

from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import Concatenate, ParamSpec, TypeVar

_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")
_Evidence = TypeVar("_Evidence")

# One look asks a function a few things; more looks than this are never under way at once.
_ANSWERS = 64


class _TheVerySame:
    """Stands for an object by what it is, not by what it holds."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _TheVerySame) and self.value is other.value


def once_per_evidence(
    function: Callable[Concatenate[_Evidence, _Asked], _Answer],
) -> Callable[Concatenate[_Evidence, _Asked], _Answer]:
    """Remember the last answers of a pure function whose first argument never changes.

    The further arguments must be hashable. Nobody may change an answer.
    """

    @lru_cache(maxsize=_ANSWERS)
    def answer(same: _TheVerySame, *args: Hashable, **kwargs: Hashable) -> _Answer:
        return function(same.value, *args, **kwargs)  # type: ignore[arg-type]

    @wraps(function)
    def asked(evidence: _Evidence, /, *args: _Asked.args, **kwargs: _Asked.kwargs) -> _Answer:
        return answer(_TheVerySame(evidence), *args, **kwargs)  # type: ignore[arg-type]

    return asked
