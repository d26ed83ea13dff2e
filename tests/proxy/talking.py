"""A client that writes raw bytes and reads answers strictly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from fakes.waiting import PATIENCE_S


@dataclass(frozen=True)
class Answer:
    """One response; field names in lower case."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def field(self, name: str) -> str | None:
        """The value of the only field of that name, None without one."""
        values = [value for key, value in self.fields if key == name]
        assert len(values) <= 1, values
        return values[0] if values else None

    def problem(self) -> dict[str, Any]:
        assert self.field("content-type") == "application/problem+json"
        problem: dict[str, Any] = orjson.loads(self.body)
        assert problem["status"] == self.status
        assert problem["title"]
        assert problem["request_id"] == self.field("x-request-id")
        return problem


class Talk:
    """One client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        async with asyncio.timeout(PATIENCE_S):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = raw[:-4].decode("latin-1").split("\r\n")
        version, status, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return int(status), fields

    async def answer(self, *, to_head: bool = False) -> Answer:
        """The next whole answer. Raises: asyncio.IncompleteReadError, ConnectionError when it is cut."""
        status, fields = await self.head()
        names = dict(fields)
        async with asyncio.timeout(PATIENCE_S):
            if to_head or status in {204, 304}:
                body = b""
            elif "content-length" in names:
                assert "transfer-encoding" not in names
                body = await self.reader.readexactly(int(names["content-length"]))
            elif names.get("transfer-encoding") == "chunked":
                body = await self.chunks()
            else:
                body = await self.reader.read()
        return Answer(status, fields, body)

    async def chunk(self) -> bytes:
        """One chunk; empty for the last, whose end is read with it."""
        size = int((await self.reader.readuntil(b"\r\n"))[:-2], 16)
        payload = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return payload

    async def chunks(self) -> bytes:
        body = b""
        while chunk := await self.chunk():
            body += chunk
        return body

    async def ask(self, raw: bytes, *, to_head: bool = False) -> Answer:
        await self.send(raw)
        return await self.answer(to_head=to_head)

    async def is_closed(self) -> bool:
        """Wait for the end of the connection; whether nothing came before it."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


@asynccontextmanager
async def talking(port: int) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()


def get(path: str = "/v2/models/fraud/infer", *lines: str, method: str = "GET") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: gateway.test", *lines, "", ""]).encode()


def post(body: bytes = b"{}", path: str = "/v2/models/fraud/infer", *lines: str) -> bytes:
    """A request with a body by length."""
    return get(path, f"content-length: {len(body)}", *lines, method="POST") + body
