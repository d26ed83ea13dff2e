"""What is copied of one exchange for those who look at it when nobody waits: a note, a pair, a body that is read.

Rule: made only for exchanges that somebody looks at, or whose end only their body tells.
"""

from app.proxy.exchange.context import ExchangeContext
from app.proxy.exchange.forwarded_request import ForwardedRequest
from app.proxy.exchange.mirror import Primary
from app.proxy.http1.framing import CRLF
from app.proxy.http1.response_head import NO_BODY, ResponseHead
from app.proxy.observing.note import Note
from app.proxy.responses.reading import Follower
from app.proxy.routing.arm import ServingArm
from app.recording.accounting import Accounting
from app.recording.tally_row import UPSTREAM_ERROR

_START = len(CRLF)


class Witness:
    """Of one exchange.

    Attributes:
        note: For the observer, or None.
        primary: For the mirror, or None.
    """

    __slots__ = ("_context", "_follower", "_request", "note", "primary")

    def __init__(self, context: ExchangeContext, request: ForwardedRequest) -> None:
        self._context = context
        self._request = request
        # Hears the answer's body.
        self._follower: Follower | None = None
        self.note: Note | None = None
        self.primary: Primary | None = None

    def take_note(self, arm: ServingArm, accounting: Accounting) -> None:
        """The observer will want to know of it; `arm` serves from now on."""
        request = self._request
        route = request.target.route
        share = route.watched.sample_share
        self.note = Note(
            route.watched,
            arm,
            request.head,
            request.request_id,
            accounting.second,
            accounting.generation,
            is_stable=arm is route.stable,
            sampled=share >= 1.0 or self._context.coin() < share,
            is_inference=request.target.reader.is_inference,
        )

    def begin(self, head: ResponseHead, framing: int, tail: bytes, body: bytes | None, latency_s: float) -> None:
        """The answer has begun.

        Args:
            head: What it says.
            framing: How its body ends.
            tail: The line end before its body, and body bytes.
            body: The same of the request, or None when not all of it is held.
            latency_s: From the draw until now.
        """
        reader = self._request.target.reader
        primary, note = self.primary, self.note
        if primary is not None:
            primary.begin(head, latency_s, body, reader.tap(head))
            primary.feed(tail[_START:])
        if note is not None:
            note.exchange = self._request.exchange_id
            note.status = head.status
            note.size = len(tail) - _START
            self._keep(note, body)
        if framing != NO_BODY:
            follower = self._follower = reader.follow(head, sampled=note is not None and note.reads)
            if follower is not None:
                follower.feed(tail[_START:])

    def hear(self, payload: bytes) -> None:
        """Bytes of the answer's body, behind those that came with its head."""
        if self._follower is not None:
            self._follower.feed(payload)
        if self.primary is not None:
            self.primary.feed(payload)
        if self.note is not None:
            self.note.size += len(payload)

    def judged(self, outcome: int) -> int:
        """How an answer that came whole has ended: as its status says, or worse."""
        if self._follower is not None and not self._follower.ended_well(clean_end=True):
            return UPSTREAM_ERROR
        return outcome

    def end(self, outcome: int, now: float, accounting: Accounting) -> None:
        """This is about to be counted, if anything is."""
        if self.note is not None and accounting.is_evidence:
            self.note.outcome = outcome
            self.note.seconds = now - accounting.drawn

    def end_early(self, body: bytes | None) -> None:
        """The answer did not come, or broke off; `body` is the request's as in `begin`."""
        note = self.note
        if note is not None and not note.status:
            self._keep(note, body)

    def pass_on(self, *, clean_end: bool) -> None:
        """Hand what was copied to those who look at it later."""
        follower, self._follower = self._follower, None
        note, self.note = self.note, None
        if not clean_end and follower is None and note is None:
            return
        if note is not None:
            note.follower = follower if note.reads else None
            note.clean_end = clean_end
            self._context.observer.later(note)
        primary, self.primary = self.primary, None
        if primary is not None and clean_end:
            self._context.mirror_later(self._request, primary)

    def _keep(self, note: Note, body: bytes | None) -> None:
        """Keep the request's body while it is there, where something in it is looked for."""
        if note.reads and note.plan.reads_requests:
            note.body = None if body is None else self._context.room.kept(body)
