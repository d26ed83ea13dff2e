"""What is wrong with a language model's whole answer though it says 200: nothing in it, or a refusal.

Rule: a call of a tool is an answer, thoughts alone are none; what is of no known form is left alone.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from app.domain.evidence.observed import Flaw

_Object = Mapping[str, object]
# Tuples, because what is looked for in them may be anything that JSON holds.
_THOUGHTS: Final = ("reasoning", "thinking", "redacted_thinking")
_REFUSED_FOR: Final = ("content_filter", "refusal")
# Parts of a chat's message beside its text that are an answer.
_ANSWERS: Final = ("tool_calls", "function_call", "audio")


def withheld_in(answer: _Object) -> Flaw | None:
    """Whether an answer in the form of OpenAI's or Anthropic's APIs is empty or refused; None when neither."""
    for name, read in _FORMS:
        parts = answer.get(name)
        if isinstance(parts, list):
            objects = [part for part in parts if isinstance(part, dict)]
            if _is_refused(answer) or any(map(_is_refused, _pieces(objects))):
                return Flaw.REFUSED
            return None if any(map(read, objects)) else Flaw.EMPTY
    return None


def _is_refused(part: _Object) -> bool:
    """Whether an answer, or a piece of it, says so itself."""
    reasons = (part.get("finish_reason"), part.get("stop_reason"), _within(part, "incomplete_details").get("reason"))
    return bool(part.get("refusal")) or any(reason in _REFUSED_FOR for reason in reasons)


def _pieces(parts: Iterable[_Object]) -> Iterable[_Object]:
    """The parts, with each choice's message and each output's blocks."""
    for part in parts:
        yield part
        yield _within(part, "message")
        content = part.get("content")
        if isinstance(content, list):
            yield from (block for block in content if isinstance(block, dict))


def _within(part: _Object, name: str) -> _Object:
    value = part.get(name)
    return value if isinstance(value, dict) else {}


def _choice_answers(choice: _Object) -> bool:
    message = _within(choice, "message")
    if choice.get("text") or any(message.get(name) for name in _ANSWERS):
        return True
    return _says_something(message.get("content"))


def _output_answers(output: _Object) -> bool:
    if output.get("type", "message") != "message":
        return output["type"] not in _THOUGHTS
    return _says_something(output.get("content"))


def _block_answers(block: _Object) -> bool:
    return bool(block.get("text")) if "text" in block else block.get("type") not in _THOUGHTS


def _says_something(content: object) -> bool:
    """Whether a text, or a list of blocks, holds an answer."""
    if isinstance(content, list):
        return any(not isinstance(block, dict) or _block_answers(block) for block in content)
    return bool(content)


def _always(_embedding: _Object) -> bool:
    return True


# Where the parts of an answer stand, and how to tell that one is no empty one.
_FORMS: Final[tuple[tuple[str, Callable[[_Object], bool]], ...]] = (
    ("choices", _choice_answers),
    ("output", _output_answers),
    ("content", _block_answers),
    ("data", _always),
)
