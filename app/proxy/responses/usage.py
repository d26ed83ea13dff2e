"""Token usage, as an answer says it itself or as the events of a stream let it be estimated."""

import re
from collections.abc import Mapping
from typing import Final

import orjson

from app.proxy.responses.reading import Usage

MAX_TOKENS: Final = 1 << 31
_KEY: Final = b'"usage"'
_NULL: Final = b"null"
# Where usage stands: beside the answer, in Anthropic's message_start, in OpenAI's response.completed.
_HOLDERS: Final = ("message", "response")
_PROMPT: Final = ("prompt_tokens", "input_tokens")
_COMPLETION: Final = ("completion_tokens", "output_tokens")
# Bytes of which one is in every event that says of a refusal, and in few others; quotes in a text are escaped.
_REFUSAL_HINTS: Final = (b'content_filter"', b"refusal")
_REFUSAL: Final = re.compile(
    rb'"(?:finish_reason|stop_reason|reason)"\s*:\s*"(?:content_filter|refusal)"'
    rb'|"refusal"\s*:\s*"[^"]|"type"\s*:\s*"(?:response\.)?refusal'
)
# A chat's text, and what else is an answer; quotes in a text are escaped.
_CONTENT: Final = b'"content"'
_OTHER_ANSWERS: Final = (b'"tool_calls"', b'"function_call"', b'"audio"', b'"refusal"')
_NO_TEXT: Final = (b'"content":""', b'"content": ""', b'"content":null', b'"content": null')


class Usages:
    """Keeps of a stream's events what its usage can be told from: two lines and a count.

    Attributes:
        is_refused: Whether an event said that the answer was refused or filtered.
        says_something: Whether an event brought what is an answer in a chat, as far as its bytes tell.
    """

    __slots__ = ("_delta", "_deltas", "_first", "_is_opening", "_last", "is_refused", "says_something")

    def __init__(self, delta: bytes) -> None:
        """Count events by the bytes that are once in each that brings a piece of the answer."""
        self._delta = delta
        self._deltas = 0
        self._is_opening = True
        self.is_refused = False
        self.says_something = False
        self._first = b""
        self._last = b""

    def note(self, whole: bytes) -> None:
        """Take whole events; mostly one."""
        deltas = whole.count(self._delta)
        if deltas and self._is_opening:
            self._is_opening = False
            start, end = _line_at(whole, whole.find(self._delta))
            deltas -= _says_only_who_speaks(whole[start:end])
        self._deltas += deltas
        if whole.find(_REFUSAL_HINTS[0]) >= 0 or whole.find(_REFUSAL_HINTS[1]) >= 0:
            self.is_refused = self.is_refused or _REFUSAL.search(whole) is not None
        self.says_something = self.says_something or _says_something(whole)
        position = whole.find(_KEY)
        while position >= 0:
            position = whole.find(_KEY, self._keep(whole, position))

    def _keep(self, whole: bytes, position: int) -> int:
        """Keep the line a usage stands in, to be parsed when nobody waits for it; where the next may stand."""
        behind = position + len(_KEY)
        if whole[behind : behind + 8].lstrip(b": ").startswith(_NULL):
            return behind
        start, end = _line_at(whole, position)
        if self._first:
            self._last = whole[start:end]
        else:
            self._first = whole[start:end]
        return end

    def usage(self, *, clean_end: bool) -> Usage | None:
        """The last counts the stream said; estimated from its events where it said none, None without any."""
        said = {**_counts_of_line(self._first), **_counts_of_line(self._last)}
        completion = said.get("completion")
        if clean_end and completion is not None:
            return Usage(said.get("prompt", 0), completion)
        # A whole answer's last event says only why it ended.
        counted = self._deltas - 1 if clean_end else self._deltas
        if completion is not None and completion >= counted:
            return Usage(said.get("prompt", 0), completion)
        return Usage(said.get("prompt", 0), max(counted, 0), is_estimated=True) if self._deltas else None


def usage_in(document: Mapping[str, object]) -> Usage | None:
    """The usage a whole answer says, None when it says none."""
    said = _counts(document)
    return Usage(said.get("prompt", 0), said.get("completion", 0)) if said else None


def _line_at(whole: bytes, position: int) -> tuple[int, int]:
    """Where the line around a position starts and ends."""
    end = whole.find(b"\n", position)
    return whole.rfind(b"\n", 0, position) + 1, end if end >= 0 else len(whole)


def _says_something(whole: bytes) -> bool:
    """Whether events hold a text that is not empty, or another answer; in doubt they do."""
    return whole.count(_CONTENT) > sum(map(whole.count, _NO_TEXT)) or any(map(whole.__contains__, _OTHER_ANSWERS))


def _says_only_who_speaks(line: bytes) -> bool:
    """Whether a chat's first event has a role and no text."""
    return b'"role"' in line and (b'"content"' not in line or any(none in line for none in _NO_TEXT))


def _counts_of_line(line: bytes) -> dict[str, int]:
    if not line:
        return {}
    try:
        document = orjson.loads(line.removeprefix(b"data:"))
    except orjson.JSONDecodeError:
        return {}
    return _counts(document) if isinstance(document, dict) else {}


def _counts(document: Mapping[str, object]) -> dict[str, int]:
    """Those of `prompt` and `completion` that an answer or an event says."""
    usage = document.get("usage")
    if usage is None:
        held = (document.get(holder) for holder in _HOLDERS)
        usage = next((holder.get("usage") for holder in held if isinstance(holder, dict)), None)
    if not isinstance(usage, dict):
        return {}
    said = (("prompt", _tokens(usage, _PROMPT)), ("completion", _tokens(usage, _COMPLETION)))
    return {name: count for name, count in said if count is not None}


def _tokens(usage: Mapping[str, object], names: tuple[str, ...]) -> int | None:
    counts = (usage.get(name) for name in names)
    return next((count for count in counts if type(count) is int and 0 <= count < MAX_TOKENS), None)
