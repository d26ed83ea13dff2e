"""Request heads that differ in their ids only: read once, like those that do not differ at all.

Rule: what is cut out of a head is checked each time by the rules it always has; what is left was accepted
before as a head of its own, by llhttp and by this side.
"""

from typing import Final

from app.proxy.bounds.limits import Limits
from app.proxy.http1 import trace_context
from app.proxy.http1.framing import CRLF, HEAD_END, MAX_REQUEST_ID, REQUEST_ID, TOKEN
from app.proxy.http1.head_cache import MAX_REMEMBERED_HEAD, HeadCache
from app.proxy.http1.request_head import Refused, RequestHead

_TRACE: Final = b"traceparent: "
# Spellings of a field's name; callers have few.
_MAX_SPELLINGS: Final = 4


class Alike:
    """One head, taken apart.

    Attributes:
        request: What it says beside its ids.
        request_id: Checked token characters; empty where it has none.
        trace: The `traceparent` field line with its end; empty where it has none.
        id_at: Where the request id stands in the head; -1 where that was not cut out.
    """

    __slots__ = ("id_at", "request", "request_id", "trace")

    def __init__(self, request: RequestHead, request_id: bytes, trace: bytes, id_at: int = -1) -> None:
        self.request = request
        self.request_id = request_id
        self.trace = trace
        self.id_at = id_at


class Habit:  # ADR 0118
    """The head that came last over one connection, for the next that is the same but for its request id.

    It is recognised by comparing, without a hash and without being taken apart.

    Attributes:
        tail_at: Where the line end before the body stands in what was recognised.
    """

    __slots__ = ("_alike", "_back", "_front", "_last", "tail_at")

    def __init__(self) -> None:
        self._front = self._back = b""
        self._alike: Alike | None = None
        self._last: RequestHead | None = None
        self.tail_at = 0

    def recognised(self, data: bytes) -> Alike | None:
        """The head these bytes begin with, if it is the known one and all the rest is its body."""
        alike = self._alike
        if alike is None or not data.startswith(self._front):
            return None
        at = len(self._front)
        if self._back:
            end = data.find(CRLF, at, at + MAX_REQUEST_ID + len(CRLF))
            if end < 0 or not data.startswith(self._back, end):
                return None
            alike.request_id = data[at:end]
            if alike.request_id.translate(None, TOKEN):
                return None
            at = end + len(self._back)
        if alike.request.length != len(data) - at:
            return None
        self.tail_at = at - len(CRLF)
        return alike

    def note(self, head: bytes, request: RequestHead, ids: Alike | None = None) -> None:
        """A head that was read before; kept when it comes twice in a row.

        Args:
            head: Without its final blank line.
            request: What it says, the same object each time.
            ids: What was cut out of it; None where it was known as it is.
        """
        if request is not self._last:
            self._last = request
            return
        whole = head + HEAD_END
        if ids is None:
            self._front, self._back = whole, b""
            self._alike = Alike(request, request.request_id, b"")
        elif not ids.trace:
            at = ids.id_at
            self._front, self._back = (whole, b"") if at < 0 else (whole[:at], whole[at + len(ids.request_id) :])
            self._alike = ids


class RequestHeads:  # ADR 0076
    """Heads seen at least twice, as they were or but for their ids.

    Attributes:
        known: Those that came as they were.
    """

    __slots__ = ("_ids", "_limits", "_rests", "_traces", "_whole", "known")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._whole: HeadCache[RequestHead] = HeadCache()
        self._rests: HeadCache[RequestHead] = HeadCache()
        self.known = self._whole.known
        # Where the lines begin, in each spelling seen.
        self._ids: list[bytes] = []
        self._traces: list[bytes] = []

    def find_alike(self, head: bytes) -> Alike | None:
        """This head without its ids, if that was read before; None also where an id is not plainly one."""
        if not self._rests.known:
            return None
        rest, request_id, id_at = _cut(head, self._ids)
        rest, trace, _ = _cut(rest, self._traces)
        request = self._rests.known.get(rest)
        if request is None or len(request_id) > MAX_REQUEST_ID or request_id.translate(None, TOKEN):
            return None
        if not trace:
            return Alike(request, request_id, b"", id_at)
        return Alike(request, request_id, _TRACE + trace + CRLF, id_at) if trace_context.is_valid(trace) else None

    def offer(self, head: bytes, says: RequestHead) -> None:
        """Keep an accepted head when it came before, and one without its ids when the rest did."""
        self._whole.offer(head, says)
        if len(head) <= MAX_REMEMBERED_HEAD and (says.request_id or says.has_trace):
            self._offer_rest(head, says)

    def _offer_rest(self, head: bytes, request: RequestHead) -> None:
        rest = _without(head, REQUEST_ID, self._ids) if request.request_id else head
        if request.has_trace:
            rest = _without(rest, _TRACE, self._traces)
        if self._rests.came_before(rest):
            self._keep(rest)

    def _keep(self, rest: bytes) -> None:
        try:
            alone = RequestHead(rest, self._limits)
        except Refused:
            return
        # With a second id, or a field that speaks of other fields, the parts would not mean what the whole does.
        if alone.is_plain:
            self._rests.keep(rest, alone)


def _cut(head: bytes, starts: list[bytes]) -> tuple[bytes, bytes, int]:
    """The head without the first line that begins so, that line's value, and where this stood, else -1."""
    for start in starts:
        at = head.find(start)
        if at >= 0:
            begin = at + len(start)
            end = head.find(CRLF, begin)
            return (head[:at] + head[end:], head[begin:end], begin) if end >= 0 else (head[:at], head[begin:], begin)
    return head, b"", -1


def _without(head: bytes, name: bytes, starts: list[bytes]) -> bytes:
    """The head without the first line of this name; a new spelling is noted, at the cost of the oldest."""
    rest = _cut(head, starts)[0]
    if rest is not head:
        return rest
    at = head.lower().find(CRLF + name)
    if at >= 0:
        if len(starts) >= _MAX_SPELLINGS:
            del starts[0]
        starts.append(head[at : at + len(CRLF) + len(name)])
    return _cut(head, starts)[0]
