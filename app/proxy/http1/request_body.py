"""Where one request's body ends, and what follows it."""

from app.proxy.http1 import chunks
from app.proxy.http1.chunks import ChunkDecoder, MalformedChunk
from app.proxy.http1.request_head import CHUNKED, body_too_large, malformed


class RequestBody:
    """Follows the body of one request after the other on a connection.

    Attributes:
        left: Bytes still to come by length, CHUNKED while a chunked body goes on, 0 when it ended.
        received: Bytes of bodies that came after their heads, of all requests on the connection.
        rest: Bytes that came behind the body's end; taken by whoever reads the next request.
    """

    __slots__ = ("_decoder", "_limit", "_taken", "left", "received", "rest")

    def __init__(self, limit: int) -> None:
        """Bodies may have at most `limit` bytes."""
        self._limit = limit
        self._taken = 0
        self._decoder: ChunkDecoder | None = None
        self.left = 0
        self.received = 0
        self.rest = b""

    def be_chunked(self) -> None:
        self._decoder = ChunkDecoder()
        self._taken = 0
        self.left = CHUNKED

    @property
    def is_chunked(self) -> bool:
        """Whether the body that goes on is chunked."""
        return self._decoder is not None

    def take(self, data: bytes) -> bytes:
        """The payload in these bytes. Raises: Refused."""
        self.received += len(data)
        if self._decoder is not None:
            return self._decode(self._decoder, data)
        left = self.left - len(data)
        self.left = max(left, 0)
        if left < 0:
            self.rest = data[left:]
            return data[:left]
        return data

    def _decode(self, decoder: ChunkDecoder, data: bytes) -> bytes:
        try:
            payload = decoder.feed(data)
        except MalformedChunk:
            raise malformed("the chunked body cannot be read") from None
        self._taken += len(payload)
        if self._taken > self._limit:
            raise body_too_large(self._limit)
        if decoder.done:
            self._decoder = None
            self.left = 0
            self.rest = decoder.rest
        return payload

    def as_chunks(self, payload: bytes) -> bytes:
        """A chunked body's payload as it goes to the upstream."""
        return chunks.encode(payload, last=not self.left)
