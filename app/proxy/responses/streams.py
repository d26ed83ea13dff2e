"""Whether a streamed answer ended well, and how many tokens it took.

Rule: a status of 200 says nothing about a stream. It ended well if the transfer ended cleanly, no
event said of a failure, and the last event its protocol promises has come. A text that speaks of
errors is no failure: only an event's type, or a top-level key of its JSON, is.
"""

import re
from typing import Final

import orjson

from app.domain.evidence.observed import Flaw
from app.domain.evidence.tally import Counter
from app.proxy.responses.protocols import CHAT, Ending
from app.proxy.responses.reading import NOTHING, Follower, Reading, Usage
from app.proxy.responses.sse import EVENT_ENDS, LINE_ENDS, EventCutter, events
from app.proxy.responses.usage import Usages

_ERROR: Final = b"error"
# Bytes of a stream that are looked at together.
_AT_ONCE: Final = 16 * 1024
_FAILED: Final = frozenset((b"error", b"response.failed"))
# The beginning of an event too long to be parsed still tells its type.
_TYPE: Final = re.compile(rb'\{\s*"type"\s*:\s*"([a-z._]+)"')


class StreamJudge(Follower):  # ADR 0055
    """Follows one stream, only looking closer where a failure or an end may be.

    Nobody asks before the end, so pieces are put aside and looked at many at once.
    """

    __slots__ = ("_aside", "_aside_bytes", "_cutter", "_ended", "_ending", "_failed", "_hint", "_takes_lines")

    def __init__(self, ending: Ending | None, *, in_lines: bool, takes_lines: bool = False) -> None:
        """Begin to follow.

        Args:
            ending: The last event that is promised, or None.
            in_lines: Whether the stream is lines of JSON, no events.
            takes_lines: Whether a bare line of JSON between events says of a failure too, as Triton's do.
        """
        self._cutter = EventCutter(LINE_ENDS if in_lines else EVENT_ENDS)
        self._ending = ending
        # Without an end to wait for, failures are all there is to look for.
        self._hint = _ERROR if ending is None else ending.hint
        self._takes_lines = in_lines or takes_lines
        self._failed = False
        self._ended = ending is None
        self._aside: list[bytes] = []
        self._aside_bytes = 0

    def feed(self, payload: bytes) -> None:
        self._aside.append(payload)
        self._aside_bytes += len(payload)
        if self._aside_bytes > _AT_ONCE:
            self._catch_up()

    def _catch_up(self) -> None:
        """Look at all that was put aside."""
        payload = b"".join(self._aside)
        self._aside.clear()
        self._aside_bytes = 0
        self._take(self._cutter.cut(payload))

    def _take(self, whole: bytes) -> None:
        """Whole events."""
        # `in` makes and drops an exception for every needle that is no single byte.
        if whole.find(_ERROR) >= 0 or whole.find(self._hint) >= 0:
            self._look(whole)

    def ended_well(self, *, clean_end: bool) -> bool:
        self._finish()
        return clean_end and self._ended and not self._failed

    def read(self, *, clean_end: bool) -> Reading:  # noqa: ARG002 -- one shape for all followers
        return NOTHING

    def _finish(self) -> bytes:
        """Look at an event that lacks its end, as last events often do; its bytes."""
        self._catch_up()
        rest = self._cutter.rest()
        if rest:
            self._look(rest)
        return rest

    def _look(self, whole: bytes) -> None:
        """Look at whole events, one of which may say of a failure or of the end."""
        if self._failed:
            return
        if self._takes_lines:
            for line in whole.split(b"\n"):
                if line.startswith(b"{"):
                    self._look_at_data(line)
        for kind, data in events(whole):
            self._hear(kind)
            if self._ending is not None and data == self._ending.data:
                self._ended = True
            elif _ERROR in data or self._hint in data:
                self._look_at_data(data)

    def _hear(self, kind: bytes) -> None:
        """Take an event's type."""
        if kind in _FAILED:
            self._failed = True
        elif self._ending is not None and kind in self._ending.types:
            self._ended = True

    def _look_at_data(self, data: bytes) -> None:
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            match = _TYPE.match(data)
            self._hear(match[1] if match else b"")
            return
        if not isinstance(document, dict):
            return
        kind = document.get("type")
        self._hear(kind.encode(errors="replace") if isinstance(kind, str) else b"")
        if is_failure(document):
            self._failed = True


class ObservedStream(StreamJudge):
    """Follows one stream and its token usage."""

    __slots__ = ("_is_chat", "_usages")

    def __init__(self, ending: Ending, *, in_lines: bool) -> None:
        super().__init__(ending, in_lines=in_lines)
        self._usages = Usages(ending.delta)
        self._is_chat = ending is CHAT

    def _take(self, whole: bytes) -> None:
        super()._take(whole)
        self._usages.note(whole)

    def ended_well(self, *, clean_end: bool) -> bool:
        self._usages.note(self._finish())
        return super().ended_well(clean_end=clean_end)

    def read(self, *, clean_end: bool) -> Reading:
        """Its usage as it said itself; as counted by its events where it broke off before or never says."""
        self._usages.note(self._finish())
        usage = self._usages.usage(clean_end=clean_end)
        withheld = self._withheld(usage) if clean_end else None
        if usage is None:
            return Reading({Counter.INVALID: 1}, withheld=withheld) if clean_end else NOTHING
        return Reading({Counter.READ: 1, **tokens(usage)}, usage=usage, withheld=withheld)

    def _withheld(self, usage: Usage | None) -> Flaw | None:
        if self._usages.is_refused:
            return Flaw.REFUSED
        # Tokens that were thoughts alone, or brought no text, are no answer, as in a whole one.
        if self._is_chat and not self._usages.says_something:
            return Flaw.EMPTY
        return None if usage is not None and usage.completion else Flaw.EMPTY


def is_failure(document: dict[str, object]) -> bool:
    """Whether a JSON object that came with a 200 says that the model failed.

    An `error` that is a number is taken for something a model computed.
    """
    error = document.get("error")
    if error is True or (isinstance(error, str | dict | list) and error):
        return True
    return document.get("type") == "error" or document.get("object") == "error"


def tokens(usage: Usage) -> dict[Counter, int]:
    """What an answer's usage adds to its version's counters."""
    counts = {Counter.PROMPT_TOKENS: usage.prompt, Counter.COMPLETION_TOKENS: usage.completion}
    if usage.is_estimated:
        counts[Counter.USAGE_ESTIMATED] = 1
    return counts
