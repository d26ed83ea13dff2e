"""Request heads that differ in their ids only: read once, like those that do not differ at all.

Rule: what is cut out of a head is checked each time by the rules it always has; what is left was accepted
before as a head of its own, by llhttp and by this side.
"""

from typing import Final

from app.proxy import trace_context
from app.proxy.framing import CRLF, MAX_REMEMBERED, MAX_REMEMBERED_HEAD, MAX_REQUEST_ID, TOKEN
from app.proxy.limits import Limits
from app.proxy.request_head import Refused, RequestHead

_REQUEST_ID: Final = b"x-request-id: "
_TRACE: Final = b"traceparent: "
# Spellings of a field's name; callers have few.
_MAX_SPELLINGS: Final = 4


class Alike:
    """One head, taken apart.

    Attributes:
        request: What it says beside its ids.
        request_id: Checked token characters; empty where it has none.
        trace: The `traceparent` field line with its end; empty where it has none.
    """

    __slots__ = ("request", "request_id", "trace")

    def __init__(self, request: RequestHead, request_id: bytes, trace: bytes) -> None:
        self.request = request
        self.request_id = request_id
        self.trace = trace


class AlikeHeads:
    """Heads seen at least twice but for their ids."""

    __slots__ = ("_ids", "_known", "_limits", "_once", "_traces")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[bytes, RequestHead] = {}
        self._once: set[int] = set()
        # Where the lines begin, in each spelling seen.
        self._ids: list[bytes] = []
        self._traces: list[bytes] = []

    def find(self, head: bytes) -> Alike | None:
        """This head without its ids, if that was read before; None also where an id is not plainly one."""
        rest, request_id = _cut(head, self._ids)
        rest, trace = _cut(rest, self._traces)
        request = self._known.get(rest)
        if request is None or len(request_id) > MAX_REQUEST_ID or request_id.translate(None, TOKEN):
            return None
        if not trace:
            return Alike(request, request_id, b"")
        return Alike(request, request_id, _TRACE + trace + CRLF) if trace_context.is_valid(trace) else None

    def offer(self, head: bytes, request: RequestHead) -> None:
        """Keep an accepted head without its ids, when the rest came before."""
        if len(head) > MAX_REMEMBERED_HEAD or not (request.request_id or request.has_trace):
            return
        if request.request_id:
            _learn(head, _REQUEST_ID, self._ids)
        if request.has_trace:
            _learn(head, _TRACE, self._traces)
        rest, _ = _cut(head, self._ids)
        rest, _ = _cut(rest, self._traces)
        name = hash(rest)
        if name not in self._once:
            if len(self._once) >= MAX_REMEMBERED:
                self._once.clear()
            self._once.add(name)
            return
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._keep(rest)

    def _keep(self, rest: bytes) -> None:
        try:
            alone = RequestHead(rest, self._limits)
        except Refused:
            return
        # With a second id, or a field that speaks of other fields, the parts would not mean what the whole does.
        if alone.is_plain:
            self._known[rest] = alone


def _cut(head: bytes, starts: list[bytes]) -> tuple[bytes, bytes]:
    """The head without the first line that begins so, and that line's value."""
    for start in starts:
        at = head.find(start)
        if at >= 0:
            begin = at + len(start)
            end = head.find(CRLF, begin)
            return (head[:at] + head[end:], head[begin:end]) if end >= 0 else (head[:at], head[begin:])
    return head, b""


def _learn(head: bytes, name: bytes, starts: list[bytes]) -> None:
    """Note how this head spells a field's name."""
    at = head.lower().find(CRLF + name)
    if at >= 0 and len(starts) < _MAX_SPELLINGS:
        start = head[at : at + len(CRLF) + len(name)]
        if start not in starts:
            starts.append(start)
