"""What an exchange holds of the version that serves it, and what it can still send there.

Rule: a second attempt is made only where the first cannot have been answered, and within the retry budget; what
nothing reached may be sent elsewhere, what was read may not.
"""

from app.proxy.exchange.forwarded_request import ForwardedRequest
from app.proxy.http1.framing import CRLF
from app.proxy.upstream.connection import UpstreamConnection
from app.proxy.upstream.connection_port import Answered, Carrier
from app.proxy.upstream.endpoint import Upstream
from app.proxy.upstream.pool import Pool

_NOWHERE, _PLACED, _SENT = range(3)


class Attempt:
    """A place in a bulkhead, one of its upstreams, a connection to that; and the request while it can be repeated.

    Attributes:
        pool: The version's.
        upstream: The one that was chosen; None when none is held.
        connection: The one that carries it; None when none is held.
        held: The line end before the body, and all body bytes read so far; None when they can be sent no more.
    """

    __slots__ = ("_progress", "_request", "_retried", "connection", "held", "pool", "upstream")

    def __init__(self, request: ForwardedRequest, pool: Pool, tail: bytes) -> None:
        """Nothing is held of the version yet, and all of the request.

        Args:
            request: All of it but its body.
            pool: The version's.
            tail: The line end before the body, and body bytes as they go on the wire.
        """
        self._request = request
        self._progress = _NOWHERE
        self._retried = False
        self.pool = pool
        self.held: bytes | None = tail
        self.upstream: Upstream | None = None
        self.connection: Carrier | None = None

    # ------------------------------------------------------------------ the bulkhead

    def take_place(self, pool: Pool) -> bool:
        """Take a place at a version; False when it has none."""
        self.pool = pool
        if pool.in_flight >= pool.concurrency:
            return False
        pool.in_flight += 1
        self._progress = _PLACED
        return True

    def be_placed(self) -> None:
        """The bulkhead gave a place to one that waited."""
        self._progress = _PLACED

    def let_go(self) -> None:
        """Give back what is held: the connection, the upstream, the place in the bulkhead."""
        if self.connection is not None:
            self.drop_connection()
        upstream = self.upstream
        if upstream is not None:
            self.upstream = None
            upstream.in_flight -= 1
        if self._progress:
            self._progress = _NOWHERE
            self.pool.leave()

    def drop_connection(self) -> None:
        connection = self.connection
        self.connection = None
        if connection is not None:
            connection.drop()

    # ------------------------------------------------------------------ sending

    @property
    def was_sent(self) -> bool:
        """Whether an upstream may have read some of it."""
        return self._progress == _SENT

    def send_to(self, upstream: Upstream, exchange: Answered) -> bool:
        """Send over an idle connection, or open one; whether it was sent."""
        self.upstream = upstream
        upstream.in_flight += 1
        if not upstream.idle:
            self.connect(upstream, exchange)
            return False
        connection = self.connection = upstream.idle.pop()
        held = self.held
        connection.send(exchange, self._request.payload(self.pool, upstream, CRLF if held is None else held))
        self._progress = _SENT
        if held is not None and len(held) > upstream.limits.held_bytes:
            self.held = None
        return True

    def connect(self, upstream: Upstream, exchange: Answered) -> None:
        """Open a connection; the exchange hears of it."""
        connection = self.connection = UpstreamConnection(upstream)
        connection.open_for(exchange)

    def send(self, connection: Carrier, upstream: Upstream) -> None:
        """Send over the connection that was opened."""
        held = self.held
        payload = self._request.payload(self.pool, upstream, CRLF if held is None else held)
        self._progress = _SENT
        if held is not None and len(held) > upstream.limits.held_bytes:
            self.held = None
        # Last, because a full upstream holds the client back again at once.
        connection.write(payload)

    def keep(self, data: bytes, most: int) -> bool:
        """More body bytes, kept while all can be sent again; whether these are more than `most`."""
        held = self.held
        if held is None:
            return False
        self.held = held = held + data
        return len(held) > most

    def write(self, data: bytes) -> None:
        """More body bytes, after those that were sent."""
        if self.connection is not None:
            self.connection.write(data)

    # ------------------------------------------------------------------ once more

    def may_repeat(self) -> bool:  # ADR 0013
        """Whether a connection that was closing may be replaced; if so, the budget has paid for it."""
        return self.held is not None and self.pool.budget.take()

    def may_go_elsewhere(self, now: float) -> bool:
        """Whether another upstream of the version may be asked, once; if so, the budget has paid for it."""
        upstream = self.upstream
        if self._retried or upstream is None or not self.pool.has_another(upstream, now):
            return False
        if not self.pool.budget.take():
            return False
        self._retried = True
        return True

    def leave_upstream(self, upstream: Upstream, now: float) -> Upstream:
        """Give up an upstream that could not be reached; another one to ask."""
        upstream.failed(now)
        upstream.in_flight -= 1
        self.drop_connection()
        return self.pool.choose(now, apart_from=upstream)
