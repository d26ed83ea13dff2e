"""One request as upstreams get it, whichever of them and however often."""

from typing import Final

from app.proxy.http1.framing import CRLF
from app.proxy.http1.request_head import RequestHead, joined
from app.proxy.routing.table import Target
from app.proxy.upstream.endpoint import Upstream
from app.proxy.upstream.pool import Pool

_LENGTH: Final = b"content-length: "


class ForwardedRequest:
    """All of a request but its body; not changed once it is made.

    Attributes:
        head: As the client sent it.
        target: Where its path leads.
        exchange_id: Unique among all processes; of 32 hexadecimal digits.
        request_id: The client's own, of checked token characters, or that of the exchange.
    """

    __slots__ = ("_fields", "_model_span", "exchange_id", "head", "request_id", "target")

    def __init__(
        self,
        head: RequestHead,
        target: Target,
        exchange_id: bytes,
        request_id: bytes,
        fields: bytes,
        model_span: tuple[int, int] | None,
    ) -> None:
        """Put a request together.

        Args:
            head: As the client sent it.
            target: Where its path leads.
            exchange_id: Its own.
            request_id: The client's own, empty for that of the exchange.
            fields: Further field lines for the upstream, without the last line end.
            model_span: Where the body names the model, between the quotes; then all of the body is there.
        """
        self.head = head
        self.target = target
        self.exchange_id = exchange_id
        self.request_id = request_id or exchange_id
        self._fields = fields
        self._model_span = model_span

    def payload(self, pool: Pool, upstream: Upstream, tail: bytes) -> bytes:
        """The request as an upstream of a version gets it.

        Args:
            pool: The version's.
            upstream: One of its upstreams.
            tail: The line end before the body, and body bytes as they go on the wire.
        """
        head = self.head
        line = head.line
        if not line or upstream.base or pool.path is not None or self.target.strips:
            target = self.target.forwarded(head.url, pool.path)
            line = head.method + b" " + upstream.base + target + b" HTTP/1.1"
        if self._model_span is not None and pool.served_model is not None:
            lines, tail = _renamed(head.lines, tail, self._model_span, pool.served_model)
            crossing = joined(lines)
        else:
            crossing = head.crossing
        return CRLF.join([line, upstream.host_line, crossing + self.request_id, self._fields, tail])


def _renamed(lines: list[bytes], tail: bytes, span: tuple[int, int], name: bytes) -> tuple[list[bytes], bytes]:
    """Put another model's name into a JSON body, by bytes, and correct the length.

    Args:
        lines: The head's field lines.
        tail: The line end before the body, and all of the body.
        span: Where the name stands in the body, between its quotes.
        name: As JSON without quotes.
    """
    start, end = span[0] + len(CRLF), span[1] + len(CRLF)
    renamed = tail[:start] + name + tail[end:]
    length = _LENGTH + b"%d" % (len(renamed) - len(CRLF))
    return [length if line.startswith(_LENGTH) else line for line in lines], renamed
