"""Asking one function many questions, those that it refuses included."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from app.errors import InvalidInput


def asked(function: Callable[..., Any], *questions: Sequence[Any]) -> list[Any]:
    """The answer to each list of arguments; a refusal by its words."""
    answers = []
    for arguments in questions:
        try:
            answer = function(*arguments)
            answers.append(list(answer) if isinstance(answer, Iterator) else answer)
        except (ValueError, InvalidInput) as refused:
            answers.append(f"{type(refused).__name__}: {refused} {getattr(refused, 'field', '')}".strip())
    return answers
