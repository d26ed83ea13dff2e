"""The uvicorn HTTP protocol class of the inference port: bytes in, exchanges out, own paths to FastAPI.

Rule: an inference exchange touches no ASGI scope, task or timer (ADR 0010).
"""

from app.proxy.downstream.connection import EXCHANGING, StrictConnection
from app.proxy.downstream.own_paths import FEEDBACK_PATH, OWN_PREFIX, Uvicorn
from app.proxy.downstream.port import Port
from app.proxy.downstream.whole_body import NamedInBody, ServerOptions, is_named_in_body
from app.proxy.exchange.context import ExchangeContext
from app.proxy.exchange.exchange import Exchange
from app.proxy.exchange.forwarded_request import ForwardedRequest
from app.proxy.http1 import problems
from app.proxy.http1.framing import CRLF
from app.proxy.http1.request_head import RequestHead, malformed
from app.proxy.http1.request_heads import Alike
from app.proxy.routing.table import BadTarget, NoRoute, Target


class ClientConnection(StrictConnection):
    """One connection to the inference port."""

    __slots__ = ("_context", "_forwarded", "_forwarded_of")

    def __init__(self, port: Port, context: ExchangeContext, uvicorn: Uvicorn) -> None:
        super().__init__(port, uvicorn)
        self._context = context
        # What upstreams are told of where requests with this head came from.
        self._forwarded_of: RequestHead | None = None
        self._forwarded = b""

    # ------------------------------------------------------------------ heads

    def _serve_alike(self, head: bytes, tail: bytes, started: float) -> bool:
        """Serve a request whose head was read before but for its ids; whether this is one, with its whole body."""
        alike = self._port.heads.find_alike(head)
        if alike is None or alike.request.length != len(tail) - len(CRLF):
            return False
        request = alike.request
        table = self._context.compiled
        target = table.known.get(request.host + request.url if table.hosts_matter else request.url)
        if target is None:
            return False
        self._habit.note(head, request, alike)
        self._serve(request, tail, started, alike, target)
        return True

    def _serve(
        self,
        request: RequestHead,
        tail: bytes,
        started: float,
        ids: Alike | None = None,
        target: Target | None = None,
        span: tuple[int, int] | None = None,
    ) -> None:
        """Begin the exchange that a complete head asks for.

        Args:
            request: The head.
            tail: The line end before the body, and body bytes, decoded.
            started: When its last bytes were read, on the monotonic clock.
            ids: Its own, where they are not in the head.
            target: Where it leads, when its body said so.
            span: Where the body names the model; None when it need not.

        Raises: Refused.
        """
        context = self._context
        if target is None:
            table = context.compiled
            known = table.known.get(request.host + request.url if table.hosts_matter else request.url)
            target = known or self._look_up(request, tail, started)
            if target is None:
                return
        request_id = request.request_id if ids is None else ids.request_id
        if request is not self._forwarded_of:
            self._forwarded_of = request
            self._forwarded = self._origin.forwarded(request.authority, request.relayed)
        forwarded = self._forwarded
        if not request.has_trace:
            forwarded = ((ids.trace if ids is not None else b"") or context.traces.begin()) + forwarded
        if self._body.left:
            self._await_body(request, started)
        if request.length < 0:
            tail = CRLF + self._body.as_chunks(tail[2:])
        self._state = EXCHANGING
        forwarded_request = ForwardedRequest(
            request, target, context.receipts.new_exchange(), request_id, forwarded, span
        )
        close = not request.keep_alive or self._port.draining
        self._exchange = exchange = Exchange(
            context, self, forwarded_request, tail, started, not self._body.left, close
        )
        exchange.start()
        context.tell_overhead(started)

    def _look_up(self, request: RequestHead, tail: bytes, started: float) -> Target | None:
        """Route a path for the first time; None when the request goes another way. Raises: Refused."""
        limits = self._port.limits
        if request.url.startswith(OWN_PREFIX):
            is_feedback = request.url.partition(b"?")[0] == FEEDBACK_PATH
            limit = limits.feedback_body_bytes if is_feedback else limits.own_body_bytes
            self._begin_own(request, limit, tail, started)
            return None
        if request.url == b"*":
            body = self._collected(request, limits.own_body_bytes)
            self._begin_whole(request, ServerOptions(request, body), tail, started)
            return None
        try:
            return self._context.compiled.find(request.url, request.host, request.asked_model)
        except BadTarget:
            raise malformed("the target is not a plain path") from None
        except NoRoute as unrouted:
            if is_named_in_body(request):
                self._begin_named(request, tail, started)
            else:
                self._answer_unrouted(request, unrouted.model)
            return None

    # ------------------------------------------------------------------ the gateway's own answers

    def _answer_unrouted(self, request: RequestHead, model: str | None) -> None:
        problem, detail = problems.unrouted(model, ready=self._context.compiled.table.revision >= 0)
        close = self.is_last(request)
        request_id = request.request_id or self._port.new_request_id()
        with_body = request.method != b"HEAD"
        self.write(problems.response(problem, detail, request_id, close=close, with_body=with_body))
        self.exchange_ended(close=close)

    # ------------------------------------------------------------------ requests that need their whole body

    def _begin_named(self, request: RequestHead, tail: bytes, started: float) -> None:
        """A request whose body names the model. Raises: Refused."""
        body = self._collected(request, self._port.limits.routed_body_bytes)
        self._begin_whole(request, NamedInBody(request, body), tail, started)

    def serve_named(self, request: RequestHead, tail: bytes, name: bytes, span: tuple[int, int]) -> None:
        try:
            target = self._context.compiled.find_named(name, request.url)
        except NoRoute as unrouted:
            self._answer_unrouted(request, unrouted.model)
        else:
            self._serve(request, tail, self._port.monotonic(), None, target, span)
