"""A request's body as items: one JSON object, a list of them, or one on each line.

Rule: a body that is no JSON is refused whole; a line that is none is one bad item, and the others stay.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

from fastapi import Request
from starlette.exceptions import HTTPException

from app.errors import InvalidInput
from app.feedback.items import BadLine
from app.strict_json import strict_loads

ITEMS_MAX: Final = 10_000
BYTES_MAX: Final = 8 * 1024 * 1024
JSON, LINES = "application/json", "application/x-ndjson"


async def read_items(request: Request) -> list[object]:
    """The items of a body. Raises: HTTPException, InvalidInput."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in {JSON, LINES}:
        raise HTTPException(415, f"the body must be {JSON} or {LINES}")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise HTTPException(415, "the body must not be compressed", {"accept-encoding": "identity"})
    body = await _read(request)
    # Beside the event loop: the largest body takes longer than any exchange may wait.
    return await asyncio.to_thread(_of_lines if media_type == LINES else _of_document, body)


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BYTES_MAX:
            raise HTTPException(413, f"the body must not exceed {BYTES_MAX} bytes", {"connection": "close"})
    return bytes(body)


def _of_document(body: bytes) -> list[object]:
    document = strict_loads(body)
    if isinstance(document, dict):
        return [document]
    if not isinstance(document, list):
        raise InvalidInput("", "the body must be an object or a list of objects")
    return _not_too_many(document)


def _of_lines(body: bytes) -> list[object]:
    items: list[object] = []
    for line in _lines(body):
        _not_too_many(items)
        try:
            items.append(strict_loads(line, "line"))
        except InvalidInput as bad:
            items.append(BadLine(bad.why))
    return _not_too_many(items)


def _lines(body: bytes) -> Iterator[bytes]:
    """Lines that hold anything; a body of nothing but line ends makes no list of them."""
    at = 0
    while at < len(body):
        end = body.find(b"\n", at)
        end = len(body) if end < 0 else end
        if line := body[at:end].strip(b" \t\r"):
            yield line
        at = end + 1


def _not_too_many(items: list[object]) -> list[object]:
    if len(items) > ITEMS_MAX:
        raise HTTPException(413, f"a batch has at most {ITEMS_MAX} items")
    return items
